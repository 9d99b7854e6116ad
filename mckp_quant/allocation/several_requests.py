"""Several requests on one table, one policy for each."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..common.checks import check_seconds, check_seed
from ..common.renamed import renamed_keywords
from ..errors import InvalidInput
from ..solvers import NoSolution
from .allocating import solve_request
from .builder import build_request
from .explanation import require_each_budget
from .request import IN_A_REQUEST, Request, as_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..common.amounts import Amount
    from ..solvers import Problem, Solution, Solver
    from ..tables.table import SensitivityTable
    from .allocating import Allocation
    from .index import Index


@renamed_keywords(
    **IN_A_REQUEST,
    targets="requests=...",
    target="Request(budgets, target=...) for each of the requests",
    pinned="Request(budgets, pinned=...) for each of the requests",
)
def allocate_each(
    table: SensitivityTable,
    requests: Sequence[Request | Mapping[str, Amount]],
    *,
    solver: Solver | str = "auto",
    seconds: float = 60.0,
    seed: int = 0,
    corrected: bool = True,
) -> tuple[Allocation, ...]:
    """Choose formats for several requests on one table, one policy for each.

    All of them are checked before any is solved, and an answer that is within the next budgets is where the search for
    the next one starts.

    Parameters
    ----------
    table
        The sensitivities.
    requests
        What is asked of each policy, as for `allocate`: a `Request`, or a mapping of budgets.
    solver, seed, corrected
        As for `allocate`, for every policy.
    seconds
        The time limit for each policy.

    Returns
    -------
    allocations
        One for each of `requests`, in their order.

    Raises
    ------
    InvalidInput
        When an argument cannot be used.
    NoSolution
        When there is no policy for one of the requests, with its number.
    """
    check_seconds(seconds)
    check_seed(seed)
    if isinstance(requests, (Request, Mapping)):
        raise InvalidInput("requests is a single one: give a list of them, or use allocate()")
    if not requests:
        raise InvalidInput("no requests given: give at least one set of budgets")
    asked = [as_request(request) for request in requests]
    built: list[tuple[Problem, Index]] = []
    for number, request in enumerate(asked):
        with _numbered(number):
            built.append(build_request(table, request))
            require_each_budget(*built[-1])
    found: list[Allocation] = []
    for number, (request, (problem, index)) in enumerate(zip(asked, built, strict=True)):
        with _numbered(number):
            warm = _within(problem, [each.solution for each in found])
            found.append(
                solve_request(table, request, problem, index, solver, seconds, seed, warm, corrected=corrected)
            )
    return tuple(found)


@contextlib.contextmanager
def _numbered(number: int) -> Iterator[None]:
    try:
        yield
    except NoSolution as error:
        raise NoSolution(f"request {number}: {error}") from error


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
