"""The Lagrangian bound, which a price proves, and Farkas' proof of infeasibility; both allow for every rounding."""

from __future__ import annotations

import dataclasses
import math
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..kernels.dispatch import compiled, plain
from .exact_sums import sum_below, total_below

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem


EPS = float(np.finfo(np.float64).eps)
_LARGEST = 1.7e308  # beyond this a sum may have overflowed beside one that has not
_LARGEST_PRICE = 1e280  # times a cost it stays far inside float64; its inverse loses no digits
_COMPARED_EXACTLY = 20_000  # choices that are compared in rational numbers where a sign depends on it
_FEW_TIES = 300  # nearly tied choices that are always compared in rational numbers: it takes a millisecond


def lagrangian_bound(problem: Problem, price: NDArray[np.float64], split: NDArray[np.float64] | None = None) -> float:
    """The Lagrangian dual function at a price, less its rounding error.

    ``L(price) = sum_g min_j (value_j + price . cost_j) - price . budget`` bounds the value of every feasible selection
    from below (Everett 1963, *Generalized Lagrange multiplier method for solving problems of optimum allocation of
    resources*). Costs count from the cheapest of their group, which changes nothing but keeps the terms small, and
    choices that exceed a budget even when every other group costs its least are left out: no feasible selection holds
    them.

    Parameters
    ----------
    problem
        The problem.
    price
        ``(n_resources,)`` float64, at least 0: value per unit of cost.
    split
        Of a problem with pairwise terms: the share of each choice, see `reparametrise`.

    Returns
    -------
    bound
        A number that the exact dual value does not fall below; ``-inf`` where the terms overflow.
    """
    fits = problem.fits
    value, rest = (problem.value, 0.0) if problem.pairs is None else reparametrise(problem, split, fits)
    cheapest = cheapest_at(problem, value, fits, price)
    return bound_from(value, cheapest, rest)


def bound_from(value: NDArray[np.float64], cheapest: Cheapest | None, rest: float = 0.0) -> float:
    """The bound that the cheapest selection at a price proves; `rest` is what the pairwise terms add to it."""
    if cheapest is None:
        return -math.inf
    return total_below(value, cheapest.position, [rest, -cheapest.unused, *(-cheapest.short).tolist()])


@dataclasses.dataclass(frozen=True, eq=False)
class Cheapest:
    """The cheapest selection at a price: the reference from which a bound is counted.

    Attributes
    ----------
    position
        ``(n_groups,)`` int64.
    unused
        ``price . (what it leaves of the budgets)``, computed exactly and rounded up.
    near
        ``(n,)`` int64 positions of other choices that rounding cannot tell from the cheapest of their group.
    short
        ``(n,)`` float64, at least 0: by how much each of those may be cheaper.
    """

    position: NDArray[np.int64]
    unused: float
    near: NDArray[np.int64]
    short: NDArray[np.float64]


def cheapest_at(
    problem: Problem, value: NDArray[np.float64], fits: NDArray[np.bool_] | None, price: NDArray[np.float64]
) -> Cheapest | None:
    """The cheapest selection at a price.

    What differs is compared, so a constant in a group costs no digits: only choices that are nearly tied are short of
    anything. A few of them are compared in rational numbers, since the rounding of their difference may be larger than
    the last digit of the values, and then nothing would be proved; more of them are short by that rounding.

    Parameters
    ----------
    problem
        The problem.
    value
        ``(n_choices,)`` float64 values that count.
    fits
        ``(n_choices,)`` bool, which choices count, at least one in each group; None for all.
    price
        ``(n_resources,)`` float64, at least 0.

    Returns
    -------
    cheapest
        None where the terms overflow.
    """
    found = _nearly_tied(problem, value, fits, price)
    if found is None:
        return None
    position, near, reference, used = found
    if len(near) <= _FEW_TIES:
        short = _short_exactly(problem, value, price, near, reference)
    else:
        above, slip = problem.above, (problem.n_resources + 3) * EPS
        with np.errstate(over="ignore", invalid="ignore"):
            own, change = value[reference] - value[near], above[:, reference] - above[:, near]
            spread = np.abs(own) + charge(price, np.abs(change))
            # A group is as short as its shortest choice; adding all of them up only lowers the bound.
            short = np.maximum(own + charge(price, change) + slip * spread, 0.0)
    left = [room - own for room, own in zip(problem.room, used.tolist(), strict=True)]
    return Cheapest(position, rounded_up(*_exact_sum(price.tolist(), left)), near, short)


_Tied: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]"


