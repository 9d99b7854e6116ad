"""Combined changes of several groups of a core, which enter its dynamic programme like one group."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .remaining import Remaining

_GROUPS_AT_ONCE = 64
_FILTER_FROM = 100  # fewer combinations are extended faster than filtered


class Change(NamedTuple):
    """How one more group entered combinations: each of its choices, reference first, with each one made before.

    Attributes
    ----------
    choice
        Its choices but the reference, as indices into the core.
    before
        How many combinations there were.
    kept
        Which of the pairs were kept, the choice being the slower index; None if all.
    """

    choice: NDArray[np.int64]
    before: int
    kept: NDArray[np.int64] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Combinations:
    """Changes of one or more groups together, relative to the reference.

    Attributes
    ----------
    cost, value
        ``(n,)`` of each combination.
    changes
        How they were made, the last group first.
    """

    cost: NDArray[np.int64]
    value: NDArray[np.float64]
    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.cost)

    def chosen(self, combination: int) -> list[int]:
        """The choices of a combination as indices into the core, without references."""
        found = []
        for change in self.changes:
            pair = combination if change.kept is None else int(change.kept[combination])
            which, combination = divmod(pair, change.before)
            if which:
                found.append(int(change.choice[which - 1]))
        return found


def combine(ahead: Remaining, first: int, limit: int, price: float, most: float) -> tuple[Combinations, int]:
    """Combine the choices of the next group with those of further groups, while the combinations stay few.

    Parameters
    ----------
    ahead
        The groups that are still to come.
    first
        The next one.
    limit
        How many combinations there may be, where that is more than one group has choices.
    price
        Value per unit of cost.
    most
        Combinations whose sum of reduced costs exceeds this may be left out.

    Returns
    -------
    combinations
        The combinations; the first one changes nothing.
    after
        The next group after them.
    """
    choices, begin = ahead.choices, ahead.begin[first : first + _GROUPS_AT_ONCE + 1].tolist()
    cost, value = np.zeros(1, dtype=np.int64), np.zeros(1)
    changes: list[Change] = []
    for own in itertools.starmap(slice, itertools.pairwise(begin)):
        if changes and len(cost) * (own.stop - own.start + 1) > limit:
            break
        before = len(cost)
        cost = np.concatenate([cost, (choices.cost[own, None] + cost).ravel()])
        value = np.concatenate([value, (choices.value[own, None] + value).ravel()])
        kept = None
        if len(cost) > _FILTER_FROM:
            kept = (value + price * cost <= most).nonzero()[0]
            cost, value = cost[kept], value[kept]
        changes.append(Change(choices.index[own], before, kept))
    return Combinations(cost, value, tuple(reversed(changes))), first + len(changes)
