from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.pipeline.calibration import CalibrationSet, mean_table, part_data
from mckp_quant.rounding import Gptq, Nearest

from ..drawn_tables import make_table
from ..search import small


def rows(batches: object) -> set[bytes]:
    return {row.numpy().tobytes() for batch in batches for row in batch.inputs}  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [1, 2, 6])
def test_what_judges_is_seen_by_nothing_else_and_all_is_used(count: int) -> None:
    batches = small.data(samples=16 * count)
    data = part_data(batches, 0.25, small.network(), Gptq(), seed=0, max_batches=None)
    held, rounded, measured = (rows(each) for each in (data.held_out, data.rounded, data.measured))
    assert not held & rounded
    assert not held & measured
    assert not rounded & measured
    assert rows(data.fitted) == rounded | measured
    assert len(held | rounded | measured) == 16 * count
    assert rounded
    assert measured


def test_a_rounder_that_looks_at_no_inputs_leaves_all_to_measure_on() -> None:
    data = part_data(small.data(), small.data(seed=3), small.network(), Nearest(), seed=0, max_batches=None)
    assert len(rows(data.measured)) == 48
    assert rows(data.held_out).isdisjoint(rows(data.measured))
    assert data.how == "data of its own"


def test_the_seed_draws_what_is_held_back() -> None:
    drawn = [
        rows(part_data(small.data(samples=96), 0.2, small.network(), Gptq(), seed=seed, max_batches=None).held_out)
        for seed in (0, 0, 1, 2)
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2] or drawn[0] != drawn[3]


def test_every_set_holds_its_share_back_and_no_more_is_read_than_asked_for() -> None:
    sets = {"a": CalibrationSet(small.data(samples=96), 2.0), "b": small.data(seed=7, samples=64)}
    data = part_data(sets, 0.25, small.network(), Gptq(), seed=0, max_batches=4)
    assert [(part.name, part.weight, len(part.fitted)) for part in data.parts] == [("a", 2.0, 3), ("b", 1.0, 3)]
    assert [batch.index for batch in data.held_out] == [0, 1]
    assert data.how == "0.25 of every data set, drawn with seed 0"
    assert data.parts[0].digest != data.parts[1].digest
    assert torch.equal(data.first.inputs, small.data(samples=96)[0][0])  # type: ignore[arg-type]


def test_a_weight_that_is_none_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match=r"weight is 0: it must be a number above 0"):
        CalibrationSet([], 0)


def measured(scale: float, batches: int, seed: int) -> mq.SensitivityTable:
    rng = np.random.default_rng(seed)
    plain = make_table([[3.0, 1.0], [2.0, 1.0]], "w2,w4")
    contributions, sizes = scale * rng.random((batches, 2, 2)), rng.integers(1, 9, batches).astype(float)
    loss = np.tensordot(sizes / sizes.sum(), contributions, axes=1)
    stderr = scale * rng.random((2, 2))
    return dataclasses.replace(
        plain, stderr=stderr, loss=loss, contributions=contributions, batch_sizes=sizes, samples=int(sizes.sum())
    )


def test_the_mean_of_tables_weighs_sets_whatever_their_sizes_and_keeps_contributions() -> None:
    first, second = measured(1.0, 3, 0), measured(5.0, 7, 1)
    mean = mean_table([first, second], [1.0, 3.0])
    assert np.allclose(mean.loss, 0.25 * first.loss + 0.75 * second.loss, rtol=1e-14, atol=0)
    assert mean.contributions is not None
    assert mean.batch_sizes is not None
    again = np.tensordot(mean.batch_sizes / mean.batch_sizes.sum(), mean.contributions, axes=1)
    assert np.allclose(again, mean.loss, rtol=1e-14, atol=0)
    assert mean.batch_sizes.sum() == pytest.approx(first.samples + second.samples)
    error = np.hypot(0.25 * first.stderr, 0.75 * second.stderr)
    assert np.allclose(mean.stderr, error, rtol=1e-14, atol=0)
    assert mean.samples == first.samples + second.samples


def test_the_mean_does_not_change_with_the_scale_of_weights_and_of_one_table_is_itself() -> None:
    first, second = measured(1.0, 3, 0), measured(5.0, 7, 1)
    assert mean_table([first], [3.0]) is first
    means = [mean_table([first, second], [scale, 2 * scale]) for scale in (1.0, 8.0)]
    assert np.array_equal(means[0].loss, means[1].loss)
    bare = mean_table([dataclasses.replace(first, contributions=None), second], [1.0, 1.0])
    assert bare.contributions is None
    assert np.allclose(bare.loss, (first.loss + second.loss) / 2, rtol=1e-14, atol=0)
