from __future__ import annotations

import itertools
import json
import logging
import math
import re
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.allocation.resampling import halves, resample
from mckp_quant.errors import InvalidInput
from mckp_quant.formats.format import as_formats
from mckp_quant.solvers import NoSolution
from mckp_quant.stability.regret import least_worst
from mckp_quant.stability.resolving import check_stability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mckp_quant.solvers import Problem
    from mckp_quant.stability.result import Stability

BUDGET = {"weight_bytes": "80%"}


def drawn(
    seed: int = 0, *, layers: int = 4, batches: int = 12, noise: float = 0.5, truth: NDArray[np.float64] | None = None
) -> mq.SensitivityTable:
    """A table whose contributions scatter about losses that fall fourfold with every bit."""
    rng = np.random.default_rng(seed)
    sizes = np.random.default_rng(99).integers(50, 400, layers)
    if truth is None:
        truth = true_losses(sizes)
    shared, own = rng.normal(size=(batches, 1, 1)), rng.normal(size=(batches, layers, 1))
    each = rng.normal(size=(batches, layers, truth.shape[1]))
    contributions = truth * np.exp(noise * (shared + own + 0.3 * each) - noise**2 * (1 + 1 + 0.09) / 2)
    weights = rng.integers(5, 9, batches).astype(float)
    share = weights / weights.sum()
    loss = np.tensordot(share, contributions, 1)
    return mq.SensitivityTable(
        layers=tuple(
            mq.Layer(chr(97 + row), "linear", (2, int(size)), 2, 10) for row, size in enumerate(sizes.tolist())
        ),
        formats=as_formats("w3,w4,w5"),
        loss=loss,
        stderr=np.abs(loss) * noise / math.sqrt(batches),
        contributions=contributions,
        batch_sizes=weights,
        samples=int(weights.sum()),
    )


