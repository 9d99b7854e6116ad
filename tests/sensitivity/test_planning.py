from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from mckp_quant import InvalidInput, Layer, Outputs, RunOptions, plan, round_weights
from mckp_quant.formats.format import as_formats
from mckp_quant.report.planned import duration, plan_report
from mckp_quant.report.text import as_text
from mckp_quant.rounding import Gptq
from mckp_quant.sensitivity import ESTIMATORS, Plan
from mckp_quant.sensitivity.engine.rates import Rates, measured_rates

RATES = Rates(flops=1e9, rounded=(2e-9, 3e-9), again=(1e-9, 2e-9))


def perceptron(device: str = "cpu") -> nn.Module:
    return nn.Sequential(nn.Linear(10, 20, device=device), nn.Tanh(), nn.Linear(20, 5, device=device))


def test_the_figures_are_those_counted_by_hand() -> None:
    planned = plan(perceptron(), torch.zeros(4, 10), formats="w2,w4", batches=3, rates=RATES)
    weights, biases = 10 * 20 + 20 * 5, 25
    assert planned.parameters == weights + biases
    assert planned.weight_bytes == 4 * (weights + biases)
    assert planned.gradients == 4 * 200  # of one layer at a time
    # Kept for the backward pass: the input, and what tanh gave (to tanh and to the next layer, once). Four logits.
    assert planned.activations == 4 * (4 * 10 + 4 * 20) + 4 * 4 * (4 * 5)
    assert planned.errors == planned.held == 2 * 4 * weights
    assert planned.largest == 0  # nothing is computed again
    assert planned.thresholds == 2 * 25  # a byte for the scale of every channel and format
    assert (planned.mapped, planned.blocks) == (0, 0)
    assert planned.flops == 3 * 2 * 4 * weights
    fixed = planned.weight_bytes + planned.gradients + planned.activations + planned.thresholds
    assert planned.peak == fixed + planned.held
    # To compute those of one layer, with its weights and products, would take more than to hold all.
    assert planned.least == planned.peak < fixed + 4 * (2 + 2) * 200
    assert planned.seconds_to_round == pytest.approx(weights * 5e-9)
    assert planned.seconds_per_batch == pytest.approx(1.3 * planned.flops / 1e9)
    assert planned.seconds == pytest.approx(planned.seconds_to_round + 3 * planned.seconds_per_batch)


def test_a_network_without_weights_has_the_plan_of_the_real_one_but_for_its_files_and_stays_without() -> None:
    model = perceptron("meta")
    found = plan(model, torch.zeros(4, 10), formats="w2,w4", rates=RATES)
    real = plan(perceptron(), torch.zeros(4, 10), formats="w2,w4", rates=RATES)
    # Its weights are taken to be loaded from mapped files: all but the largest tensor need not be there.
    assert found.mapped == 4 * (325 - 200)
    assert dataclasses.replace(found, mapped=0, least=real.least) == real
    assert found.peak == real.peak - found.mapped
    assert all(parameter.is_meta for parameter in model.parameters())
    assert math.isnan(found.seconds)


def test_a_limit_bounds_the_peak_and_what_does_not_fit_is_computed_again() -> None:
    sizes = (10, 20, 10, 20, 5)
    model = nn.Sequential(*(nn.Linear(*pair) for pair in itertools.pairwise(sizes)))

    def under(limit: int | str | None) -> Plan:
        run = RunOptions(memory_limit=limit)
        return plan(model, torch.zeros(4, 10), formats="w2,w4", batches=3, rates=RATES, run=run)

    free = under(None)
    for limit in (free.least, free.least + 799, free.least + 800, free.peak - 1, free.peak, "1GB"):
        bound = under(limit)
        assert bound.least == free.least
        assert bound.peak <= (limit if isinstance(limit, int) else 10**9)
        # The errors of three layers take 1,600 bytes each, and those of the last one 800.
        assert bound.held in {0, 800, 1600, 5600}
        assert bound.largest == (0 if bound.held == 5600 else 4 * (2 + 2) * 200)
        assert bound.seconds_per_batch >= free.seconds_per_batch
    assert under(free.least).held == 0
    assert under(free.least + 800).held == 800
    assert under(free.peak).held == 5600
    again = (under(free.least).seconds_per_batch - free.seconds_per_batch) / 700
    assert again == pytest.approx(sum(RATES.again))
    with pytest.raises(InvalidInput, match=f"memory_limit is {free.least - 1:,} bytes, but measuring takes at least"):
        under(free.least - 1)


