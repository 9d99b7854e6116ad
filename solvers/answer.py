"""The answer that a solver returns, its status, and the protocol that every solver keeps."""

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
    """What is known of an answer; the value is written for people to read."""

    OPTIMAL = "proved optimal"
    FEASIBLE = "feasible, not proved optimal"
    INFEASIBLE = "proved infeasible"
    UNKNOWN = "stopped before any feasible selection was found"


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a solver returns. These are claims: the front door checks them before anybody relies on them.

    Attributes
    ----------
    choice
        ``(n_groups,)`` int64 positions in `Problem.value`, one in each group; or None.
    complete
        The search was exhausted: no feasible selection is better than `choice` by more than `resolution`; without a
        choice, there is none at all.
    price
        ``(n_resources,)`` multipliers for the certificate, where the solver has found any; or None.
    resolution
        How finely a complete search told values apart: rounding, scaling, tolerances of the backend.
    stats
        Counts worth reading.
    figures
        Numbers worth reading that are values of selections or bounds on them; they join the statistics of the solution.
    differences
        The same for differences of such values.
    exhausted_by
        The name of the solver whose search was exhausted, where it is another one than was called.
    floating
        That the search was exhausted is the word of a solver that works in floating point, with tolerances of its own:
        no ground for a proof without a witness, see `witness.witnessed`.
    auxiliary
        ``(n_auxiliary,)`` int64 values of the auxiliary binaries of `Problem.rows` that go with `choice`; or None.
    restricted
        The selection keeps a rule of the solver's own that the problem does not have. A warm start that is better
        but breaks the rule does not replace it.
    split
        ``(n_groups, n_choices)`` float64, how the pairwise terms are shared out, for the certificate; or None.
    reason
        Why there is no choice, where neither the problem nor a limit is the reason.
    """

    choice: NDArray[np.int64] | None
    complete: bool = False
    price: NDArray[np.float64] | None = None
    resolution: float = 0.0
    stats: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    differences: Mapping[str, float] = dataclasses.field(default_factory=dict)
    exhausted_by: str = ""
    floating: bool = False
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
