"""Compares solvers on one problem: what each finds, how long it takes, and what its proof rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..common.checks import check_seconds
from ..common.renamed import renamed_keywords
from ..common.run_options import RunOptions
from ..errors import InvalidInput, unknown
from ..solvers import NoSolution, SolverFailure, SolverUnavailable, Status, available, solve
from .builder import build
from .choices import check_order
from .explanation import require_each_budget, why_none
from .request import IN_A_REQUEST, as_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..common.amounts import Amount
    from ..solvers import Problem, Solution, Solver
    from ..tables.table import SensitivityTable
    from .index import Index
    from .request import Pins, Request

_RUN = RunOptions()
_NOT_COMPARED = ("auto",)  # it is always one of the others
_LAST = ("highs",)  # its threads go on spinning after a solve and would slow whatever is timed next


@dataclass(frozen=True)
class Row:
    """What one solver did.

    Attributes
    ----------
    solver
        Its name.
    value
        The predicted loss of what it found; nan where it found nothing or did not run.
    excess
        Value less the reference value; nan where either is unknown.
    relative_excess
        Excess over the magnitude of the reference value; 0 where the excess is 0, else infinite over 0.
    layers_that_differ
        In how many layers its policy differs from the reference policy; None without a policy.
    bound
        What it proves: no selection is better; nan where it did not run.
    seconds
        Wall time; nan where it did not run.
    status
        What is known of its answer, as a sentence; empty where it did not run.
    ground
        What the proof rests on.
    reason
        Why it did not run, or what went wrong; empty otherwise.
    """

    solver: str
    value: float = math.nan
    excess: float = math.nan
    relative_excess: float = math.nan
    layers_that_differ: int | None = None
    bound: float = math.nan
    seconds: float = math.nan
    status: str = ""
    ground: str = "none"
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """The solvers side by side.

    Attributes
    ----------
    rows
        One per solver, in the order in which they ran.
    reference
        The solver whose answer the others are measured against: ``"exact"`` where it proved its answer optimal, else
        the first that did, else the one with the least value; empty where none found a selection.
    proved
        Whether the reference is proved optimal.
    unit
        The unit of values.
    index
        The problem's index, with its budgets.
    """

    rows: tuple[Row, ...]
    reference: str
    proved: bool
    unit: str
    index: Index


@renamed_keywords(**IN_A_REQUEST, seed="run=RunOptions(seed=...)", progress="run=RunOptions(progress=...)")
def compare_solvers(
    table: SensitivityTable,
    request: Request | Mapping[str, Amount],
    *,
    target: str | None = None,
    pinned: Pins | None = None,
    solvers: Sequence[Solver | str] | None = None,
    seconds: float = 60.0,
    run: RunOptions = _RUN,
) -> Comparison:
    """Solve one problem with every solver.

    Parameters
    ----------
    table
        The sensitivities.
    request, target, pinned
        As for `allocate`.
    solvers
        Which solvers, by name or with their options; by default every one that there is.
    seconds
        The time limit of each solver.
    run
        The seed of solvers that draw random numbers, and `progress`, which is called before each solver runs with how
        many are done.

    Returns
    -------
    comparison
        One row per solver; a solver that cannot run here, or not on this problem, has its reason in its row.

    Raises
    ------
    InvalidInput
        When an argument cannot be used.
    NoSolution
        When no policy is within the budgets.
    """
    chosen = _chosen(solvers)
    check_seconds(seconds)
    run.only("compare_solvers", "seed", "progress")
    problem, index = build(table, as_request(request, target=target, pinned=pinned))
    require_each_budget(problem, index)
    answers: list[tuple[str, Solution | str]] = []
    for done, solver in enumerate(chosen):
        run.report(done, len(chosen))
        answers.append((_name(solver), _attempt(problem, index, solver, seconds, run.seed)))
    reference = _reference(answers)
    for _, answer in answers:
        if not reference and not isinstance(answer, str) and answer.status is Status.INFEASIBLE:
            raise NoSolution(why_none(answer, index))
    solution = next((answer for name, answer in answers if name == reference and not isinstance(answer, str)), None)
    return Comparison(
        rows=tuple(_row(name, answer, solution, index) for name, answer in answers),
        reference=reference,
        proved=solution is not None and solution.status is Status.OPTIMAL,
        unit=table.unit,
        index=index,
    )


def _name(solver: Solver | str) -> str:
    return solver if isinstance(solver, str) else solver.name


def _chosen(solvers: Sequence[Solver | str] | None) -> list[Solver | str]:
    known = [name for name in available() if name not in _NOT_COMPARED]
    if solvers is None:
        return sorted(known, key=lambda name: name in _LAST)
    for solver in solvers:
        if isinstance(solver, str) and solver not in available():
            raise unknown("solver", solver, known)
    names = [_name(solver) for solver in solvers]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"solver {name!r} is given twice: name each solver once")
    return list(solvers)


def _attempt(problem: Problem, index: Index, solver: Solver | str, seconds: float, seed: int) -> Solution | str:
    # The problem itself is sound by now, so what InvalidProblem says here is about this solver alone.
    try:
        check_order(index.formats, solver)
        return solve(problem, solver, seconds=seconds, seed=seed)
    except (InvalidInput, SolverUnavailable) as error:
        return str(error)
    except SolverFailure as error:
        return f"failed: {error}"


def _reference(answers: list[tuple[str, Solution | str]]) -> str:
    found = [(name, answer) for name, answer in answers if not isinstance(answer, str) and answer.choice is not None]
    proved = [name for name, answer in found if answer.status is Status.OPTIMAL]
    if proved:
        return "exact" if "exact" in proved else proved[0]
    return min(found, key=lambda pair: pair[1].value)[0] if found else ""


def _row(name: str, answer: Solution | str, reference: Solution | None, index: Index) -> Row:
    if isinstance(answer, str):
        return Row(name, reason=answer)
    excess = relative = math.nan
    differ = None
    if reference is not None and answer.choice is not None and reference.choice is not None:
        excess = answer.value - reference.value
        relative = 0.0 if excess == 0 else excess / abs(reference.value) if reference.value else math.inf
        pairs = zip(index.policy_formats(answer.choice), index.policy_formats(reference.choice), strict=True)
        differ = sum(own != other for own, other in pairs)
    return Row(
        name,
        value=answer.value,
        excess=excess,
        relative_excess=relative,
        layers_that_differ=differ,
        bound=answer.bound,
        seconds=answer.seconds,
        status=answer.status.value,
        ground=answer.certificate.ground,
    )