def _nearly_tied(
    problem: Problem, value: NDArray[np.float64], fits: NDArray[np.bool_] | None, price: NDArray[np.float64]
) -> _Tied | None:
    """The positions that are cheapest at a price, of equal ones the first, and those nearly tied with them.

    Beside each of these, the cheapest of its group; and what the cheapest cost in all, above the least. None where the
    terms overflow.
    """
    kernels = compiled()
    if kernels is None:
        return nearly_tied_in_numpy(problem, value, fits, price)
    n = problem.n_choices
    position, used = np.empty(problem.n_groups, dtype=np.int64), np.empty(len(price), dtype=np.int64)
    near, reference = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    above = plain(problem.above)
    count = kernels.cheapest(value, above, price, problem.start, position, near, reference, used, fits)
    return None if count < 0 else (position, near[:count], reference[:count], used)


def nearly_tied_in_numpy(
    problem: Problem, value: NDArray[np.float64], fits: NDArray[np.bool_] | None, price: NDArray[np.float64]
) -> _Tied | None:
    """The cheapest positions and those nearly tied, in NumPy."""
    slip = (problem.n_resources + 3) * EPS
    with np.errstate(over="ignore", invalid="ignore"):
        priced = charge(price, problem.above)
        penalised = value + priced if fits is None else np.where(fits, value + priced, np.inf)
        least = np.minimum.reduceat(penalised, problem.start[:-1])
        if not (np.abs(least) < _LARGEST).all():
            return None
        at = (penalised == least[problem.group]).nonzero()[0][::-1]
        position = np.empty(problem.n_groups, dtype=np.int64)
        position[problem.group[at]] = at
        size = slip * (np.abs(value) + priced)
        highest = least + 2 * size[position]
        near = (penalised - 2 * size <= highest[problem.group]).nonzero()[0]
        near = near[near != position[problem.group[near]]]
        # Costs of one selection add up to less than 2**63 by the rules of a problem.
        return position, near, position[problem.group[near]], problem.above[:, position].sum(axis=1)


def farkas_excess(problem: Problem, price: NDArray[np.float64]) -> float:
    """By how much, at least, the cheapest selection at a price exceeds the budgets at that price.

    Parameters
    ----------
    problem
        The problem.
    price
        ``(n_resources,)`` float64, at least 0.

    Returns
    -------
    excess
        ``sum_g min_j price . cost_j - price . budget``, rounded down; positive proves infeasibility (the lemma of
        Farkas). The choices that rounding cannot tell apart are compared in rational numbers, while they are no more
        than some thousands, so the sign is exact however far the prices lie apart.
    """
    begin, largest = problem.start[:-1], float(price.max(initial=0.0))
    over = [least - limit for least, limit in zip(problem.least_cost, problem.budget.tolist(), strict=True)]
    if largest == 0:
        return 0.0
    if np.count_nonzero(price) == 1:
        return _rounded_down(_priced_exactly(price, over))
    everything = np.ones(problem.n_choices, dtype=bool)
    above = problem.above
    if largest < _LARGEST_PRICE and float(price[price > 0].min()) > 1 / _LARGEST_PRICE:
        cheapest = cheapest_at(problem, np.zeros(problem.n_choices), everything, price)
        assert cheapest is not None
        position, near, short = cheapest.position, cheapest.near, cheapest.short
    else:
        position, near, short = begin, np.flatnonzero(everything), np.array([math.inf])
    total = _priced_exactly(price, [sum_of(row) + each for row, each in zip(above[:, position], over, strict=True)])
    if len(near) <= _COMPARED_EXACTLY:
        short_of = _most_short(problem, np.zeros(problem.n_choices), price, near, position[problem.group[near]])
        return _rounded_down(total - sum((each for _, each in short_of.values()), Fraction(0)))
    return sum_below([_rounded_down(total), *(-short).tolist()])


def _most_short(
    problem: Problem,
    value: NDArray[np.float64],
    price: NDArray[np.float64],
    near: NDArray[np.int64],
    reference: NDArray[np.int64],
) -> dict[int, tuple[int, Fraction]]:
    """For each reference that a choice of its group is cheaper than: which place in `near`, and by how much."""
    found: dict[int, tuple[int, Fraction]] = {}
    above, prices = problem.above, price.tolist()
    for place, (new, old) in enumerate(zip(near.tolist(), reference.tolist(), strict=True)):
        amount = [row.item(old) - row.item(new) for row in above]
        whole, below = _exact_sum([value.item(old), value.item(new), *prices], [1, -1, *amount])
        if whole > 0:
            cheaper = Fraction(whole, below)
            if cheaper > found.get(old, (0, Fraction(0)))[1]:
                found[old] = place, cheaper
    return found


