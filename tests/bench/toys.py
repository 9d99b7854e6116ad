"""Solvers of a user's own, one of which is wrong: for the tests, which name them by file and class."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mckp_quant.solvers import Answer, Exact
from mckp_quant.solvers.core.reduction import reduce

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mckp_quant.solvers import Problem


@dataclasses.dataclass(frozen=True)
class Hasty:
    """Call the first good selection optimal: the front door cannot tell, other solvers can."""

    name: ClassVar[str] = "hasty"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = "none"

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None."""
        return None if problem.n_resources == 1 else "hasty takes one budget"

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve."""
        return Answer(reduce(problem).incumbent, complete=True)


@dataclasses.dataclass(frozen=True)
class Cheapest:
    """Call the cheapest selection optimal, which the front door refuses."""

    name: ClassVar[str] = "cheapest"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = "none"

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None."""
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve."""
        order = np.lexsort((problem.value, problem.cost.sum(axis=0), problem.group))
        return Answer(order[problem.start[:-1]], complete=True)


def honest() -> Exact:
    """A function may make a solver, too."""
    return Exact(max_states=1000)


def nothing() -> int:
    """Make no solver."""
    return 3