class Block(nn.Module):
    """A layer and its input."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.tanh(self.inner(x)) * torch.sigmoid(x) + x
        return out


def test_of_blocks_the_inputs_and_one_graph_are_counted() -> None:
    model, inputs = nn.Sequential(*(Block() for _ in range(5)), nn.Linear(10, 2)), torch.zeros(64, 10)
    free = plan(model, inputs, formats="w2,w4", batches=1, rates=RATES)
    bound = plan(model, inputs, formats="w2,w4", batches=1, rates=RATES, run=RunOptions(memory_limit=free.least))
    assert (free.blocks, bound.blocks) == (0, 5)
    row = 4 * 64 * 10
    logits = 4 * 4 * 64 * 2
    # Of a block its input, tanh and sigmoid; of the head its input.
    assert free.activations == 5 * 3 * row + row + logits
    assert bound.activations == 5 * row + 2 * row + row + logits
    more = bound.seconds_per_batch - free.seconds_per_batch
    assert more == pytest.approx(free.flops / 3 / RATES.flops + 520 * sum(RATES.again))
    assert "inputs of 5 blocks, activations of one" in as_text(plan_report(bound))


def test_methods_that_run_the_network_for_every_entry_take_longer_with_every_format() -> None:
    def seconds(method: str, formats: str) -> float:
        return plan(perceptron(), torch.zeros(4, 10), formats=formats, method=method, rates=RATES).seconds_per_batch

    for method in ESTIMATORS:
        more = seconds(method, "w2,w3,w4") - seconds(method, "w2")
        each = {"measured_kl", "measured_loss", "metric", "hessian_form"}
        assert (more > 0) == (method in each), method
    assert seconds("weight_mse", "w2") == 0
    with pytest.raises(InvalidInput, match="unknown method 'magic'"):
        seconds("magic", "w2")


def test_ways_of_storing_inputs_take_time_and_are_refused_where_measuring_would_refuse_them() -> None:
    def evaluations(method: str, formats: str) -> float:
        return plan(perceptron(), torch.zeros(4, 10), formats=formats, method=method, rates=RATES).evaluations

    assert evaluations("gauss_newton", "w2a8,w4a8,w2a4") == pytest.approx(evaluations("gauss_newton", "w2,w4") + 1)
    assert evaluations("measured_kl", "w2a8,w4a8") == evaluations("measured_kl", "w2,w4")
    with pytest.raises(InvalidInput, match="of which method='hutchinson' knows nothing"):
        evaluations("hutchinson", "w4a8")


def test_logits_are_found_as_outputs_say() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 3, 1))
    batch = torch.zeros(2, 2, 5, 4)
    dense = plan(model, batch, formats="w4", outputs=Outputs(class_dim=1), rates=RATES)
    taken = plan(model, batch, formats="w4", outputs=Outputs(take=lambda made: made[:, :1]), rates=RATES)
    assert dense.activations - taken.activations == 4 * 4 * 2 * (3 - 1) * 3 * 2  # four copies of fewer logits
    with pytest.raises(InvalidInput, match="class_dim is 5, but the logits have the shape"):
        plan(model, batch, formats="w4", outputs=Outputs(class_dim=5), rates=RATES)


def test_options_that_mean_nothing_to_a_plan_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"RunOptions\(seed=3\) means nothing to plan\(\), which takes memory_limit"):
        plan(perceptron(), torch.zeros(4, 10), formats="w4", run=RunOptions(seed=3))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("output", r"outputs=Outputs\(take=...\)"),
        ("likelihood", r"outputs=Outputs\(likelihood=...\)"),
        ("class_dim", r"outputs=Outputs\(class_dim=...\)"),
        ("memory_limit", r"run=RunOptions\(memory_limit=...\)"),
    ],
)
def test_keywords_of_version_0_1_say_what_to_write_now(old: str, new: str) -> None:
    with pytest.raises(TypeError, match=rf"plan\(\) takes no {old}= any more: write {new}"):
        plan(perceptron(), torch.zeros(4, 10), formats="w4", **{old: None})  # type: ignore[arg-type]


class Frozen(nn.Module):
    """Half of it frozen, with numbers in its mode and gradients to lose."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6).requires_grad_(False)
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.body(x)))
        return logits


