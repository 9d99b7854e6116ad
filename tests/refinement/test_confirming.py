"""The cells that decide, measured: against whole tables that were measured, and against plain evaluation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import evaluate
from mckp_quant.rounding import Weights

from ..evaluation import banks
from ..search import small

GENERATOR = torch.Generator().manual_seed(0)
BATCHES = [torch.randn(16, 16, generator=GENERATOR) for _ in range(5)]
BUDGET = {"weight_bytes": "55%"}
FORMATS = "w2,w3,w4,w8"


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = [part for _ in range(5) for part in (nn.Linear(16, 16), nn.Tanh())]
        return nn.Sequential(*parts, nn.Linear(16, 4))


MODEL = network()
ESTIMATE = mq.measure(MODEL, BATCHES, formats=FORMATS)
MEASURED = mq.measure(MODEL, BATCHES, formats=FORMATS, method="measured_kl")


def test_replaced_cells_are_what_measured_kl_measures_and_all_others_stay() -> None:
    got = mq.confirm_table(MODEL, ESTIMATE, BUDGET, BATCHES)
    assert got.replaced
    replaced = np.zeros(ESTIMATE.loss.shape, dtype=bool)
    for each in got.replaced:
        cell = ESTIMATE.row(each.layer), ESTIMATE.column(each.format)
        replaced[cell] = True
        assert each.before == ESTIMATE.loss[cell]
        assert each.loss == got.table.loss[cell]
    for name in ("loss", "stderr"):
        np.testing.assert_allclose(getattr(got.table, name)[replaced], getattr(MEASURED, name)[replaced], rtol=1e-4)
        np.testing.assert_array_equal(getattr(got.table, name)[~replaced], getattr(ESTIMATE, name)[~replaced])
    for table, where in ((MEASURED, replaced), (ESTIMATE, ~replaced)):
        assert got.table.contributions is not None
        assert table.contributions is not None
        np.testing.assert_allclose(got.table.contributions[:, where], table.contributions[:, where], rtol=1e-4)
    assert len(got.replaced) < replaced.size / 2
    assert got.table.method == f"gauss_newton, {len(got.replaced)} cells measured"


def test_it_ends_where_the_cells_that_carry_half_of_the_loss_are_measured() -> None:
    got = mq.confirm_table(MODEL, ESTIMATE, BUDGET, BATCHES)
    assert got.stopped == "all cells that carry half of the predicted loss are measured"
    known = {(each.layer, each.format): each.loss for each in got.replaced}
    losses = [
        (float(got.table.loss[row, got.table.column(entry.name)]), (layer, entry.name))
        for row, (layer, entry) in enumerate(zip(got.policy.layer_names, got.policy.formats, strict=True))
    ]
    assert sum(loss for loss, cell in losses if cell in known) >= 0.5 * got.policy.predicted
    assert got.evaluations == len(got.replaced) + 1 <= 40
    assert got.policy == mq.allocate(got.table, BUDGET).policy
    assert got.allocation.solution.certificate.holds(got.allocation.problem)
    assert got.policy.table == got.table.digest
    assert got.start == mq.allocate(ESTIMATE, BUDGET).policy


def test_cell_that_the_estimate_has_far_too_low_is_found_out_and_left() -> None:
    """Two bits that read as almost free are measured and left, and the optimum of the measured table is met."""
    row = 4
    loss = MEASURED.loss.copy()
    loss[row, 0] = 0.9 * loss[row, 2]
    false = dataclasses.replace(MEASURED, loss=loss, contributions=None, batch_sizes=None)
    assert mq.allocate(false, BUDGET).policy.formats[row].name == "w2"
    got = mq.confirm_table(MODEL, false, BUDGET, BATCHES)
    assert got.policy == mq.allocate(MEASURED, BUDGET).policy != got.start
    assert got.table.loss[row, 0] == pytest.approx(MEASURED.loss[row, 0], rel=1e-4)


def test_whole_policy_is_measured_and_predicts() -> None:
    got = mq.confirm_table(MODEL, ESTIMATE, BUDGET, BATCHES)
    whole = evaluate(mq.apply(MODEL, got.policy), MODEL, BATCHES)
    assert (got.kl, got.kl_stderr) == (whole.kl, whole.kl_stderr)
    plain = mq.allocate(got.table, BUDGET).policy
    assert got.policy.corrected == pytest.approx(whole.kl * plain.corrected / plain.predicted)
    assert got.policy.corrected_stderr >= whole.kl_stderr
    assert got.policy.correction.startswith("measured as a whole on 80 samples; cross-fitted over 5 batches")
    assert got.policy.predicted == plain.predicted


@pytest.mark.parametrize("evaluations", [1, 3])
def test_evaluations_are_not_exceeded(evaluations: int) -> None:
    seen: list[object] = []
    run = mq.RunOptions(progress=lambda done, total: seen.append((done, total)))
    got = mq.confirm_table(MODEL, ESTIMATE, BUDGET, BATCHES, evaluations=evaluations, run=run)
    assert got.evaluations == evaluations == len(got.replaced) + 1
    assert got.stopped == "the evaluations are spent"
    assert seen[-1] == (evaluations, evaluations)
    assert (evaluations > 1) == (got.table.digest != ESTIMATE.digest)


def test_no_cell_is_measured_when_the_time_is_up() -> None:
    got = mq.confirm_table(MODEL, ESTIMATE, BUDGET, BATCHES, run=mq.RunOptions(seconds=1e-9))
    assert (got.stopped, got.replaced, got.evaluations) == ("the time is up", (), 1)
    assert got.policy == dataclasses.replace(
        got.start, **{name: getattr(got.policy, name) for name in ("corrected", "corrected_stderr", "correction")}
    )
    plenty = mq.confirm_table(MODEL, ESTIMATE, BUDGET, BATCHES, run=mq.RunOptions(seconds=3600.0))
    assert plenty.stopped.startswith("all cells that carry half")


def test_losses_above_a_guess_are_lowered_to_it_where_outputs_are_classes() -> None:
    loss = ESTIMATE.loss.copy()
    loss[:, 0] = 50.0
    assert ESTIMATE.contributions is not None
    far = dataclasses.replace(ESTIMATE, loss=loss, contributions=ESTIMATE.contributions.copy())
    got = mq.confirm_table(MODEL, far, BUDGET, BATCHES)
    assert got.capped == len(far.layers)
    assert got.table.loss.max() <= math.log(4)
    assert "6 above the loss of a guess were lowered to it" in got.verdict
    gaussian = mq.Outputs(likelihood="gaussian")
    table = mq.measure(MODEL, BATCHES, formats=FORMATS, outputs=gaussian)
    large = dataclasses.replace(table, loss=np.where(loss == 50, 50.0, table.loss))
    kept = mq.confirm_table(MODEL, large, BUDGET, BATCHES, outputs=gaussian)
    assert kept.capped == 0
    assert kept.table.loss.max() == 50


def test_weights_are_those_of_the_bank() -> None:
    bank = mq.round_weights(small.network(), small.data(), small.FORMATS, rounder=banks.Truncation())
    table = banks.table()
    got = mq.confirm_table(small.network(), table, {"weight_bytes": "45%"}, small.data(), bank=bank)
    assert got.policy.rounder == got.table.rounder == "truncation"
    each = got.replaced[0]
    alone = mq.Policy((each.layer,), (table.formats[table.column(each.format)],))
    whole = evaluate(mq.apply(small.network(), alone, bank=bank), small.network(), small.data())
    assert each.loss == whole.kl
    with pytest.raises(mq.InvalidInput, match=r"weights rounded by .?truncation"):
        mq.confirm_table(small.network(), table, {"weight_bytes": "45%"}, small.data())
    taken = mq.confirm_table(
        small.network(), table, {"weight_bytes": "45%"}, small.data(), bank=Weights(None, other_rounder=True)
    )
    assert taken.table.rounder == "nearest"


def test_other_batches_are_parted_like_the_tables_and_too_few_drop_them() -> None:
    other = torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    got = mq.confirm_table(MODEL, ESTIMATE, BUDGET, other.split(7))
    assert got.table.contributions is not None
    share = ESTIMATE.batch_sizes / ESTIMATE.batch_sizes.sum()  # type: ignore[union-attr]
    np.testing.assert_allclose(np.tensordot(share, got.table.contributions, 1), got.table.loss, rtol=1e-9)
    few = mq.confirm_table(MODEL, ESTIMATE, BUDGET, [other[:3]])
    assert few.table.contributions is None
    assert "no contributions of at least 2 batches" in few.policy.correction
    assert few.policy.corrected == few.kl


def test_document_is_plain_and_holds_what_it_cost() -> None:
    got = mq.confirm_table(MODEL, ESTIMATE, BUDGET, BATCHES)
    document = got.document()
    assert [each["layer"] for each in document["replaced"]] == [each.layer for each in got.replaced]
    assert document["evaluations"] == got.evaluations
    assert document["seconds"] > 0
    assert f"of 24 cells measured in {got.evaluations} evaluations" in got.verdict


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="evaluations is 0"):
        mq.confirm_table(MODEL, ESTIMATE, BUDGET, BATCHES, evaluations=0)
    errors = mq.measure(MODEL, BATCHES, formats=FORMATS, method="weight_mse")
    with pytest.raises(mq.InvalidInput, match=r"the table predicts .*, the network is measured in"):
        mq.confirm_table(MODEL, errors, BUDGET, BATCHES)
    with pytest.raises(mq.InvalidInput, match="measured with likelihood='categorical', not 'gaussian'"):
        mq.confirm_table(MODEL, ESTIMATE, BUDGET, BATCHES, outputs=mq.Outputs(likelihood="gaussian"))
