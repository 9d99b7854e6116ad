from __future__ import annotations

from typing import Any

import pytest

import mckp_quant as mq
from mckp_quant import InvalidInput
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.solvers import NoSolution

from .sharp import front, held_back, network, table, walked


def select(**arguments: Any) -> mq.Selection:
    return mq.select(front(), network(), held_back(), **arguments)


def test_the_best_of_the_k_points_below_the_budget_is_taken() -> None:
    _, every = walked()
    walk = front()
    assert walk.limit is not None
    within = [at for at, each in enumerate(walk.points) if each.used <= walk.limit][-5:]
    found = select(k=5)
    assert [each.point.used for each in found.measured] == [walk.points[at].used for at in within]
    assert [each.figure for each in found.measured] == [every[at].kl for at in within]
    assert found.best.figure == min(every[at].kl for at in within)
    assert found.policy == found.best.point.policy


def test_neighbours_and_paired_errors_stand_beside_the_best() -> None:
    found = select(k=6)
    evaluator = Evaluator(network(), held_back())
    best = evaluator.evaluate(found.policy)
    for each, pair in zip(found.measured, found.differences, strict=True):
        wanted = (0.0, 0.0) if each is found.best else evaluator.evaluate(each.point.policy).kl_difference(best)
        assert pair == pytest.approx(wanted)
        assert pair[0] >= 0
    at = found.measured.index(found.best)
    beside = [
        each for each in found.measured if each in found.measured[max(at - 1, 0) : at + 2] and each is not found.best
    ]
    assert list(found.neighbours) == beside
    assert 1 <= len(found.neighbours) <= 2
    document = found.document()
    assert document["best"]["used"] == found.best.point.used
    assert [each["above_best"] for each in document["measured"]] == [above for above, _ in found.differences]
    assert f"of 6 policies that were run, the one of {found.best.point.used:,} bytes has the least KL" in found.verdict


def test_the_verdict_says_how_many_are_as_good() -> None:
    found = select(k=6)
    alike = sum(above <= 2 * error for above, error in found.differences) - 1
    assert alike == 0 or f"{alike} of the others are not worse by more than two paired standard errors" in found.verdict
    assert alike > 0 or "all others are worse by more than two paired standard errors" in found.verdict
    assert "others" not in select(k=1).verdict


def test_another_budget_may_be_given() -> None:
    limit = front().points[9].used
    found = select(k=3, at_most=limit)
    assert found.measured[-1].point.used == limit
    assert select(k=3, at_most=f"{limit}B").document() == found.document()
    assert len(select(k=100, at_most=limit).measured) == 10


def test_a_budget_is_needed_and_must_hold_a_point() -> None:
    with pytest.raises(InvalidInput, match="the request of the front has no budget of weight_bytes: say with at_most="):
        mq.select(mq.front(table(), max_points=5), network(), held_back())
    with pytest.raises(NoSolution, match="the front has no point within 3 bytes: its smallest takes"):
        select(at_most=3)
    with pytest.raises(InvalidInput, match="k is 0: it must be a whole number, at least 1"):
        select(k=0)
