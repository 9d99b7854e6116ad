"""The correction for having been chosen, against tables whose truth is known."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.allocation.optimism import stretch
from mckp_quant.layers import Layer

FORMATS = tuple(mq.Format.named(name) for name in ("w2", "w3", "w4", "w6"))
LAYERS = tuple(Layer(f"l{at}", "linear", (16, 16), 16, macs=256) for at in range(10))
BUDGET = {"bits_per_weight": 5.9}


def drawn(rng: np.random.Generator, batches: int, noise: float) -> tuple[np.ndarray, mq.SensitivityTable]:
    """True losses, and a table that was measured of them: the mean over batches of losses with lognormal noise."""
    size = np.exp(rng.normal(0, 1, len(LAYERS)))[:, None]
    true = size * np.array([1, 0.3, 0.08, 0.01]) * np.exp(rng.normal(0, 0.3, (len(LAYERS), len(FORMATS))))
    seen = true * np.exp(noise * rng.standard_normal((batches, *true.shape)) - noise**2 / 2)
    return true, table_of(seen)


def table_of(seen: np.ndarray) -> mq.SensitivityTable:
    error = seen.std(axis=0, ddof=1) / math.sqrt(len(seen))
    return mq.SensitivityTable(
        LAYERS, FORMATS, seen.mean(axis=0), error, contributions=seen, batch_sizes=np.full(len(seen), 1.0)
    )


def truth(true: np.ndarray, policy: mq.Policy) -> float:
    return sum(float(true[row, FORMATS.index(entry)]) for row, entry in enumerate(policy.formats))


@pytest.mark.slow
@pytest.mark.parametrize(("batches", "noise"), [(4, 0.5), (8, 0.5), (9, 0.8)])
def test_corrected_prediction_is_unbiased_where_the_plain_one_is_not(batches: int, noise: float) -> None:
    rng = np.random.default_rng(7)
    plain, corrected, covered = [], [], []
    for _ in range(60):
        true, table = drawn(rng, batches, noise)
        policy = mq.allocate(table, BUDGET).policy
        loss = truth(true, policy)
        plain.append(math.log(loss / policy.predicted))
        corrected.append(math.log(loss / policy.corrected))
        covered.append(abs(loss - policy.corrected) <= 2 * policy.corrected_stderr)
    error = float(np.std(corrected)) / math.sqrt(len(corrected))
    assert float(np.mean(plain)) > 4 * error
    assert abs(float(np.mean(corrected))) < 3 * error
    assert abs(float(np.mean(corrected))) < 0.4 * float(np.mean(plain))
    assert float(np.mean(covered)) >= 0.9


def test_nothing_is_corrected_where_all_batches_say_the_same() -> None:
    _, table = drawn(np.random.default_rng(0), 4, 0.5)
    assert table.contributions is not None
    policy = mq.allocate(table_of(np.repeat(table.contributions[:1], 4, axis=0)), BUDGET).policy
    assert policy.corrected == pytest.approx(policy.predicted, rel=1e-12)
    assert policy.corrected_stderr == pytest.approx(0, abs=1e-12 * policy.predicted)


def test_correction_is_the_mean_over_all_halves_of_few_batches() -> None:
    """By brute force: all selections, all ways to split 4 batches; random splits come near their mean."""
    _, table = drawn(np.random.default_rng(3), 4, 0.6)
    few = dataclasses.replace(
        table,
        layers=table.layers[:4],
        loss=table.loss[:4],
        stderr=table.stderr[:4],
        contributions=table.contributions[:, :4],  # type: ignore[index]
    )
    assert few.contributions is not None
    policy = mq.allocate(few, BUDGET).policy
    rows = np.arange(4)
    within = [
        np.array(columns)
        for columns in itertools.product(range(len(FORMATS)), repeat=4)
        if mq.Policy.on_table(few, [FORMATS[at] for at in columns]).bits_per_weight <= 5.9
    ]
    found = []
    for other in (1, 2, 3):
        own = [0, other]
        rest = [at for at in (1, 2, 3) if at != other]
        halves = [few.contributions[each].mean(axis=0) for each in (own, rest)]
        for one, two in (halves, halves[::-1]):
            best = within[int(np.argmin([one[rows, columns].sum() for columns in within]))]
            found.append(float(two[rows, best].sum() - one[rows, best].sum()))
    seeds = [mq.allocate(few, BUDGET, seed=seed).policy.corrected - policy.predicted for seed in range(30)]
    error = float(np.std(seeds)) / math.sqrt(len(seeds))
    assert abs(float(np.mean(seeds)) - float(np.mean(found)) / 2) <= 4 * error + 1e-12 * policy.predicted


def test_policy_proof_and_plain_prediction_stay_what_they_are() -> None:
    _, table = drawn(np.random.default_rng(1), 8, 0.5)
    with_it, without = mq.allocate(table, BUDGET), mq.allocate(table, BUDGET, corrected=False)
    assert with_it.policy == without.policy
    assert with_it.solution.bound == without.solution.bound
    assert with_it.policy.predicted == without.policy.predicted
    assert math.isnan(without.policy.corrected)
    assert (without.policy.correction, without.policy.expected.loss) == ("", without.policy.predicted)
    assert with_it.policy.expected.loss == with_it.policy.corrected > with_it.policy.predicted
    assert with_it.policy.correction == "cross-fitted over 8 batches, 50 solves"
    again = mq.allocate(table, BUDGET).policy
    assert (again.corrected, again.corrected_stderr) == (with_it.policy.corrected, with_it.policy.corrected_stderr)
    each = mq.allocate_each(table, [BUDGET])[0].policy
    assert each.corrected == with_it.policy.corrected
    assert math.isnan(mq.allocate_each(table, [BUDGET], corrected=False)[0].policy.corrected)


def test_it_is_said_why_there_is_no_correction() -> None:
    _, table = drawn(np.random.default_rng(1), 8, 0.5)
    bare = mq.allocate(dataclasses.replace(table, contributions=None, batch_sizes=None), BUDGET).policy
    assert math.isnan(bare.corrected)
    assert bare.correction == (
        "not corrected for having been chosen: the table holds no contributions of at least 2 batches"
    )
    assert table.contributions is not None
    holes = table.contributions.copy()
    holes[0, 0, 0] = np.nan
    policy = mq.allocate(dataclasses.replace(table, contributions=holes), BUDGET).policy
    assert "has losses whose contributions of single batches are not known" in policy.correction


def test_large_tables_get_fewer_solves_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _, table = drawn(np.random.default_rng(1), 8, 0.5)
    monkeypatch.setattr("mckp_quant.allocation.optimism._CHOICES", 200)
    policy = mq.allocate(table, BUDGET).policy
    assert policy.correction == "cross-fitted over 8 batches, 10 solves, fewer than usual to save time"


def test_correction_is_kept_in_files_and_dropped_by_other_tables(tmp_path: object) -> None:
    _, table = drawn(np.random.default_rng(1), 8, 0.5)
    policy = mq.allocate(table, BUDGET).policy
    policy.save(f"{tmp_path}/policy.json")
    read = mq.Policy.load(f"{tmp_path}/policy.json")
    assert (read.corrected, read.corrected_stderr, read.correction) == (
        policy.corrected,
        policy.corrected_stderr,
        policy.correction,
    )
    plain = mq.allocate(table, BUDGET, corrected=False).policy
    assert "correct" not in str(plain.document())
    plain.save(f"{tmp_path}/plain.json")
    assert math.isnan(mq.Policy.load(f"{tmp_path}/plain.json").corrected)


@pytest.mark.parametrize(
    ("batches", "factor"), [(2, 6.984), (3, 2.263), (4, 1.654), (5, 1.435), (8, 1.2145), (9, 1.184), (100, 1.0127)]
)
def test_two_stretched_errors_cover_what_two_errors_of_a_normal_distribution_do(batches: int, factor: float) -> None:
    assert stretch(np.full(batches, 3.0)) == pytest.approx(factor, rel=1e-3)  # half of scipy's quantiles


def test_batches_of_unequal_size_count_as_fewer() -> None:
    assert stretch(np.array([1.0, 1, 1, 1, 20])) > stretch(np.full(3, 1.0))
