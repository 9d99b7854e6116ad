from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant import InvalidInput, RunOptions
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.solvers import NoSolution
from mckp_quant.trade_off.limits import limit_of
from mckp_quant.trade_off.result import Measured
from mckp_quant.trade_off.shrinking import Search

from ..search import small
from .sharp import FORMATS, data, front, held_back, network, table, walked

if TYPE_CHECKING:
    from numpy.typing import NDArray


def smallest(**arguments: Any) -> mq.Smallest:
    return mq.smallest(network(), front(), held_back(), **arguments)


LIMITS: list[dict[str, Any]] = [
    {"kl_at_most": 0.02},
    {"kl_at_most": 0.2},
    {"accuracy_drop_at_most": "5%"},
    {"accuracy_drop_at_most": 0.1},
    {"accuracy_drop_at_most": 0.25},
    {"loss_at_most": 0.82},
]


@pytest.mark.parametrize("limit", LIMITS)
def test_it_is_as_small_as_an_exhaustive_walk_finds(limit: dict[str, Any]) -> None:
    reference, every = walked()
    wanted = limit_of(limit.get("kl_at_most"), limit.get("loss_at_most"), limit.get("accuracy_drop_at_most"))
    keep = [at for at, each in enumerate(every) if wanted.of(each, reference)[0] <= wanted.most]
    assert keep, "the limit can be kept"
    assert keep[0] > 0, "the limit says something"
    found = smallest(**limit)
    assert found.evaluations == len(found.measured) <= 40
    assert found.point.used <= 1.03 * front().points[keep[0]].used
    at = front().points.index(found.point)
    figure, stderr = wanted.of(every[at], reference)
    assert [found.best.figure, found.best.stderr] == pytest.approx([figure, stderr])
    assert found.best.figure <= found.limit == wanted.most


def test_steps_of_one_hit_count_as_noise() -> None:
    # Ten hits in a hundred are missing, then nine, nine of them everywhere below but at one point.
    figures = np.full(60, 0.1)
    figures[40:], figures[25] = 0.09, 0.09
    found = []
    for step in (0.0, 0.01):
        meter: Any = Noisy(figures, 1e-3)
        meter.step = step
        search = Search(meter, USES[:60], 0.09, 40, RunOptions())
        search.find()
        found.append(search.first(lambda each: each.figure <= 0.09))
    assert found == [40, 25]


def test_what_is_limited_is_what_was_measured() -> None:
    reference, every = walked()
    accuracy = limit_of(None, None, "1%")
    for each in every[::20]:
        drop, stderr = accuracy.of(each, reference)
        lost = reference.totals[2] - each.totals[2]
        assert drop == pytest.approx(reference.accuracy - each.accuracy)
        assert stderr == pytest.approx(max(lost.std(ddof=1) / math.sqrt(len(lost)), 1.5 / len(lost)), rel=1e-6)
        assert limit_of(0.1, None, None).of(each, reference) == (each.kl, each.kl_stderr)
        assert limit_of(None, 0.1, None).of(each, reference) == (each.loss, each.loss_stderr)
    assert (accuracy.step(reference), limit_of(0.1, None, None).step(reference)) == (1 / 192, 0)
    assert (accuracy.most, limit_of(None, None, 0.01).most) == (0.01, 0.01)


def test_the_interval_is_between_what_may_and_what_must_keep_the_limit() -> None:
    found = smallest(kl_at_most=0.05)
    assert found.possible.point.used <= found.point.used
    assert found.possible.figure - 2 * found.possible.stderr <= 0.05
    assert found.sure is not None
    assert found.sure.point.used >= found.point.used
    assert found.sure.figure + 2 * found.sure.stderr <= 0.05
    for each in found.measured:
        assert each.point.used >= found.possible.point.used or each.figure - each.margin > 0.05
        assert each.point.used >= found.sure.point.used or each.figure + each.margin > 0.05
    assert f"{found.point.used:,} bytes keep the KL at" in found.verdict
    assert f"from {found.possible.point.used:,} bytes to {found.sure.point.used:,} bytes" in found.verdict


USES = np.geomspace(1e4, 4e4, 200).astype(int).tolist()


class Noisy:
    """Measures as a network might: a figure that falls along the front, with noise, and remembers what it ran."""

    def __init__(self, figures: NDArray[np.float64], stderr: float) -> None:
        self.known: dict[int, Measured] = {}
        self.step = 0.0
        self._figures = figures
        self._stderr = stderr

    def at(self, position: int) -> Measured:
        point: Any = position
        self.known[position] = Measured(point, point, float(self._figures[position]), self._stderr)
        return self.known[position]


