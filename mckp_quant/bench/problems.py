"""What is solved: tables and problems in files, and generated families, each under one or several budgets."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..allocation import Request, build
from ..common import amounts
from ..errors import InvalidInput, unknown
from ..solvers import Problem, instances, read_problem
from ..tables import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

FILES, TABLES = "problem files", "tables"  # the families of what comes from files
_TABLE_SHARES = ("20%", "50%", "80%")  # a table has no budget of its own
_TABLE_ENDINGS = (".csv", ".npz")
_MOST_SEEDS = 1000
_SIZE = re.compile(r"[1-9]\d{0,8}(x[1-9]\d{0,8})*")
_SEEDS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True)
class BenchProblem:
    """One problem, as what it is made from.

    Attributes
    ----------
    name
        Its name, no other problem's.
    family
        The name of a generated family, or ``"tables"`` or ``"problem files"``.
    place
        The file; empty for a generated problem.
    size
        Of a generated problem: groups and choices, and budgets where the family takes several.
    seed
        Of a generated problem.
    share
        Where each budget lies between the cheapest and the dearest selection, as text such as ``"50%"``; empty for the
        budgets that the problem has.
    """

    name: str
    family: str
    place: str = ""
    size: tuple[int, ...] = ()
    seed: int = 0
    share: str = ""

    @cached_property
    def content(self) -> str:
        """Twelve hexadecimal digits of what the file holds; empty for a generated problem."""
        return hashlib.sha256(Path(self.place).read_bytes()).hexdigest()[:12] if self.place else ""

    def make(self) -> Problem:
        """Make the problem; raises InvalidInput where the file cannot be read or the size makes no sense."""
        if self.family == TABLES:
            problem, _ = build(read_table(self.place).table, Request({"weight_bytes": "100%"}))
        elif self.family == FILES:
            problem = read_problem(self.place)
        else:
            problem = FAMILIES[self.family].make(self.size, self.seed)
        return problem.with_budget(_between(problem, self.share)) if self.share else problem


@dataclass(frozen=True)
class Family:
    """A generated family: the form of its size, and what makes a problem from a size and a seed."""

    form: str
    make: Callable[[tuple[int, ...], int], Problem]


def _literature(name: str) -> Family:
    generate = getattr(instances, name)
    return Family("GROUPSxCHOICES", lambda size, seed: generate(size[0], size[1], seed=seed))


def _widths(n_choices: int) -> tuple[int, ...]:
    """Widths in bits: 2, 3, and so on."""
    return tuple(range(2, 2 + n_choices))


def _network(layers: Callable[[int, int], instances.Layers]) -> Family:
    return Family(
        "LAYERSxFORMATSxBUDGETS",
        lambda size, seed: instances.quantisation(
            layers(size[0], seed), _widths(size[1]), seed=seed, n_budgets=size[2] if len(size) > 2 else 1
        ),
    )


FAMILIES: Mapping[str, Family] = {
    **{
        name: _literature(name)
        for name in ("uncorrelated", "weakly_correlated", "strongly_correlated", "subset_sum", "zigzag")
    },
    "several_budgets": Family(
        "GROUPSxCHOICESxBUDGETS", lambda size, seed: instances.several_budgets(size[0], size[1], size[2], seed=seed)
    ),
    "lognormal": _network(lambda n_layers, seed: instances.lognormal(n_layers, seed=seed)),
    "llm": _network(lambda n_layers, seed: instances.llm(n_layers)),
}


def problems_of(
    files: Sequence[str | os.PathLike[str]] = (), families: Sequence[str] = (), shares: Sequence[str] = ()
) -> tuple[BenchProblem, ...]:
    """The problems that files and families stand for, each of which has been made once to see that it can be.

    Parameters
    ----------
    files
        Sensitivity tables (JSON, CSV, npz), problems as `write_problem` writes them, and text files of the literature.
    families
        Such as ``"zigzag:100x10:3"``: the name (one of `FAMILIES`), the size, and how many seeds, or ``"5-7"`` for the
        seeds 5, 6 and 7.
    shares
        Budgets, such as ``("20%", "50%")``: every budget at that share of the way from what the cheapest selection
        takes to what the dearest does. Without any, problems keep the budgets that they have, and tables get 20, 50 and
        80 % on ``weight_bytes``.

    Returns
    -------
    problems
        In the order in which they were named.

    Raises
    ------
    InvalidInput
        When a file cannot be read, a family, size, seed or share makes no sense, or nothing is named, or something
        twice.
    """
    bases = [_of_file(os.fspath(file)) for file in files]
    bases += [each for text in families for each in _of_family(text)]
    for text in shares:
        _share(text)
    found = [
        BenchProblem(_at(base.name, share), base.family, base.place, base.size, base.seed, share)
        for base in bases
        for share in (shares or (_TABLE_SHARES if base.family == TABLES else ("",)))
    ]
    if not found:
        raise InvalidInput(
            "there is no problem to solve: name files, or families such as 'zigzag:100x10:3' (known are "
            f"{', '.join(FAMILIES)})"
        )
    names = [each.name for each in found]
    for at, each in enumerate(found):
        if each.name in names[:at]:
            raise InvalidInput(f"{each.name} is named twice: name it once")
        each.make()
    return tuple(found)


def _at(name: str, share: str) -> str:
    return f"{name} at {share}" if share else name


def _of_file(file: str) -> BenchProblem:
    kind = TABLES if _is_table(file) else FILES
    return BenchProblem(Path(file).as_posix(), kind, file)


def _is_table(file: str) -> bool:
    """Whether a file is a sensitivity table: by its ending, or by the schema of its JSON."""
    ending = Path(file).suffix.casefold()
    if ending != ".json":
        return ending in _TABLE_ENDINGS
    try:
        with open(file, encoding="utf-8") as document:
            found = json.load(document)
    except (OSError, ValueError, RecursionError):
        return False  # who reads it as a problem will say what is wrong
    return isinstance(found, dict) and str(found.get("schema", "")).startswith("mckp-quant/table/")


def _of_family(text: str) -> list[BenchProblem]:
    name, size, seeds = ([*text.split(":"), "", ""])[:3]
    if name not in FAMILIES:
        raise unknown("family", name, FAMILIES)
    family = FAMILIES[name]
    match = _SEEDS.fullmatch(seeds)
    wanted = family.form.count("x") + 1
    parts = tuple(int(part) for part in size.split("x")) if _SIZE.fullmatch(size) else ()
    may_be = (wanted, 2) if name not in ("several_budgets",) else (wanted,)
    if text.count(":") != 2 or len(parts) not in may_be or match is None:
        raise InvalidInput(
            f"family {text!r} cannot be read: write {name}:{family.form}:SEEDS, such as "
            f"{name}:{'x'.join(('20', '5', '2')[:wanted])}:3 for the seeds 0, 1 and 2"
        )
    first, last = (int(match[1]), int(match[2])) if match[2] else (0, int(match[1]) - 1)
    if not 0 <= last - first < _MOST_SEEDS:
        raise InvalidInput(f"family {text!r} has {last - first + 1} seeds: give 1 to {_MOST_SEEDS}")
    return [BenchProblem(f"{name}:{size}:{seed}", name, size=parts, seed=seed) for seed in range(first, last + 1)]


def _share(text: str) -> Fraction:
    quantity = amounts.read("budgets", text)
    if not quantity.percent or quantity.number > 100:
        raise InvalidInput(f"budgets = {text!r} is no share: write a percentage from 0% to 100%, such as '50%'")
    return quantity.number / 100


def _between(problem: Problem, share: str) -> list[int]:
    """Budgets at a share of the way from the least total cost to the greatest, rounded down."""
    part = _share(share)
    most = np.maximum.reduceat(problem.cost, problem.start[:-1], axis=1)
    return [
        least + math.floor(part * (sum(row.tolist()) - least))
        for least, row in zip(problem.least_cost, most, strict=True)
    ]