def true_losses(sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    scale = np.exp(np.random.default_rng(5).normal(0, 0.7, len(sizes)))
    return np.asarray((scale * sizes)[:, None] * 4.0 ** -np.arange(3, 6))


def feasible(problem: Problem) -> NDArray[np.int64]:
    every = [range(problem.start[group], problem.start[group + 1]) for group in range(problem.n_groups)]
    selections = np.array(list(itertools.product(*every)))
    return np.asarray(selections[(problem.cost[0][selections].sum(axis=1) <= problem.budget[0])])


def test_everything_equals_enumeration() -> None:
    table = drawn(1)
    got = check_stability(table, BUDGET, draws=60, run=mq.RunOptions(seed=3))
    problem, _ = mq.build(table, BUDGET)
    selections = feasible(problem)
    losses = resample(table, 60, 3).reshape(60, -1)
    totals = losses[:, selections].sum(axis=2)
    best = totals.argmin(axis=1)
    regret = totals - totals.min(axis=1, keepdims=True)
    nominal = int(table.loss.ravel()[selections].sum(axis=1).argmin())
    assert got.nominal.best == pytest.approx((best == nominal).mean())
    assert got.nominal.regret.expected == pytest.approx(regret[:, nominal].mean())
    assert got.nominal.regret.worst == pytest.approx(regret[:, nominal].max())
    assert got.nominal.regret.high == pytest.approx(np.quantile(regret[:, nominal], 0.95))
    columns = selections % 3
    np.testing.assert_allclose(got.kept, (columns[best] == columns[nominal]).mean(axis=0))
    for column in range(3):
        np.testing.assert_allclose(got.shares[:, column], (columns[best] == column).mean(axis=0))
    assert got.distinct == len(set(best.tolist()))
    least = regret.max(axis=0).min()
    assert got.robust_bound <= least * (1 + 1e-9)
    assert least <= got.robust.regret.worst * (1 + 1e-9)
    assert got.robust.regret.worst <= got.nominal.regret.worst
    assert [entry.name for entry in got.nominal.policy.formats] == [f"w{3 + at}" for at in columns[nominal]]


def test_band_holds_the_agreement_of_halves_and_the_share_of_draws() -> None:
    table = drawn(2, noise=0.4)
    got = check_stability(table, BUDGET, draws=100)
    problem, _ = mq.build(table, BUDGET)
    selections = feasible(problem)
    split = halves(table, 20, 0)
    best = split.reshape(20, 2, -1)[:, :, selections].sum(axis=3).argmin(axis=2)
    agreement, share = (best[:, 0] == best[:, 1]).mean(), got.nominal.best
    assert 0 < agreement < share < 1
    higher = NormalDist().cdf(NormalDist().inv_cdf(share) + 1)
    assert got.band == pytest.approx((agreement, higher))
    assert got.probability == pytest.approx((agreement + share) / 2)


def test_halves_share_no_batch_and_make_up_the_table() -> None:
    table = drawn(3, batches=7)
    split = halves(table, 20, 1)
    assert split is not None
    assert table.contributions is not None
    assert table.batch_sizes is not None
    for first, second in split:
        subsets = [
            own
            for own in itertools.combinations(range(7), 3)
            if np.allclose(
                first, np.average(table.contributions[list(own)], axis=0, weights=table.batch_sizes[list(own)])
            )
        ]
        assert len(subsets) == 1
        others = [batch for batch in range(7) if batch not in subsets[0]]
        rest = np.average(table.contributions[others], axis=0, weights=table.batch_sizes[others])
        np.testing.assert_allclose(second, rest)


@pytest.mark.parametrize("noise", [0.3, 0.7, 1.2])
def test_claimed_probability_is_calibrated_over_resampled_calibration_sets(noise: float) -> None:
    """Over 200 calibration sets the policy is the truly best one as often as the mean band says."""
    sizes = np.random.default_rng(99).integers(50, 400, 3)
    truth = true_losses(sizes)
    problem, _ = mq.build(drawn(0, layers=3), BUDGET)
    selections = feasible(problem)
    columns = (selections % 3)[int(truth.ravel()[selections].sum(axis=1).argmin())]
    claims, hits = [], []
    for seed in range(200):
        table = drawn(1000 + seed, layers=3, noise=noise, truth=truth)
        losses = resample(table, 100, seed).reshape(100, -1)
        best = losses[:, selections].sum(axis=2).argmin(axis=1)
        nominal = int(table.loss.ravel()[selections].sum(axis=1).argmin())
        split = halves(table, 100, seed)
        assert split is not None
        two = split.reshape(100, 2, -1)[:, :, selections].sum(axis=3).argmin(axis=2)
        share = float((best == nominal).mean())
        score = NormalDist().inv_cdf(min(max(share, 1e-9), 1 - 1e-9))
        agreement = float((two[:, 0] == two[:, 1]).mean())
        claims.append((min(agreement, share), NormalDist().cdf(score + 1), (agreement + share) / 2))
        hits.append(bool(((selections % 3)[nominal] == columns).all()))
    low, high, probability = np.mean(claims, axis=0)
    frequency = np.mean(hits)
    error = math.sqrt((frequency * (1 - frequency) + 1 / 200) / 200)  # all of 200 is not quite certainty
    assert low - 2 * error <= frequency <= high + 2 * error
    assert abs(probability - frequency) < 0.15


def test_variance_of_the_draws_is_that_of_the_standard_error() -> None:
    table = drawn(4, batches=5)
    assert table.contributions is not None
    assert table.batch_sizes is not None
    equal = mq.SensitivityTable(
        table.layers, table.formats, table.contributions.mean(axis=0), table.stderr, contributions=table.contributions,
        batch_sizes=np.ones(5),
    )  # fmt: skip
    losses = resample(equal, 20_000, 0)
    np.testing.assert_allclose(losses.mean(axis=0), equal.loss, rtol=0.02)
    wanted = table.contributions.std(axis=0, ddof=1) / math.sqrt(5)
    np.testing.assert_allclose(losses.std(axis=0), wanted, rtol=0.03)


def test_cells_of_one_batch_are_drawn_together() -> None:
    table = drawn(5)
    assert table.contributions is not None
    twin = mq.SensitivityTable(
        table.layers[:2], table.formats, table.loss[[0, 0]], table.stderr[[0, 0]],
        contributions=table.contributions[:, [0, 0]], batch_sizes=table.batch_sizes,
    )  # fmt: skip
    losses = resample(twin, 50, 0)
    assert (losses[:, 0] == losses[:, 1]).all()
    assert losses[:, 0].std(axis=0).min() > 0


def test_table_without_batches_is_drawn_cell_by_cell_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    table = drawn(6)
    bare = mq.SensitivityTable(table.layers, table.formats, table.loss, table.stderr)
    with caplog.at_level(logging.WARNING):
        losses = resample(bare, 4000, 0)
        got = check_stability(bare, BUDGET, draws=20)
    assert "drawn independently" in caplog.text
    np.testing.assert_allclose(losses.std(axis=0), table.stderr, rtol=0.1)
    assert got.resampled == "cells"
    split = halves(bare, 4000, 0)
    np.testing.assert_allclose(split.mean(axis=1), np.broadcast_to(table.loss, (4000, *table.loss.shape)))
    np.testing.assert_allclose(split.std(axis=(0, 1)), table.stderr, rtol=0.1)


def test_few_batches_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        resample(drawn(7, batches=7), 10, 0)
    assert "measured on 7 batches" in caplog.text
    caplog.clear()
    resample(drawn(7, batches=8), 10, 0)
    assert not caplog.text


def test_exact_table_is_certain() -> None:
    table = drawn(8)
    assert table.contributions is not None
    sure = mq.SensitivityTable(
        table.layers, table.formats, table.loss, np.zeros_like(table.loss),
        contributions=np.repeat(table.loss[None], 9, axis=0), batch_sizes=np.ones(9),
    )  # fmt: skip
    bare = mq.SensitivityTable(sure.layers, sure.formats, sure.loss, sure.stderr)
    for each in (sure, bare):
        got = check_stability(each, BUDGET, draws=10)
        assert got.band == (1.0, 1.0)
        assert got.probability == 1
        assert got.nominal.regret.worst == 0
        assert got.robust.policy == got.nominal.policy
        assert (got.kept == 1).all()
    assert got.distinct == 1
    assert "every layer keeps its format" in got.verdict


def test_expected_rule_prefers_what_is_best_on_the_mean_of_the_draws() -> None:
    table = drawn(9, noise=1.0)
    got = check_stability(table, BUDGET, draws=40, rule="expected")
    problem, _ = mq.build(table, BUDGET)
    mean = resample(table, 40, 0).mean(axis=0).ravel()
    selections = feasible(problem)
    columns = (selections % 3)[int(mean[selections].sum(axis=1).argmin())]
    assert [entry.name for entry in got.robust.policy.formats] == [f"w{3 + at}" for at in columns]
    assert got.robust.regret.expected <= got.nominal.regret.expected
    assert math.isnan(got.robust_bound)


@pytest.mark.parametrize("seed", range(4))
def test_least_worst_regret_is_bracketed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((15, 8))  # two groups of four
    selections = np.array([(a, 4 + b) for a in range(4) for b in range(4)])
    totals = values[:, selections].sum(axis=2)

    def solve(value: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.asarray(selections[value[selections].sum(axis=1).argmin()])

    worst = (totals - totals.min(axis=1, keepdims=True)).max(axis=0)
    choice, bound = least_worst(values, totals.min(axis=1), selections[totals.argmin(axis=1)], solve)
    found = worst[(selections == choice).all(axis=1)][0]
    assert bound <= worst.min() + 1e-12
    assert found <= 1.2 * worst.min()
    assert bound >= 0.3 * worst.min()


def test_ties_pins_and_choices_of_an_allocation_are_kept() -> None:
    table = drawn(10, noise=1.0)
    made = mq.allocate(table, mq.Request(BUDGET, pinned={"a": "w4"}, tied=[("b", "c")]))
    got = check_stability(table, made, draws=30)
    assert got.kept[0] == 1
    assert (got.shares[1] == got.shares[2]).all()
    assert got.nominal.policy == made.policy


def test_a_request_is_honoured_whole() -> None:
    table = drawn(10)
    asked = mq.Request(BUDGET, tied=[("b", "c")], constraints=mq.Constraints(max_formats=1))
    for got in (check_stability(table, asked, draws=5), check_stability(table, mq.allocate(table, asked), draws=5)):
        for policy in (got.nominal.policy, got.robust.policy):
            assert len(set(policy.formats)) == 1
    pinned = check_stability(table, BUDGET, draws=5, pinned={"a": "w4"})
    assert pinned.nominal.policy["a"].name == "w4"


def test_same_seed_same_answer_and_other_seed_other_draws() -> None:
    table = drawn(11, noise=1.0)

    def document(seed: int) -> str:
        return json.dumps(
            check_stability(table, BUDGET, draws=25, run=mq.RunOptions(seed=seed)).document(), allow_nan=False
        )

    assert document(0) == document(0)
    assert document(0) != document(1)


def test_progress_counts_the_draws() -> None:
    seen: list[tuple[int, int | None]] = []
    check_stability(
        drawn(0), BUDGET, draws=5, run=mq.RunOptions(progress=lambda done, total: seen.append((done, total)))
    )
    assert seen == [(at, 5) for at in range(1, 6)]


def test_what_cannot_be_used_is_refused_in_words() -> None:
    table = drawn(0)
    with pytest.raises(InvalidInput, match=re.escape("unknown rule 'wurst': did you mean 'worst'?")):
        check_stability(table, BUDGET, rule="wurst")
    with pytest.raises(InvalidInput, match="draws is 1: it must be a whole number, at least 2"):
        check_stability(table, BUDGET, draws=1)
    with pytest.raises(InvalidInput, match="seed is -1: it must be a whole number"):
        check_stability(table, BUDGET, draws=5, run=mq.RunOptions(seed=-1))
    with pytest.raises(InvalidInput, match="the allocation was made from another table"):
        check_stability(table, mq.allocate(drawn(1), BUDGET))
    with pytest.raises(
        InvalidInput, match="target= or pinned= stands beside an allocation, which was made with its own: leave it out"
    ):
        check_stability(table, mq.allocate(table, BUDGET), target="torchao")
    with pytest.raises(InvalidInput, match=r"RunOptions\(checkpoint='x'\) means nothing to check_stability\(\)"):
        check_stability(table, BUDGET, run=mq.RunOptions(checkpoint="x"))
    n = table.loss.size
    terms = mq.Interactions(table.layer_names, table.format_names, np.zeros((2, n, n)), np.ones(2))
    joined = mq.allocate_with_interactions(table, mq.allocate(table, BUDGET), terms)
    with pytest.raises(InvalidInput, match="the allocation has terms between layers, whose noise the table does not"):
        check_stability(table, joined)
    unknown = mq.SensitivityTable(table.layers, table.formats, table.loss, table.stderr * math.nan)
    with pytest.raises(InvalidInput, match="nothing is known of its noise: measure it"):
        check_stability(unknown, BUDGET)
    with pytest.raises(NoSolution, match="weight_bytes"):
        check_stability(table, {"weight_bytes": 10})


def test_unsure_layers_are_named_in_the_verdict() -> None:
    for seed in range(20):
        got: Stability = check_stability(drawn(seed, noise=2.0), BUDGET, draws=30)
        unsure = [name for name, kept in zip(got.layer_names, got.kept, strict=True) if kept < 0.5]
        assert all(name in got.verdict for name in unsure)
        if unsure:
            assert "in most draws another format is best for" in got.verdict
            return
    pytest.fail("no draw leaves a layer unsure: the test shows nothing")
