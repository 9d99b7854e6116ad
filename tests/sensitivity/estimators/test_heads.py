"""Every estimator on a network of three heads, against losses and curvature that are written out head by head."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.func import grad, hessian

import mckp_quant as mq
from mckp_quant.formats.format import as_formats
from mckp_quant.network.discovery import discover
from mckp_quant.sensitivity import ESTIMATORS, EmpiricalFisher, Metric
from mckp_quant.sensitivity.cache import layer_weights

from .. import tiny, two_heads
from .conformance import example, pairs, squared_distance

if TYPE_CHECKING:
    from torch import Tensor

    from mckp_quant.sensitivity.task import LayerWeight

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

FORMATS = "w2,w4"
TURNED = (2, 0, 1)  # another order of the heads


def weights_of(model: torch.nn.Module, inputs: Tensor) -> tuple[LayerWeight, ...]:
    return layer_weights(model, discover(model, inputs), as_formats(FORMATS))


def measured(method: object, **options: object) -> mq.SensitivityTable:
    model, inputs = two_heads.network()
    given = {"formats": FORMATS, "outputs": two_heads.OUTPUTS, **options}
    return mq.measure(model, two_heads.batches(inputs), method=method, **given)  # type: ignore[arg-type]


def test_gauss_newton_lies_within_its_errors_of_the_dense_matrix() -> None:
    model, inputs = two_heads.network()
    exact = torch.stack(
        [
            two_heads.gauss_newton_values(model, each.layer.name, inputs, each.perturbations).mean(dim=0)
            for each in weights_of(model, inputs)
        ]
    ).numpy()
    picks = torch.randint(0, len(inputs), (4096,), generator=torch.Generator().manual_seed(2))
    table = mq.measure(model, list(inputs[picks].split(64)), formats=FORMATS, outputs=two_heads.OUTPUTS)
    assert (np.abs(table.loss - exact) < 3.5 * table.stderr).all()
    assert (table.stderr < 0.1 * exact).all()
    assert table.unit == "nats per sample"
    assert table.likelihood == "categorical + 0.5 bernoulli + 2 gaussian"


def test_first_order_and_hessian_are_those_of_the_summed_loss() -> None:
    model, inputs = two_heads.network()
    goals = two_heads.targets()
    first, second = [], []
    for each in weights_of(model, inputs):
        name, flat = each.layer.name, each.perturbations.flatten(1)
        weight = model.get_parameter(f"{name}.weight").detach()

        def loss(changed: Tensor, name: str = name, shape: torch.Size = weight.shape) -> Tensor:
            return two_heads.loss(two_heads.heads_with(model, name, inputs, changed.view(shape)), goals)

        first.append(flat @ grad(loss)(weight.flatten()))
        second.append(torch.einsum("fw,wv,fv->f", flat, hessian(loss)(weight.flatten()), flat) / 2)
    # All samples have a target, so that two halves count alike.
    np.testing.assert_allclose(measured("first_order").loss, torch.stack(first).numpy(), rtol=1e-9)
    np.testing.assert_allclose(measured("hessian_form").loss, torch.stack(second).numpy(), rtol=1e-8)


def test_measured_figures_are_those_of_one_layer_rounded() -> None:
    model, inputs = two_heads.network()
    before = two_heads.loss(model(inputs), two_heads.targets())
    for row, each in enumerate(weights_of(model, inputs)):
        weight = model.get_parameter(f"{each.layer.name}.weight").detach()
        for column, change in enumerate(each.perturbations):
            heads = two_heads.heads_with(model, each.layer.name, inputs, weight + change)
            after = two_heads.loss(heads, two_heads.targets())
            assert measured("measured_loss").loss[row, column] == pytest.approx(float(after - before), rel=1e-9)
            here, there = model(inputs), heads
            p = here["classes"].softmax(-1)
            kl = (p * (p.log() - there["classes"].log_softmax(-1))).sum(-1).mean(1)
            q, r = here["labels"].sigmoid(), there["labels"].sigmoid()
            kl = kl + 0.5 * (q * (q / r).log() + (1 - q) * ((1 - q) / (1 - r)).log()).sum(-1)
            kl = kl + 2 * (here["boxes"] - there["boxes"]).square().sum(-1).mean(1) / 2
            assert measured("measured_kl").loss[row, column] == pytest.approx(float(kl.mean()), rel=1e-9)


def test_empirical_fisher_is_exact_where_heads_have_one_position() -> None:
    model, inputs = two_heads.network()
    classes, labels, boxes = two_heads.targets()
    goals = (classes[:, 0], labels, boxes[:, 0])
    found = mq.measure(
        model, [(inputs, goals)], formats=FORMATS, method="empirical_fisher", outputs=two_heads.PER_SAMPLE
    )
    nowhere = torch.full_like(boxes, torch.nan)
    nowhere[:, 0] = boxes[:, 0]
    alone = (torch.where(torch.arange(two_heads.ANCHORS) == 0, classes, -100), labels, nowhere)
    for row, each in enumerate(weights_of(model, inputs)):
        wanted = two_heads.fisher_values(model, each.layer.name, inputs, each.perturbations, alone)
        np.testing.assert_allclose(found.loss[row], wanted.numpy(), rtol=1e-9)


@pytest.mark.slow
def test_empirical_fisher_of_anchors_has_the_exact_one_as_its_mean() -> None:
    model, inputs = two_heads.network()
    draws = np.array([measured(EmpiricalFisher(probes=40), run=mq.RunOptions(seed=seed)).loss for seed in range(10)])
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    for row, each in enumerate(weights_of(model, inputs)):
        args = (model, each.layer.name, inputs, each.perturbations, two_heads.targets())
        exact = two_heads.fisher_values(*args).numpy()
        assert (np.abs(draws[:, row].mean(axis=0) - exact) < 4 * error[row] + 1e-9 * exact).all()
        assert (error[row] < 0.1 * exact).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_head_in_a_tuple_is_the_plain_one_bit_for_bit(name: str) -> None:
    model, inputs = tiny.transformer()
    plain, wrapped = (
        mq.measure(model, pairs(inputs), formats=FORMATS, method=example(name), outputs=outputs)
        for outputs in (mq.Outputs(), mq.Outputs(heads=(mq.Outputs(name="tokens"),)))
    )
    assert plain.digest == wrapped.digest
    assert plain.likelihood == wrapped.likelihood


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_order_of_heads_and_the_scale_of_weights_mean_nothing(name: str) -> None:
    model, inputs = two_heads.network()
    heads = two_heads.OUTPUTS.heads
    method = Metric(lambda a, b: sum(map(squared_distance, a, b))) if name == "metric" else example(name)
    table = measured(method)
    turned = mq.Outputs(heads=tuple(heads[at] for at in TURNED))
    double = mq.Outputs(heads=tuple(dataclasses.replace(each, weight=2 * each.weight) for each in heads))
    data = [(some, tuple(goals[at] for at in TURNED)) for some, goals in two_heads.batches(inputs)]
    other = mq.measure(model, data, formats=FORMATS, method=method, outputs=turned)
    if name in {"gauss_newton", "empirical_fisher"}:  # other draws
        errors = np.hypot(table.stderr, other.stderr)
        assert (np.abs(table.loss - other.loss) < 5 * errors).all()
    else:
        np.testing.assert_allclose(other.loss, table.loss, rtol=1e-8, atol=1e-12)
    twice = measured(method, outputs=double).loss / table.loss
    np.testing.assert_allclose(twice, 1 if name in {"metric", "weight_mse", "sqnr"} else 2, rtol=1e-6)


def test_padding_counts_in_no_head_that_knows_it() -> None:
    class Masked(two_heads.ThreeHeads):
        def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
            return super().forward(x)

    model, inputs = two_heads.network()
    masked = Masked().double().eval()
    masked.load_state_dict(model.state_dict())
    mask = torch.ones(8, two_heads.ANCHORS, dtype=torch.int64)
    mask[:, 1:] = 0  # only the first anchor counts
    only = mq.Outputs(heads=(two_heads.CLASS_HEAD, two_heads.LABEL_HEAD))
    first = mq.Outputs(heads=two_heads.PER_SAMPLE.heads[:2])
    with_mask = [{"x": inputs, "attention_mask": mask}]
    for method in ("measured_kl", "gauss_newton"):
        found = mq.measure(masked, with_mask, formats=FORMATS, method=method, outputs=only)
        wanted = mq.measure(model, [inputs], formats=FORMATS, method=method, outputs=first)
        if method == "measured_kl":
            np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-9)
        else:
            error = np.hypot(found.stderr, wanted.stderr)[:3]  # without the boxes, on which nothing depends
            assert (np.abs(found.loss - wanted.loss)[:3] < 5 * error).all()


def test_losses_need_the_targets_of_all_heads() -> None:
    model, inputs = two_heads.network()
    classes, labels, _ = two_heads.targets()
    for method in ("first_order", "hessian_form", "empirical_fisher", "hutchinson"):
        with pytest.raises(mq.InvalidInput, match="head 'boxes' has no targets, and the loss is the sum over all"):
            mq.measure(
                model, [(inputs, (classes, labels, None))], formats=FORMATS, method=method, outputs=two_heads.OUTPUTS
            )
