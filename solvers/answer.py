"""What solvers claim, and the protocol that every solver keeps."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from .problem.problem import Problem


class Status(enum.Enum):
    """What is known of an answer; the value is the sentence that a person reads."""

    OPTIMAL = "proved optimal"
    FEASIBLE = "feasible, not proved optimal"
    INFEASIBLE = "proved infeasible"
    UNKNOWN = "stopped before any feasible selection was found"


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a solver returns: claims, nothing else. The front door decides what becomes of them.

    Attributes
    ----------
    choice
        ``(n_groups,)`` int64 positions in `Problem.value`, one in each group; or None.
    complete
        The search was exhausted: no feasible selection is better than `choice` by more than `resolution`; without a
        choice, there is none at all.
    price
        ``(n_resources,)`` multipliers that the solver came across, for the certificate; or None.
    resolution
        How finely a complete search told values apart: rounding, scaling, tolerances of the backend.
    stats
        Counts worth reading.
    figures
        Numbers worth reading that are in the unit of the values; they join the statistics of the solution.
    auxiliary
        ``(n_auxiliary,)`` int64 values of the auxiliary binaries of `Problem.rows` that go with `choice`; or None.
    restricted
        The selection keeps to a rule of the solver's own, beyond the problem; a better one that breaks the rule, such
        as a warm start, does not take its place.
    split
        ``(n_groups, n_choices)`` float64, how the pairwise terms are shared out, for the certificate; or None.
    reason
        Why there is no choice, where it is for another reason than the problem or a limit.
    """

    choice: NDArray[np.int64] | None
    complete: bool = False
    price: NDArray[np.float64] | None = None
    resolution: float = 0.0
    stats: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    auxiliary: NDArray[np.int64] | None = None
    restricted: bool = False
    split: NDArray[np.float64] | None = None
    reason: str = ""


@runtime_checkable
class Solver(Protocol):
    """A frozen dataclass whose fields are its options; `repr` of it is the record of the run."""

    name: ClassVar[str]
    requires: ClassVar[str | None]
    reference: ClassVar[str]

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why this solver cannot take the problem, or None."""
        ...

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Search; `warm` holds ``(n_groups,)`` positions to start from."""
        ...