def test_the_model_is_given_back_as_it_was() -> None:
    model = Frozen().train()
    model.head.weight.grad = torch.ones(2, 6)
    before = {name: entry.clone() for name, entry in model.state_dict().items()}
    plan(model, torch.randn(4, 6), formats="w4", rates=RATES)
    assert [parameter.requires_grad for parameter in model.body.parameters()] == [False, False]
    assert model.head.weight.grad.equal(torch.ones(2, 6))
    assert all(module.training for module in model.modules())
    assert all(entry.equal(before[name]) for name, entry in model.state_dict().items())


def test_the_report_names_every_layer_and_what_the_time_is_reckoned_from() -> None:
    planned = plan(
        perceptron(), torch.zeros(4, 10), formats="w2,w4", batches=3, rates=RATES, run=RunOptions(memory_limit=7000)
    )
    text = as_text(plan_report(planned))
    assert "325 parameters, 300 of them in 2 layers to measure" in text
    assert "20 x 10" in text
    assert "rounding errors that are computed at a time" in text
    assert "least --memory-limit that works" in text
    assert "everything, with 3 batches" in text
    assert "1 GFLOP/s in a matrix product" in text
    assert "everything" not in as_text(plan_report(dataclasses.replace(planned, batches=None)))
    document = planned.document()
    assert document["layers"][0]["name"] == "0"
    assert document["peak"] == planned.peak


def test_rates_of_this_machine_are_positive_and_one_for_each_format() -> None:
    planned = plan(perceptron("meta"), torch.zeros(4, 10), formats="w2,w4", rates=RATES)
    rates = measured_rates(torch.zeros(1), planned.layers[0], planned.formats)
    assert rates.flops > 0
    assert len(rates.rounded) == 2
    assert min(rates.rounded) > 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 s"), (119, "119 s"), (600, "10 min"), (36000, "10 h"), (math.nan, "-")]
)
def test_times_are_in_the_unit_that_reads_best(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_rounder_counts_its_codes_its_sums_and_longer_rows_as_slower() -> None:
    model, rates = perceptron(), Rates(1e9, (2e-9, 3e-9), row=5)
    planned = plan(model, torch.zeros(4, 10), formats="w2,w4z", bank="gptq", rates=rates)
    codes = 2 * 300 + 4 * 25 + (4 + 1) * 25  # a byte for each code; scales in float32, zero points in a byte
    assert planned.banked == codes + 8 * (10**2 + 20**2)
    plain = plan(model, torch.zeros(4, 10), formats="w2,w4z", rates=rates)
    assert plain.banked == 0
    assert planned.peak == plain.peak + planned.banked - plain.thresholds
    assert planned.seconds_to_round == pytest.approx((200 * 10 / 5 + 100 * 20 / 5) * 5e-9)
    joint = plan(model, torch.zeros(4, 10), formats="w2,w2a8", bank="gptq", rates=rates)
    assert joint.banked == 2 * (300 + 4 * 25) + 2 * 8 * (10**2 + 20**2)
    assert joint.errors == 2 * 4 * 300
    assert f"{planned.banked:,}" in as_text(plan_report(planned))


def test_a_bank_has_been_rounded_and_takes_what_its_codes_take() -> None:
    model, inputs = perceptron(), torch.randn(4, 10)
    bank = round_weights(model, [inputs], "w2,w4z", rounder="nearest")
    planned = plan(model, inputs, formats="auto", bank=bank)
    assert planned.formats == bank.formats
    assert planned.seconds_to_round == 0
    held = [bank.encoded(layer.name, entry).nbytes for layer in bank.layers for entry in bank.formats]
    assert planned.banked == sum(held)


def test_the_time_of_a_rounder_is_measured_with_all_formats_together() -> None:
    rates = measured_rates(torch.zeros(1), Layer("x", "linear", (2, 2), 2, None), as_formats("w2,w4"), Gptq(sweeps=0))
    assert rates.row > 0
    assert len(set(rates.rounded)) == 1
    assert rates.rounded[0] > 0
    nearest = measured_rates(torch.zeros(1), Layer("x", "linear", (2, 2), 2, None), as_formats("w2,w4"))
    assert nearest.row == 0