def _short_exactly(
    problem: Problem,
    value: NDArray[np.float64],
    price: NDArray[np.float64],
    near: NDArray[np.int64],
    reference: NDArray[np.int64],
) -> NDArray[np.float64]:
    """``(n,)`` by how much a group is short, at its shortest choice, rounded up; 0 at the others."""
    short = np.zeros(len(near))
    for place, cheaper in _most_short(problem, value, price, near, reference).values():
        short[place] = rounded_up(cheaper.numerator, cheaper.denominator)
    return short


def sum_of(row: NDArray[np.int64]) -> int:
    """The sum of costs of one selection, which is below 2**63 by the rules of a problem."""
    return int(row.sum())


def _exact_sum(number: list[float], times: list[int]) -> tuple[int, int]:
    """The sum of numbers times whole numbers, as a numerator and a denominator, which is a power of two."""
    above, below = 0, 1
    for each, units in zip(number, times, strict=True):
        if each and units:
            own, its = each.as_integer_ratio()
            if its > below:
                above, below = above * (its // below), its
            above += own * units * (below // its)
    return above, below


def _priced_exactly(price: NDArray[np.float64], amount: list[int]) -> Fraction:
    return Fraction(*_exact_sum(price.tolist(), amount))


def _rounded_down(exact: Fraction) -> float:
    return -rounded_up(-exact.numerator, exact.denominator)


def rounded_up(above: int, below: int) -> float:
    """The least float64 that is no less than ``above / below``; infinite beyond their range."""
    try:
        number = above / below
    except OverflowError:
        return math.inf if above > 0 else -sys.float_info.max
    own, its = number.as_integer_ratio()
    return number if own * below >= above * its else math.nextafter(number, math.inf)


def charge(price: NDArray[np.float64], cost: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """``price @ cost``, summed resource by resource: the same rounding on every machine.

    Parameters
    ----------
    price
        ``(n_resources,)`` float64.
    cost
        ``(n_resources, n)`` int64.

    Returns
    -------
    charge
        ``(n,)`` float64.
    """
    total: NDArray[np.float64] = price[0] * cost[0]
    for each, row in zip(price[1:], cost[1:], strict=True):
        total += each * row
    return total


def reparametrise(
    problem: Problem, split: NDArray[np.float64] | None, fits: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Move shares of the pairwise terms to single choices; what is left is bounded for each two groups.

    For any shares, ``q_ij = s_ij + s_ji + (q_ij - s_ij - s_ji)``: the first two are added to the values of the choices
    ``i`` and ``j``, and the rest of two groups is at least its minimum over their choices (reparametrisation of a
    pairwise model: Werner, 2007, *A linear programming approach to max-sum problem: a review*).

    Parameters
    ----------
    problem
        A problem with pairs.
    split
        ``(n_groups, n_choices)`` float64: ``split[h, i]`` is the share of the terms of choice ``i`` with the choices
        of group ``h`` that goes to ``i``; None for no shares.
    fits
        ``(n_choices,)`` the choices that a feasible selection can hold.

    Returns
    -------
    value
        ``(n_choices,)`` values with the shares, lowered by their rounding error.
    rest
        A lower bound on the sum of what is left between all pairs of groups.
    """
    assert problem.pairs is not None
    matrix = problem.pairs.dense(problem.n_choices)
    shares = np.zeros((problem.n_groups, problem.n_choices)) if split is None else split.copy()
    shares[problem.group, np.arange(problem.n_choices)] = 0  # no choice has terms with its own group
    received = shares[problem.group]  # of choice i (column) from the group of choice j (row)
    slip = 4 * EPS * (np.abs(matrix) + np.abs(received) + np.abs(received.T))
    left = matrix - received - received.T - slip
    left[~fits] = np.inf
    left[:, ~fits] = np.inf
    least = np.minimum.reduceat(np.minimum.reduceat(left, problem.start[:-1], axis=0), problem.start[:-1], axis=1)
    terms = least[np.triu_indices(problem.n_groups, 1)]
    rest = float(terms.sum()) - 2 * (len(terms) + 1) * EPS * float(np.abs(terms).sum())
    magnitude = np.abs(problem.value) + np.abs(shares).sum(axis=0)
    value = problem.value + shares.sum(axis=0) - 2 * (problem.n_groups + 1) * EPS * magnitude
    return value, rest
