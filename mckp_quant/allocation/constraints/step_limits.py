"""Limits on memory at each step, stated as conflicts between choices where that sharpens the relaxation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_MOST_PAIRED = 6  # groups of a step beyond which its pairs are not looked at


@dataclass(frozen=True, eq=False)
class Cut:
    """What lives at one step of the execution.

    Attributes
    ----------
    cost
        ``(n_formats,)`` int64 bytes by row of a table, or by group of a problem; the others take nothing.
    fixed
        Bytes of what stays in floating point.
    """

    cost: Mapping[int, NDArray[np.int64]]
    fixed: int

    def renamed(self, group_of: Mapping[int, int]) -> Cut:
        """The same by groups, from the same by rows."""
        found: dict[int, NDArray[np.int64]] = {}
        for row, cost in self.cost.items():
            at = group_of[row]
            found[at] = found[at] + cost if at in found else cost
        return Cut(found, self.fixed)

    def dense(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The costs as a matrix."""
        found = np.zeros(shape, dtype=np.int64)
        for at, cost in self.cost.items():
            found[at] = cost
        return found

    def most(self, barred: NDArray[np.bool_], weights: NDArray[np.int64]) -> int:
        """The most that the step can take, with weights beside it."""
        rows = list(self.cost)
        own, closed = weights[rows], barred[rows]
        both = own + np.array([self.cost[row] for row in rows]).reshape(own.shape)
        more = np.where(closed, 0, both).max(axis=1) - np.where(closed, 0, own).max(axis=1)
        return self.fixed + int(np.where(barred, 0, weights).max(axis=1).sum()) + int(more.sum())


def undominated(cuts: Sequence[Cut], barred: NDArray[np.bool_]) -> tuple[Cut, ...]:
    """The steps that can be the peak: those whose most exceeds the least of every other one.

    Parameters
    ----------
    cuts
        What lives at each step, by group.
    barred
        ``(n_groups, n_formats)`` bool; True for choices that do not exist.

    Returns
    -------
    cuts
        In their order; at least one.
    """
    least = [cut.fixed + sum(int(cost[~barred[at]].min()) for at, cost in cut.cost.items()) for cut in cuts]
    largest = int(np.argmax(least))
    none = np.zeros(barred.shape, dtype=np.int64)
    return tuple(cut for at, cut in enumerate(cuts) if at == largest or cut.most(barred, none) > least[largest])


def conflicts(
    cuts: Sequence[Cut], limit: int, barred: NDArray[np.bool_]
) -> tuple[list[tuple[NDArray[np.int64], int]], tuple[Cut, ...]]:
    """State as conflicts between choices what each step allows.

    Two choices of two groups that share a step exclude each other where they do not fit beside the least of all other
    groups. Of a set in which every two choices exclude each other only one may be taken: a resource of cost 1 and limit
    1. Such a set holds choices of both groups, for those of one group exclude each other anyway. For two groups these
    sets allow the same whole choices as the bytes do, and fewer fractions: the conflict graph of two groups is perfect,
    and its maximal cliques describe its stable sets (Chvatal 1975, *On certain polytopes associated with graphs*).

    Parameters
    ----------
    cuts
        What lives at each step, by group.
    limit
        The most bytes at any step.
    barred
        ``(n_groups, n_formats)`` bool; True for choices that do not exist.

    Returns
    -------
    rows
        ``(n_groups, n_formats)`` int64 of zeros and ones, with their limit: 0 for the choices that no step has room
        for, 1 for sets of choices that exclude each other.
    rest
        The steps that these rows do not replace. All of them, and no rows, where some step has no room at all.
    """
    alive = _fitting(cuts, limit, barred)
    if alive is None:
        return [], tuple(cuts)
    rows: list[tuple[NDArray[np.int64], int]] = []
    dead = ~alive & ~barred
    if dead.any():
        rows.append((dead.astype(np.int64), 0))
    pairs: dict[tuple[int, int], NDArray[np.bool_]] = {}
    rest = []
    for cut in cuts:
        excess, slack = _excess(cut, limit, alive)
        varied = sorted(at for at, cost in excess.items() if cost[alive[at]].max() > 0)
        if sum(int(excess[at][alive[at]].max()) for at in varied) <= slack:
            continue
        if len(varied) > 2:
            rest.append(cut)
        for one, other in itertools.combinations(varied if len(varied) <= _MOST_PAIRED else (), 2):
            clash = excess[one][:, None] + excess[other] > slack
            clash &= alive[one][:, None] & alive[other]
            if clash.any():
                pairs[one, other] = pairs[one, other] | clash if (one, other) in pairs else clash
    for (one, other), clash in pairs.items():
        for first, second in _cliques(clash):
            row = np.zeros(barred.shape, dtype=np.int64)
            row[one], row[other] = first, second
            rows.append((row, 1))
    return rows, tuple(rest)


def _excess(cut: Cut, limit: int, alive: NDArray[np.bool_]) -> tuple[dict[int, NDArray[np.int64]], int]:
    """What each choice takes above the least of its group, and how much all may take above the least together."""
    least = {at: int(cost[alive[at]].min()) for at, cost in cut.cost.items()}
    return {at: cost - least[at] for at, cost in cut.cost.items()}, limit - cut.fixed - sum(least.values())


def _fitting(cuts: Sequence[Cut], limit: int, barred: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The choices that fit into every step beside the least of all others; None where a step has no room at all."""
    alive = ~barred
    changed = True
    while changed:
        changed = False
        for cut in cuts:
            excess, slack = _excess(cut, limit, alive)
            if slack < 0:
                return None
            for at, cost in excess.items():
                over = alive[at] & (cost > slack)
                if over.any():
                    alive[at] &= ~over
                    changed = True
    return alive


def _cliques(clash: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Pairs of a set of rows and a set of columns that all clash with each other; together they cover every clash."""
    found = []
    for columns in np.unique(clash[clash.any(axis=1)], axis=0):
        rows = (clash | ~columns).all(axis=1)
        found.append((rows, columns))
    return found
