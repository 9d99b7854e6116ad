"""Proposes selections to measure: the best of a corrected table, of tables drawn around it, and small changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..solvers import Pairwise, k_best, solve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..solvers import Problem
    from .correction import Posterior

_RUNNERS_UP = 4
_REACHES = 14  # how many prices on a change of a group are tried, each half of the one before
_EXCHANGES = 400  # changes of two groups that are looked at closely
_HOPE = 1.0  # standard deviations by which an uncertain change is taken to be better than it looks


def propose(
    posterior: Posterior,
    incumbent: NDArray[np.int64],
    known: set[bytes],
    count: int,
    rng: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Propose selections within the budgets that have not been measured.

    They come in turn from four sources: the best ones near the incumbent, see `_near`; the best one of the corrected
    table and its runners-up; the best ones of tables drawn from what is known of the entries, so that uncertain entries
    get a chance (Thompson, 1933, *On the likelihood that one unknown probability exceeds another in view of the
    evidence of two samples*); and exchanges of one or two groups of the incumbent, the most hopeful first. Where all of
    these were measured, the best ones of tables whose entries are off by about twice their size.

    Parameters
    ----------
    posterior
        What is known.
    incumbent
        ``(n_groups,)`` positions of the best selection measured.
    known
        ``choice.tobytes()`` of what need not be proposed.
    count
        How many are wanted.
    rng
        For the draws.

    Returns
    -------
    choices
        At most `count`, all different; fewer where nothing else was found.
    """
    seen = set(known)
    found: list[NDArray[np.int64]] = []
    sources = [
        _near(posterior, incumbent),
        _best(posterior),
        _drawn(posterior, rng, 4 * count),
        _exchanges(posterior, incumbent),
    ]
    while sources and len(found) < count:
        source = sources.pop(0)
        choice = next((each for each in source if each.tobytes() not in seen), None)
        if choice is not None:
            seen.add(choice.tobytes())
            found.append(choice)
            sources.append(source)
    if not found:  # what the posterior leads to is all measured: anything else within the budgets
        for choice in _scattered(posterior, rng, 8 * count):
            if choice.tobytes() not in seen and len(found) < count:
                seen.add(choice.tobytes())
                found.append(choice)
    return found


def solved(problem: Problem) -> NDArray[np.int64]:
    """Positions of the best selection; with pairwise terms, of one that no exchange improves."""
    answer = solve(problem, "auto" if problem.pairs is None else Pairwise(max_nodes=0, max_sweeps=0), seconds=5.0)
    choice = answer.require().choice
    assert choice is not None
    return problem.position(choice)


def _near(posterior: Posterior, incumbent: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The best selections at several distances from the incumbent, by their loss and its standard deviation together.

    An additive model is good near the selection that it was made for. Where many groups change at once, the terms
    between the changes are missing. So every change has a price, like the multiplier of a trust region.
    """
    problem = posterior.as_problem()
    moved = ~np.isin(np.arange(problem.n_choices), incumbent)
    price = float(np.abs(posterior.value).max())
    found: dict[bytes, NDArray[np.int64]] = {}
    for halving in range(_REACHES):
        priced = problem.equivalent(
            value=problem.value + price * 0.5**halving * moved, cost=problem.cost, budget=problem.budget
        )
        if problem.pairs is not None:
            priced = priced.with_pairs(problem.pairs)
        choice = solved(priced)
        found[choice.tobytes()] = choice
    yield from sorted(found.values(), key=lambda choice: sum(posterior.change(incumbent, choice)))


def _best(posterior: Posterior) -> Iterator[NDArray[np.int64]]:
    problem = posterior.as_problem()
    yield solved(problem)
    if problem.pairs is None and problem.rows is None:
        for answer in k_best(problem, _RUNNERS_UP, seconds=5.0):
            assert answer.choice is not None
            yield problem.position(answer.choice)


def _drawn(posterior: Posterior, rng: np.random.Generator, most: int) -> Iterator[NDArray[np.int64]]:
    for _ in range(most):
        yield solved(posterior.as_problem(posterior.draw(rng)))


def _scattered(posterior: Posterior, rng: np.random.Generator, most: int) -> Iterator[NDArray[np.int64]]:
    """The best selections of tables whose entries are off by twice their size, which may turn their signs."""
    for _ in range(most):
        yield solved(posterior.as_problem(posterior.mean * rng.normal(1, 2, len(posterior.mean))))


def _exchanges(posterior: Posterior, incumbent: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Changes of one or two groups that the budgets allow, the most hopeful ones first."""
    problem = posterior.problem
    present = incumbent[problem.group]
    moves = np.flatnonzero(present != np.arange(problem.n_choices))
    gain = posterior.value[moves] - posterior.value[present[moves]]
    cost = problem.cost[:, moves] - problem.cost[:, present[moves]]
    room = problem.budget - problem.cost[:, incumbent].sum(axis=1)
    first, second = np.triu_indices(len(moves))
    both = first != second
    apart = problem.group[moves[first]] != problem.group[moves[second]]
    total = cost[:, first] + np.where(both, cost[:, second], 0)
    allowed = (apart | ~both) & (total <= room[:, None]).all(axis=0)
    first, second, both = first[allowed], second[allowed], both[allowed]
    near = np.argsort(gain[first] + np.where(both, gain[second], 0), kind="stable")[:_EXCHANGES]
    hopes = []
    for at in near.tolist():
        other = incumbent.copy()
        for move in {int(moves[first[at]]), int(moves[second[at]])}:
            other[problem.group[move]] = move
        if problem.rows is None or problem.rows.allow(problem.n_choices, other) is not None:
            worse, deviation = posterior.change(incumbent, other)
            hopes.append((worse - _HOPE * deviation, at, other))
    for _, _, other in sorted(hopes, key=lambda hope: hope[:2]):
        yield other
