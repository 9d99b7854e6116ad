"""Problems in files: JSON and the literature's text are read, MPS and LP are for other solvers."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidProblem
from ..system.reading import parse_json, read_text
from ..system.writing import writing
from .arrays import INT64_MAX
from .pairs import Pairs
from .problem import Problem
from .rows import Rows
from .text_files import parse_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SCHEMA = "mckp-quant/problem/1"
_ARRAYS = ("value", "cost", "budget", "start", "label")
_ROWS = ("indptr", "indices", "coefficients", "lower", "upper")
_PAIRS = ("first", "second", "value")
_TERMS = 6  # in a line of an LP file: readers differ in how long a line they take


def write_problem(problem: Problem, path: str | os.PathLike[str]) -> None:
    """Write a problem, whole or not at all.

    Parameters
    ----------
    problem
        The problem.
    path
        Where to write: ``.json`` is what `read_problem` reads, ``.mps`` (free format) and ``.lp`` (CPLEX's) are for
        other solvers. There the binary ``g<group>_<label>`` says whether the group takes the choice (``_m5`` is the
        label -5). All numbers are written exactly; a solver that computes in floats is exact up to 2**53.

    Raises
    ------
    InvalidProblem
        When the ending is none of these, or the problem has pairwise terms and it is not ``.json``.
    OSError
        When the file cannot be written, with its name.
    """
    kind = Path(path).suffix.casefold()
    if kind not in _WRITERS:
        raise InvalidProblem(f"{os.fspath(path)!r} has the ending {kind!r}: known are {', '.join(_WRITERS)}")
    if problem.pairs is not None and kind != ".json":
        raise InvalidProblem(f"{os.fspath(path)!r} cannot hold pairwise terms: write the problem as .json")
    with writing(path) as file:
        file.writelines(f"{line}\n".encode() for line in _WRITERS[kind](problem))


def read_problem(path: str | os.PathLike[str]) -> Problem:
    """Read a problem that `write_problem` wrote as JSON, or a text file of the literature.

    Parameters
    ----------
    path
        The file. Where its name does not end in ``.json`` and it begins with a digit, it is one of the literature: the
        formats of Khan et al. (I01 to I13), Hifi et al., Mansi et al. and Shojaei et al., see `problem.text_files`.

    Returns
    -------
    problem
        The same problem, to the last bit; of a text file, whose profits are maximised, the value is the negated profit.

    Raises
    ------
    InvalidProblem
        When the file is missing, truncated, something else, or its arrays make no problem.
    """
    source = os.fspath(path)
    text = read_text(path, "problem", InvalidProblem)
    if Path(path).suffix.casefold() != ".json" and text.lstrip()[:1].isdigit():
        return parse_text(text, repr(source))
    document = parse_json(text, repr(source), "problem", InvalidProblem)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise InvalidProblem(f"{source!r} has the schema {schema!r}: expected {SCHEMA!r}")
    try:
        rows = document.get("rows")
        arrays = {name: document[name] for name in _ARRAYS}
        further = None if rows is None else Rows(**{name: rows[name] for name in (*_ROWS, "n_auxiliary")})
        pairs = document.get("pairs")
        terms = None if pairs is None else Pairs(**{name: pairs[name] for name in _PAIRS})
        return Problem(**arrays, rows=further, pairs=terms)
    except InvalidProblem as error:
        raise InvalidProblem(f"{source!r}: {error}") from error
    except Exception as error:
        raise InvalidProblem(
            f"{source!r} lacks an array, or one of them is no array ({type(error).__name__}: {error}): it is damaged "
            "or was edited by hand; write the problem again"
        ) from error


def _json(problem: Problem) -> Iterator[str]:
    document: dict[str, Any] = {"schema": SCHEMA}
    document |= {name: getattr(problem, name).tolist() for name in _ARRAYS}
    if problem.rows is not None:
        document["rows"] = {name: getattr(problem.rows, name).tolist() for name in _ROWS}
        document["rows"]["n_auxiliary"] = problem.rows.n_auxiliary
    if problem.pairs is not None:
        document["pairs"] = {name: getattr(problem.pairs, name).tolist() for name in _PAIRS}
    yield json.dumps(document, allow_nan=False)


def _names(problem: Problem) -> list[str]:
    """The name of every variable, auxiliary binaries last."""
    labels = zip(problem.group.tolist(), problem.label.tolist(), strict=True)
    names = [f"g{group}_{label}" if label >= 0 else f"g{group}_m{-label}" for group, label in labels]
    extra = 0 if problem.rows is None else problem.rows.n_auxiliary
    return names + [f"aux{number}" for number in range(extra)]


_Row = tuple[str, list[tuple[int, int]], int | None, int | None]


def _constraints(problem: Problem) -> Iterator[_Row]:
    """Every constraint: name, entries (variable, coefficient), lower and upper limit."""
    for group in range(problem.n_groups):
        yield f"group{group}", [(at, 1) for at in range(problem.start[group], problem.start[group + 1])], 1, 1
    for resource, limit in enumerate(problem.budget.tolist()):
        entries = [(at, cost) for at, cost in enumerate(problem.cost[resource].tolist()) if cost]
        yield f"budget{resource}", entries, None, limit
    if problem.rows is not None:
        rows = problem.rows
        terms = list(zip(rows.indices.tolist(), rows.coefficients.tolist(), strict=True))
        limits = zip(rows.lower.tolist(), rows.upper.tolist(), strict=True)
        ends = itertools.pairwise(rows.indptr.tolist())
        for number, ((first, last), (lower, upper)) in enumerate(zip(ends, limits, strict=True)):
            least, most = None if lower <= -INT64_MAX else lower, None if upper >= INT64_MAX else upper
            if least is not None or most is not None:
                yield f"row{number}", terms[first:last], least, most


def _mps(problem: Problem) -> Iterator[str]:
    names, constraints = _names(problem), list(_constraints(problem))
    yield "NAME mckp"
    yield "ROWS"
    yield " N loss"
    columns: list[list[str]] = [[] for _ in names]
    for name, entries, lower, upper in constraints:
        yield f" {'E' if lower == upper else 'G' if upper is None else 'L'} {name}"
        for at, coefficient in entries:
            columns[at].append(f" {names[at]} {name} {coefficient}")
    yield "COLUMNS"
    yield " MARK0 'MARKER' 'INTORG'"
    values = problem.value.tolist() + [0.0] * (len(names) - problem.n_choices)
    for name, value, column in zip(names, values, columns, strict=True):
        yield f" {name} loss {value!r}"
        yield from column
    yield " MARK1 'MARKER' 'INTEND'"
    yield "RHS"
    for name, _, lower, upper in constraints:
        yield f" RHS {name} {lower if upper is None else upper}"
    ranges = [(name, upper - lower) for name, _, lower, upper in constraints if None not in (lower, upper)]  # type: ignore[operator]
    if any(width for _, width in ranges):
        yield "RANGES"
        yield from (f" RNG {name} {width}" for name, width in ranges if width)
    yield "BOUNDS"
    yield from (f" BV BND {name}" for name in names)
    yield "ENDATA"


def _lp(problem: Problem) -> Iterator[str]:
    names = _names(problem)
    yield "Minimize"
    yield " loss:"
    yield from _sum((repr(value), names[at]) for at, value in enumerate(problem.value.tolist()))
    yield "Subject To"
    for name, entries, lower, upper in _constraints(problem):
        terms = [(str(coefficient), names[at]) for at, coefficient in entries] or [("0", names[0])]
        sides = [(f"{name}", "=", lower)] if lower == upper else []
        if not sides:
            sides = [(f"{name}{end}", sign, limit) for end, sign, limit in (("", "<=", upper), ("_from", ">=", lower))]
        for title, sign, limit in sides:
            if limit is not None:
                yield f" {title}:"
                yield from _sum(terms)
                yield f"  {sign} {limit}"
    yield "Binary"
    yield from (f" {name}" for name in names)
    yield "End"


def _sum(terms: Iterable[tuple[str, str]]) -> Iterator[str]:
    signed = [f"- {number[1:]} {name}" if number.startswith("-") else f"+ {number} {name}" for number, name in terms]
    for first in range(0, len(signed), _TERMS):
        yield "  " + " ".join(signed[first : first + _TERMS])


_WRITERS = {".json": _json, ".mps": _mps, ".lp": _lp}
