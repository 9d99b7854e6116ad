"""Several sets of budgets on one table, one policy for each."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..solvers import NoSolution
from .allocating import solve_request
from .builder import build_request
from .explanation import require_each_budget
from .request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..common.amounts import Amount
    from ..formats.format import Format
    from ..layers import Activation
    from ..solvers import Problem, Solution, Solver
    from ..tables.cost_table import CostTable
    from ..tables.table import SensitivityTable
    from .allocating import Allocation
    from .constraints.constraints import Constraints
    from .index import Index


def allocate_each(
    table: SensitivityTable,
    targets: Sequence[Mapping[str, Amount]],
    *,
    solver: Solver | str = "auto",
    pinned: Mapping[str, str | Format] | None = None,
    tied: Sequence[Sequence[str]] = (),
    at_least: Mapping[str, Amount] | None = None,
    costs: Sequence[CostTable] = (),
    choices: Mapping[str, Sequence[str]] | None = None,
    target: str | None = None,
    constraints: Constraints | None = None,
    activations: Sequence[Activation] = (),
    seconds: float = 60.0,
    seed: int = 0,
) -> tuple[Allocation, ...]:
    """Choose formats for several sets of budgets on one table, one policy for each.

    All of them are checked before any is solved, and an answer that is within the next budgets is where the search for
    the next one starts.

    Parameters
    ----------
    table
        The sensitivities.
    targets
        The budgets of each policy, as for `allocate`.
    solver, pinned, tied, at_least, costs, choices, target, constraints, activations, seed
        As for `allocate`, for every policy.
    seconds
        The time limit for each policy.

    Returns
    -------
    allocations
        One for each of `targets`, in their order.

    Raises
    ------
    InvalidInput
        When an argument cannot be used.
    NoSolution
        When there is no policy for one of the targets, with its number.
    """
    if not targets:
        raise InvalidInput("no targets given: give at least one set of budgets")
    requests = [
        Request(
            budgets,
            at_least=at_least,
            pinned=pinned,
            tied=tied,
            costs=costs,
            choices=choices,
            target=target,
            constraints=constraints,
            activations=activations,
        )
        for budgets in targets
    ]
    built: list[tuple[Problem, Index]] = []
    for number, request in enumerate(requests):
        with _numbered(number):
            built.append(build_request(table, request))
            require_each_budget(*built[-1])
    found: list[Allocation] = []
    for number, (request, (problem, index)) in enumerate(zip(requests, built, strict=True)):
        with _numbered(number):
            warm = _within(problem, [each.solution for each in found])
            found.append(solve_request(table, request, problem, index, solver, seconds, seed, warm))
    return tuple(found)


@contextlib.contextmanager
def _numbered(number: int) -> Iterator[None]:
    try:
        yield
    except NoSolution as error:
        raise NoSolution(f"target {number}: {error}") from error


def _within(problem: Problem, solutions: Sequence[Solution]) -> NDArray[np.int64] | None:
    """The labels of the best of these selections that is one of the problem's and within its budgets."""
    best: tuple[float, NDArray[np.int64] | None] = (math.inf, None)
    for solution in solutions:
        labels = solution.choice
        if labels is None or len(labels) != problem.n_groups:
            continue
        hit = problem.label == labels[problem.group]
        inside = int(hit.sum()) == problem.n_groups and (problem.cost[:, hit].sum(axis=1) <= problem.budget).all()
        if inside and solution.value < best[0]:
            best = (solution.value, labels)
    return best[1]
