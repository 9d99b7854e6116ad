"""Suffix bounds under several budgets: what the groups still to come must add at least, at each of many prices."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..bounds.gap import in_turn
from ..bounds.lagrangian import EPS, charge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..core.reduction import Core

_Number = TypeVar("_Number", np.int64, np.float64)

# The prices at which suffixes are bounded: the best price times these factors, in all combinations up to three
# resources. Where a state has spent more or less than usual, another price bounds what follows better.
_FACTORS = {
    1: (0.3, 0.6, 0.85, 1.0, 1.2, 1.7, 3.0),
    2: (0.3, 0.6, 0.85, 1.0, 1.2, 1.7, 3.0),
    3: (0.5, 0.8, 1.0, 1.3, 2.0),
}
_FACTORS_ALONE = (0.4, 0.8, 1.25, 2.5)  # of one resource at a time, where there are more
_OF_FREE = (0.0, 0.2, 1.0)  # shares of the typical rate of a resource whose best price is 0
_COLUMNS_AT_ONCE = 2**10  # what they make stays near the processor


@dataclasses.dataclass(frozen=True, eq=False)
class Tails:
    """Bounds for the groups from each place of an order on; the last column stands for no group at all.

    Attributes
    ----------
    limit
        Choices whose reduced cost exceeds this were left out.
    noise
        Differences of totals below this are rounding.
    rounding
        Errors of the bounds at other prices are below this.
    shed, fill
        ``(n_resources, n + 1)`` int64, the most cost that can still be shed and added.
    tilt
        ``(n_prices, n_resources)`` float64: each price less the best price.
    least
        ``(n_prices, n + 1)`` float64: the least sum of reduced costs at that price, less ``tilt . slack``.
    """

    limit: float
    noise: float
    rounding: float
    shed: NDArray[np.int64]
    fill: NDArray[np.int64]
    tilt: NDArray[np.float64]
    least: NDArray[np.float64]

    def owed(self, rank: int, cost: NDArray[np.int64]) -> NDArray[np.float64]:
        """What must be added to the reduced costs of states, unused budget at its price included.

        For every price ``p + d`` the total ``sum r + p . unused`` of a completed selection is at least
        ``sum r + d . (cost - slack)``: the Lagrangian bound of the remaining groups, written in reduced costs.

        Parameters
        ----------
        rank
            The place in the order from which groups are still to come.
        cost
            ``(n_resources, n_states)`` int64.

        Returns
        -------
        owed
            ``(n_states,)`` float64, the best of the bounds of all prices.
        """
        ahead = self.least[:, rank, None]
        best: NDArray[np.float64] = np.empty(cost.shape[1])
        for at in range(0, len(best), _COLUMNS_AT_ONCE):
            tilted = _charges(self.tilt, cost[:, at : at + _COLUMNS_AT_ONCE])
            tilted += ahead
            tilted.max(axis=0, out=best[at : at + _COLUMNS_AT_ONCE])
        return best


def tails_of(core: Core, order: NDArray[np.int64], price: NDArray[np.float64], limit: float) -> Tails:
    """Bounds along an order of the core's groups, for selections whose total stays under a limit.

    Parameters
    ----------
    core
        The core.
    order
        Groups of the core; the others keep their reference.
    price
        ``(n_resources,)`` float64, the best price.
    limit
        Totals of interest are at most this.

    Returns
    -------
    tails
        The bounds.
    """
    begin = core.start[:-1]
    alive = core.reduced <= limit
    slack = np.array(core.slack, dtype=np.int64)
    tilt = _tilts(core, price, alive)
    cost = np.where(alive, core.cost, 0)  # the reference's own row of zeros
    penalised = np.where(alive, core.reduced, np.inf) + _charges(tilt, core.cost)
    size = np.maximum.reduceat(np.where(alive, np.abs(core.value) + charge(price, np.abs(core.cost)), 0.0), begin)
    noise = 4 * EPS * in_turn(size[order])
    reach = np.maximum.reduceat(np.abs(cost), begin, axis=1)[:, order].sum(axis=1) + np.abs(slack.astype(np.float64))
    return Tails(
        limit=limit,
        noise=noise,
        rounding=noise + 4 * EPS * float(_charges(np.abs(tilt), reach[:, None]).max()),
        shed=_suffix_sums(np.maximum.reduceat(-cost, begin, axis=1)[:, order]),
        fill=_suffix_sums(np.maximum.reduceat(cost, begin, axis=1)[:, order]),
        tilt=tilt,
        least=_suffix_sums(np.minimum.reduceat(penalised, begin, axis=1)[:, order]) - _charges(tilt, slack[:, None]),
    )


def _charges(prices: NDArray[np.float64], amount: NDArray[_Number]) -> NDArray[np.float64]:
    """``prices @ amount``, summed resource by resource: the same rounding in the kernel and on every machine."""
    total: NDArray[np.float64] = prices[:, :1] * amount[0]
    for resource in range(1, len(amount)):
        total += prices[:, resource, None] * amount[resource]
    return total


def _suffix_sums(rows: NDArray[_Number]) -> NDArray[_Number]:
    """Sums from each place of the last axis to its end, and the empty sum after them."""
    whole = np.zeros((*rows.shape[:-1], rows.shape[-1] + 1), dtype=rows.dtype)
    whole[..., :-1] = np.cumsum(rows[..., ::-1], axis=-1)[..., ::-1]
    return whole


def _tilts(core: Core, price: NDArray[np.float64], alive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``(n_prices, n_resources)`` prices around the best one, less the best one."""
    axes = [_along(core, price, alive, resource) for resource in range(len(price))]
    if len(axes) <= max(_FACTORS):
        return np.array(list(itertools.product(*axes)))
    rows = [np.zeros(len(price)), *(price * (factor - 1) for factor in _FACTORS_ALONE)]
    for resource, axis in enumerate(axes):
        for each in axis:
            rows.append(np.zeros(len(price)))
            rows[-1][resource] = each
    return np.array(rows)


def _along(core: Core, price: NDArray[np.float64], alive: NDArray[np.bool_], resource: int) -> list[float]:
    if price[resource] > 0:
        factors = _FACTORS.get(len(price), _FACTORS_ALONE)
        return [float(price[resource]) * (factor - 1) for factor in factors]
    sheds = alive & (core.cost[resource] < 0)
    most = np.maximum.reduceat(np.where(alive, core.cost[resource], 0), core.start[:-1]).sum()
    if not sheds.any() or core.slack[resource] >= most:  # nothing can exceed this budget
        return [0.0]
    rate = float(np.median(core.reduced[sheds] / -core.cost[resource, sheds]))
    return [rate * share for share in _OF_FREE]
