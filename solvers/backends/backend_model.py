"""The model that a general solver is given, and its outcome: the only types that an adapter has to know."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..problem.rows import IntegerRow


@dataclasses.dataclass(frozen=True, eq=False)
class BackendModel:
    """Minimise ``objective . x + slack_price . s`` over one choice per group, where ``cost x + s = slack``, ``s >= 0``.

    Attributes
    ----------
    start
        ``(n_groups + 1,)`` int64 where each group's choices begin.
    objective
        ``(n,)`` float64, at least 0 in a reduced model.
    value
        ``(n,)`` float64, the same minimisation without slack terms: ``value . x``, in the same units.
    cost
        ``(n_resources, n)`` int64 in the units left after division by the common divisor; negative entries shed cost.
    slack
        One integer per resource in those units; may be negative.
    slack_price
        ``(n_resources,)`` float64 per unit left unused.
    hint
        ``(n_groups,)`` int64 index of a good choice in each group, or None.
    rows
        Further constraints on the choices and, behind them, on the auxiliary binaries.
    n_auxiliary
        How many auxiliary binaries there are.
    whole
        ``(n,)`` int64: the values as whole multiples of a unit, where they are such and add up exactly; or None.
    forbidden
        Selections that must not be returned again: they exceeded a budget, or broke a row, by a rounding.
    heard
        Is told every selection found on the way, as indices into the choices, and says whether that is enough; or None.
    """

    start: NDArray[np.int64]
    objective: NDArray[np.float64]
    value: NDArray[np.float64]
    cost: NDArray[np.int64]
    slack: tuple[int, ...]
    slack_price: NDArray[np.float64]
    hint: NDArray[np.int64] | None = None
    rows: tuple[IntegerRow, ...] = ()
    n_auxiliary: int = 0
    whole: NDArray[np.int64] | None = None
    forbidden: tuple[Forbidden, ...] = ()
    heard: Callable[[NDArray[np.int64]], bool] | None = None

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return len(self.start) - 1

    def over_budget(self, choice: NDArray[np.int64]) -> bool:
        """Whether a selection, as indices into the choices, exceeds a budget."""
        return any(int(used) > left for used, left in zip(self.cost[:, choice].sum(axis=1), self.slack, strict=True))

    def without(self, outcome: Outcome) -> BackendModel:
        """The same model with the selection of an outcome, and the auxiliary binaries that go with it, forbidden."""
        if outcome.choice is None:
            return self
        n, given = len(self.objective), outcome.auxiliary
        auxiliary = np.zeros(self.n_auxiliary, dtype=np.int64) if given is None else given
        pattern = Forbidden(
            np.append(outcome.choice, n + np.flatnonzero(auxiliary)), n + np.flatnonzero(auxiliary == 0)
        )
        return dataclasses.replace(self, forbidden=(*self.forbidden, pattern))


@dataclasses.dataclass(frozen=True, eq=False)
class Forbidden:
    """Binaries that must not all be one (`ones`) and zero (`zeros`) at once; the zeros are auxiliary binaries."""

    ones: NDArray[np.int64]
    zeros: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What a backend returns for a `BackendModel`.

    Attributes
    ----------
    choice
        ``(n_groups,)`` int64 indices into its choices, or None.
    complete
        The backend says that it is done.
    claimed
        The status in the backend's own words.
    resolution
        How finely it told selections apart, in units of the objective.
    auxiliary
        ``(n_auxiliary,)`` int64 zeros and ones that go with the choice, where the model has such.
    interrupted
        The user stopped it.
    """

    choice: NDArray[np.int64] | None
    complete: bool
    claimed: str
    resolution: float = 0.0
    auxiliary: NDArray[np.int64] | None = None
    interrupted: bool = False


class Backend(Protocol):
    """Solves one model; an adapter has to bring no more than this."""

    def __call__(self, model: BackendModel, seconds: float) -> Outcome:
        """Minimise within so many seconds."""
        ...


def largest_in_group(model: BackendModel, x: NDArray[np.float64]) -> NDArray[np.int64]:
    """``(n_groups,)`` the index of the largest entry of each group: a selection, whatever the backend's tolerances."""
    group = np.repeat(np.arange(model.n_groups), np.diff(model.start))
    order = np.lexsort((-x, group))
    return np.asarray(order[model.start[:-1]], dtype=np.int64)
