"""Formats of weights and inputs together, against dense references at the layers' outputs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev
from torch.nn.attention import SDPBackend, sdpa_kernel

import mckp_quant as mq
from mckp_quant.formats.format import as_formats
from mckp_quant.network.batches import as_batch, evaluating
from mckp_quant.network.discovery import discover, uses_of
from mckp_quant.network.likelihoods import Categorical
from mckp_quant.rounding.inputs import InputRounding, has_tokens
from mckp_quant.rounding.weights import quantize
from mckp_quant.sensitivity import GaussNewton
from mckp_quant.sensitivity.cache import layer_weights
from mckp_quant.sensitivity.columns import Menu
from mckp_quant.sensitivity.engine.taps import Taps
from mckp_quant.sensitivity.task import Task

from ..dense import curvature
from ..tiny import CLASSES, conv_net, perceptron, transformer

if TYPE_CHECKING:
    from mckp_quant import ActivationRanges

FORMATS = "w3,a3,w3a3,w2a3,w3a8sd,w3g16za4s"
Network = Callable[[], tuple[nn.Module, Tensor]]


class Positional(nn.Module):
    """A linear layer that sees no samples: what it makes of fixed positions is added to all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Linear(4, 4)
        self.head = nn.Linear(4, CLASSES)
        self.register_buffer("features", torch.linspace(-1, 1, 20).reshape(5, 4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(x + self.positions(self.features)).mean(dim=1))
        return out


def positional() -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Positional().double().eval(), torch.randn(8, 5, 4, dtype=torch.float64)


NETWORKS: dict[str, Network] = {
    "perceptron": perceptron,
    "conv_net": conv_net,
    "transformer": transformer,
    "transformer, untied": functools.partial(transformer, tied=False),
    "a layer without samples": positional,
}


def operation(module: nn.Module, inputs: Tensor, weight: Tensor) -> Tensor:
    """What the module computes of an input with another weight."""
    out: Tensor = torch.func.functional_call(module, {"weight": weight}, (inputs,))
    return out


def rounding_of(module: nn.Module, name: str, entry: mq.Format, ranges: ActivationRanges) -> Callable[[Tensor], Tensor]:
    scheme = entry.activation_scheme
    if scheme is None or isinstance(module, nn.Embedding):
        return lambda inputs: inputs
    rounding = InputRounding(scheme, *(ranges.of(name, scheme) if scheme.calibrated else (0, 0)))
    return lambda inputs: rounding.round(inputs, of_tokens=has_tokens(module))


def moved(model: nn.Module, inputs: Tensor, layer: mq.Layer, ranges: ActivationRanges) -> Tensor:
    """``(n, positions, classes, n_formats)``: how far the logits move, to first order in what the outputs change.

    Every call of the layer gets an addition to its output, zero at first; the logits are differentiated in these.
    """
    calls: list[tuple[nn.Module, str, Tensor]] = []
    modules = {name: model.get_submodule(name) for name in (layer.name, *layer.ties)}
    additions: list[Tensor] = []

    def record(name: str, module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
        calls.append((module, name, args[0].detach()))
        return output + additions[len(calls) - 1] if additions else output

    hooks = [module.register_forward_hook(functools.partial(record, name)) for name, module in modules.items()]
    shapes = []
    with torch.no_grad():
        model(inputs)
        seen = list(calls)
        shapes = [operation(module, given, module.weight).shape for module, _, given in seen]  # type: ignore[arg-type]

    def logits(*given: Tensor) -> Tensor:
        calls.clear()
        additions[:] = given
        out: Tensor = model(inputs)
        return out[:, None] if out.ndim == 2 else out

    with sdpa_kernel(SDPBackend.MATH):
        zeros = tuple(torch.zeros(shape, dtype=torch.float64) for shape in shapes)
        jacobians = jacrev(logits, argnums=tuple(range(len(zeros))))(*zeros)
    for hook in hooks:
        hook.remove()
    columns = []
    for entry in as_formats(FORMATS):
        total: Any = 0
        for (module, name, given), jacobian in zip(seen, jacobians, strict=True):
            weight = module.get_parameter("weight").detach()
            rounded = quantize(weight, entry.weights_only, layer)
            change = operation(module, rounding_of(module, name, entry, ranges)(given), rounded) - operation(
                module, given, weight
            )
            total = total + (jacobian * change).flatten(3).sum(dim=3)
        columns.append(total)
    return torch.stack(columns, dim=-1).detach()


def dense_values(model: nn.Module, inputs: Tensor, ranges: ActivationRanges) -> Tensor:
    """``(n, n_layers, n_formats)``: half the squared move of the logits in the metric of their curvature."""
    s = curvature(model(inputs).detach())
    rows = []
    for layer in discover(model, inputs):
        z = moved(model, inputs, layer, ranges)
        rows.append(torch.einsum("ntcf,ntcd,ntdf->nf", z, s, z) / (2 * z.shape[1]))
    return torch.stack(rows, dim=1)


def ranges_of(model: nn.Module, inputs: Tensor) -> ActivationRanges:
    return mq.calibrate_ranges(model, [inputs], FORMATS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_joint_estimates_lie_within_three_standard_errors_of_the_dense_form(name: str) -> None:
    model, inputs = NETWORKS[name]()
    ranges = ranges_of(model, inputs)
    exact = dense_values(model, inputs, ranges).mean(dim=0).numpy()
    picks = torch.randint(0, len(inputs), (1024,), generator=torch.Generator().manual_seed(1))
    table = mq.measure(model, list(inputs[picks].split(32)), formats=FORMATS, activation_range=ranges)
    nothing = exact == 0
    assert (table.loss[nothing] == 0).all()
    z = (table.loss - exact)[~nothing] / table.stderr[~nothing]
    assert np.abs(z).max() < 3.5
    assert np.abs(z).mean() < 1.5


@pytest.mark.parametrize("name", NETWORKS)
def test_products_equal_the_gradient_of_the_outputs_times_their_change(name: str) -> None:
    model, inputs = NETWORKS[name]()
    ranges = ranges_of(model, inputs)
    rows = discover(model, inputs)
    menu = Menu.of(as_formats(FORMATS))
    users = {user: use.module for user, use in uses_of(model, rows).items()}
    task = Task(
        model,
        layer_weights(model, rows, menu.weights),
        Categorical(),
        None,
        seed=0,
        menu=menu.on(rows, users, ranges),
    )
    vectors = torch.randn(model(inputs).shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    taps = Taps(task)
    with evaluating(model), taps.attached():
        taps.forward(as_batch(inputs))
        products = taps.backward(vectors, keep_graph=False)
    for row, layer in enumerate(rows):
        z = moved(model, inputs, layer, ranges)
        expected = torch.einsum("ntcf,ntc->nf", z, vectors[:, None] if vectors.ndim == 2 else vectors)
        if row in taps.per_batch:
            expected = expected.sum(dim=0, keepdim=True)
        torch.testing.assert_close(products[row], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_error_falls_with_the_square_root_of_the_number_of_probes() -> None:
    model, inputs = perceptron()
    ranges = ranges_of(model, inputs)
    exact = dense_values(model, inputs, ranges).mean(dim=0).numpy()

    def error(probes: int) -> float:
        tables = [
            mq.measure(
                model,
                [inputs],
                formats=FORMATS,
                method=GaussNewton(probes),
                activation_range=ranges,
                run=mq.RunOptions(seed=seed),
            )
            for seed in range(16)
        ]
        return float(np.sqrt(np.mean([np.square(table.loss / exact - 1) for table in tables])))

    assert 2.8 < error(1) / error(16) < 5.6


def test_a_joint_estimate_is_not_the_sum_of_its_halves_and_has_their_cross_term() -> None:
    model, inputs = perceptron()
    ranges = ranges_of(model, inputs)
    z = moved(model, inputs, discover(model, inputs)[1], ranges)
    table = mq.measure(model, [inputs], formats=FORMATS, method=GaussNewton(64), activation_range=ranges)
    weights, both = table.column("w3"), table.column("w3a3")
    added = table.loss[1, weights] + table.loss[1, table.column("a3")]
    assert abs(added / table.loss[1, both] - 1) > 0.02
    # The moves do not add up either, because the weight meets the rounded input.
    assert not torch.allclose(z[..., both], z[..., weights] + z[..., table.column("a3")], rtol=1e-3)


@pytest.mark.parametrize("name", ["conv_net", "transformer"])
@pytest.mark.parametrize("entry", ["a3", "w2a3", "w3a8sd"])
def test_measured_divergence_is_that_of_a_network_with_one_layer_under_the_policy(name: str, entry: str) -> None:
    model, inputs = NETWORKS[name]()
    ranges = ranges_of(model, inputs)
    table = mq.measure(model, [inputs], formats=FORMATS, method="measured_kl", activation_range=ranges)
    for row, layer in enumerate(table.layers):
        policy = mq.Policy((layer.name,), as_formats(entry))
        with torch.no_grad():
            p, q = (net(inputs).log_softmax(dim=-1) for net in (model, mq.apply(model, policy, ranges)))
        expected = float((p.exp() * (p - q)).sum(dim=-1).mean())
        assert table.loss[row, table.column(entry)] == pytest.approx(expected, rel=1e-6, abs=1e-15)


def test_formats_of_weights_come_out_as_if_they_were_measured_alone() -> None:
    model, inputs = conv_net()
    joint = mq.measure(model, [inputs], formats=FORMATS)
    alone = mq.measure(model, [inputs], formats="w3")
    np.testing.assert_allclose(joint.loss[:, 0], alone.loss[:, 0], rtol=1e-9)
    assert alone.ranges is None
    assert joint.ranges is not None


@pytest.mark.parametrize("method", ["empirical_fisher", "first_order"])
def test_methods_of_one_gradient_take_the_same_products(method: str) -> None:
    model, inputs = perceptron()
    targets = torch.randint(0, CLASSES, (len(inputs),), generator=torch.Generator().manual_seed(2))
    ranges = ranges_of(model, inputs)
    table = mq.measure(model, [(inputs, targets)], formats=FORMATS, method=method, activation_range=ranges)
    logits = model(inputs).detach()
    gradient = torch.softmax(logits, dim=-1) - nn.functional.one_hot(targets, CLASSES)
    for row, layer in enumerate(table.layers):
        products = torch.einsum("ntcf,nc->nf", moved(model, inputs, layer, ranges), gradient)
        expected = products.mean(dim=0) if method == "first_order" else products.square().mean(dim=0) / 2
        np.testing.assert_allclose(table.loss[row], expected.numpy(), rtol=1e-7)


def test_the_model_is_given_back_without_hooks_and_policies_of_the_table_carry_their_ranges() -> None:
    model, inputs = transformer()
    table = mq.measure(model, [inputs], formats="w4,w4a4,w4a8d")
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    policy = mq.Policy.uniform(table, "w4a4")
    assert policy.ranges is not None
    assert table.ranges is not None
    assert set(policy.ranges.ranges) == set(table.ranges.ranges)
    assert mq.Policy.uniform(table, "w4").ranges is None
    assert mq.Policy.uniform(table, "w4a8d").ranges is None
    assert bool(mq.apply(model, policy)(inputs).isfinite().all())


def test_an_interrupted_joint_measurement_goes_on_with_the_same_ranges(tmp_path: Any) -> None:
    model, inputs = perceptron()
    batches = [inputs + 0.1 * shift for shift in range(4)]
    whole = mq.measure(model, batches, formats=FORMATS)
    file = tmp_path / "run.json"
    mq.measure(
        model,
        batches,
        formats=FORMATS,
        activation_range=whole.ranges or "mse",
        run=mq.RunOptions(checkpoint=file, max_batches=2),
    )
    resumed = mq.measure(model, batches, formats=FORMATS, run=mq.RunOptions(checkpoint=file))
    assert np.array_equal(resumed.loss, whole.loss)
    with pytest.raises(mq.InvalidInput, match="is of another measurement"):
        mq.measure(model, batches, formats=FORMATS, activation_range="minmax", run=mq.RunOptions(checkpoint=file))


def test_a_layer_that_calibration_never_reached_is_named() -> None:
    model, inputs = perceptron()
    ranges = ranges_of(model, inputs)
    known = mq.ActivationRanges("mse", 1, {key: ends for key, ends in ranges.ranges.items() if key[0] != "head"})
    for method in ("gauss_newton", "measured_kl"):
        with pytest.raises(mq.InvalidInput, match="the input of layer 'head' has no range for a3"):
            mq.measure(model, [inputs], formats=FORMATS, activation_range=known, method=method)