def test_of_noisy_figures_it_finds_nearly_what_an_exhaustive_walk_finds() -> None:
    rng = np.random.default_rng(0)
    late = 0
    for _ in range(40):
        count = int(rng.integers(2, 200))
        steep, noise = rng.uniform(2, 8), rng.uniform(0, 0.4)
        figures = np.exp(-steep * np.arange(count) / count) * np.exp(noise * rng.normal(size=count))
        limit = float(np.quantile(figures, rng.uniform(0.02, 0.98)))
        first = int(np.flatnonzero(figures <= limit)[0])
        meter: Any = Noisy(figures, 0.1 * limit)
        search = Search(meter, USES[:count], limit, 40, RunOptions())
        search.find()
        assert search.spent <= 40
        found = search.first(lambda each, most=limit: each.figure <= most)  # type: ignore[misc]
        assert figures[found] <= limit
        late += (found - first) > 0.022 * 200  # 1.03x of the bytes, where 200 points span a factor of four
    assert late <= 3, "a lone lucky point far below the others may be missed, but seldom"


def test_a_smooth_figure_takes_few_runs() -> None:
    meter: Any = Noisy(np.exp(-np.arange(200) / 40), 1e-9)
    search = Search(meter, USES, 0.1, 40, RunOptions())
    search.find()
    assert search.first(lambda each: each.figure <= 0.1) == 93
    assert search.spent < 16


@pytest.mark.parametrize("evaluations", [1, 2, 5])
def test_no_more_points_are_run_than_asked_for(evaluations: int) -> None:
    found = smallest(kl_at_most=10.0, evaluations=evaluations)
    assert found.evaluations <= evaluations
    assert found.best.figure <= 10


def test_where_no_point_keeps_the_limit_the_best_is_named() -> None:
    with pytest.raises(
        NoSolution, match=r"no policy of the front keeps the KL at most 1e-09: the best of \d+ that were run"
    ):
        smallest(kl_at_most=1e-9)


def test_the_model_is_left_as_it_was_and_the_same_call_gives_the_same() -> None:
    model = network()
    before = small.state(model)
    documents = [mq.smallest(model, front(), held_back(), kl_at_most=0.05, evaluations=12).document() for _ in range(2)]
    assert small.same(before, small.state(model))
    assert documents[0] == documents[1]
    assert documents[0]["best"]["used"] == documents[0]["policy"]["costs"]["weight_bytes"]
    assert documents[0]["evaluations"] == len(documents[0]["measured"])


def test_points_are_run_with_the_weights_of_the_bank() -> None:
    bank = mq.round_weights(network(), data(1), FORMATS, rounder="gptq")
    measured = mq.measure(network(), data(1), formats=FORMATS, bank=bank)
    walk = mq.front(measured, max_points=20)
    found = mq.smallest(network(), walk, held_back(), kl_at_most=0.05, bank=bank)
    wanted = Evaluator(network(), held_back(), bank=bank).evaluate(found.policy)
    assert found.best.evaluation.kl == wanted.kl
    assert found.best.figure != Evaluator(network(), held_back(), other_rounder=True).evaluate(found.policy).kl
    with pytest.raises(InvalidInput, match="gptq"):
        mq.smallest(network(), walk, held_back(), kl_at_most=0.05)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "no limit is given: give one of kl_at_most=, loss_at_most= and accuracy_drop_at_most="),
        ({"kl_at_most": 1, "loss_at_most": 1}, "2 limits are given: give one of"),
        ({"kl_at_most": -1}, "kl_at_most is -1: it must be a number, at least 0"),
        ({"loss_at_most": math.nan}, "loss_at_most is nan: it must be a number"),
        ({"accuracy_drop_at_most": 1}, "accuracy_drop_at_most is 1: write 0.01 or '1%' for one percentage point"),
        ({"accuracy_drop_at_most": "1 point"}, "accuracy_drop_at_most = '1 point' has the unit 'point'"),
        ({"kl_at_most": 1, "evaluations": 0}, "evaluations is 0: it must be a whole number, at least 1"),
    ],
)
def test_what_cannot_be_used_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        smallest(**arguments)


def test_a_front_and_targets_are_needed() -> None:
    with pytest.raises(InvalidInput, match=r"front is a SensitivityTable: give what mckp_quant.front\(\) returned"):
        mq.smallest(network(), table(), held_back(), kl_at_most=1)  # type: ignore[arg-type]
    inputs = [batch[0] for batch in held_back()]
    with pytest.raises(InvalidInput, match="the batches tell nothing of the accuracy drop: give batches with targets"):
        mq.smallest(network(), front(), inputs, accuracy_drop_at_most="1%")
    assert mq.smallest(network(), front(), inputs, kl_at_most=0.05).best.figure <= 0.05


def test_regression_is_limited_by_its_kl() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 2))
    inputs = [torch.randn(16, 6) for _ in range(4)]
    outputs = mq.Outputs(likelihood="gaussian")
    measured = mq.measure(model, inputs, formats="w2,w4,w8", outputs=outputs)
    found = mq.smallest(model, mq.front(measured), inputs, kl_at_most=1e-3, outputs=outputs)
    assert found.best.figure <= 1e-3
    assert found.point.used < found.front.points[-1].used
