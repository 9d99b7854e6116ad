from __future__ import annotations

import copy
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mckp_quant as mq
from mckp_quant.sensitivity.measuring import DATA_FREE, ESTIMATORS

from .tiny import CLASSES, ConvNet, conv_net, perceptron, transformer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMATS = "w2,w4"
METHODS = tuple(ESTIMATORS)
RANDOM = (
    "gauss_newton",
    "hutchinson",
    "hutchinson_blockwise",
    "hutch_plus_plus",
)  # for one loss a sample; the others are exact


def measured(model: nn.Module, batches: object, method: str, **settings: object) -> mq.SensitivityTable:
    """With a metric where the method needs one."""
    metric = (lambda before, after: (before - after).square().flatten(1).sum(dim=1)) if method == "metric" else None
    table: mq.SensitivityTable = mq.measure(
        model,
        batches,  # type: ignore[arg-type]
        formats=FORMATS,
        method=method,
        metric=metric,
        **settings,  # type: ignore[arg-type]
    )
    return table


def pairs(inputs: Tensor, size: int = 4) -> list[tuple[Tensor, Tensor]]:
    shape = inputs.shape if inputs.dtype == torch.int64 else inputs.shape[:1]
    targets = torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(5))
    return list(zip(inputs.split(size), targets.split(size), strict=True))


class Dropping(ConvNet):
    """Draws random numbers and counts its calls: state that measuring must give back."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        assert not self.training
        return super().forward(x + 0 * torch.rand_like(x))


def in_odd_state() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(3)
    model = Dropping().double()
    model.train()
    model.get_submodule("bn").eval()
    model.get_parameter("first.weight").requires_grad_(False)
    model.get_parameter("head.weight").grad = torch.full((CLASSES, 4), 7.0).double()
    return model, conv_net()[1]


def state_of(model: nn.Module) -> dict[str, object]:
    return {
        "modes": [module.training for module in model.modules()],
        "parameters": copy.deepcopy(list(model.parameters())),
        "identities": [id(parameter) for parameter in model.parameters()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": copy.deepcopy([parameter.grad for parameter in model.parameters()]),
        "buffers": copy.deepcopy(dict(model.named_buffers())),
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
            for module in model.modules()
        ],
        "random": torch.get_rng_state(),
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=0, msg=f"{key} changed")


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_given_back_as_it_was(method: str) -> None:
    model, inputs = in_odd_state()
    before = state_of(model)
    measured(model, pairs(inputs), method)
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert_same(before, state_of(model))


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_given_back_as_it_was_after_an_exception(method: str) -> None:
    model, inputs = in_odd_state()
    batches = pairs(inputs)
    before = state_of(model)
    with pytest.raises(mq.InvalidInput, match=r"fails on batch 1 \(inputs \(4, 3, 6, 6\)\)"):
        measured(model, [batches[0], (torch.zeros(4, 3, 6, 6).double(), batches[1][1])], method)
    assert_same(before, state_of(model))

    def interrupted(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(model, batches, method, progress=interrupted)
    assert_same(before, state_of(model))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", [perceptron, transformer])
def test_the_same_seed_gives_the_same_table(method: str, network: Callable[[], tuple[nn.Module, Tensor]]) -> None:
    model, inputs = network()
    first = measured(model, pairs(inputs), method, seed=11)
    torch.rand(5)
    again = measured(model.train(), pairs(inputs), method, seed=11)
    other = measured(model, pairs(inputs), method, seed=12)
    np.testing.assert_array_equal(first.loss, again.loss)
    np.testing.assert_array_equal(first.stderr, again.stderr)
    random = method in RANDOM or (method == "empirical_fisher" and network is transformer)
    assert (first.loss != other.loss).all() if random else (first.loss == other.loss).all()
    assert first.seed == 11
    assert first.method == method


def test_the_same_seed_gives_the_same_table_in_another_process() -> None:
    script = (
        "import torch, mckp_quant as mq\n"
        "torch.manual_seed(0)\n"
        "model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.GELU(), torch.nn.Linear(6, 3))\n"
        "table = mq.measure(model, [torch.randn(8, 4)], formats='w2,w4', seed=3)\n"
        "print(table.digest)\n"
    )
    elsewhere = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3))
    here = mq.measure(model, [torch.randn(8, 4)], formats=FORMATS, seed=3).digest
    assert elsewhere.strip() == here


def test_a_generator_a_list_and_a_loader_give_the_same_table() -> None:
    model, inputs = perceptron()
    batches = pairs(inputs)
    tables = [
        mq.measure(model, each, formats=FORMATS)
        for each in (
            batches,
            (batch for batch in batches),
            DataLoader(TensorDataset(inputs), batch_size=4),
            [{"x": batch} for batch, _ in batches],
        )
    ]
    for table in tables:
        np.testing.assert_array_equal(table.loss, tables[0].loss)
        assert table.samples == 12


def test_batches_in_another_order_give_the_same_table_within_its_errors() -> None:
    model, inputs = perceptron()
    batches = list(inputs.repeat(20, 1).split(12))
    one = mq.measure(model, batches, formats=FORMATS)
    other = mq.measure(model, batches[::-1], formats=FORMATS)
    assert one.batch_sizes is not None
    assert (np.abs(one.loss - other.loss) < 4 * np.hypot(one.stderr, other.stderr)).all()


def test_targets_change_nothing_for_gauss_newton() -> None:
    model, inputs = transformer()
    with_targets = mq.measure(model, pairs(inputs), formats=FORMATS)
    without = mq.measure(model, [batch for batch, _ in pairs(inputs)], formats=FORMATS)
    np.testing.assert_array_equal(with_targets.loss, without.loss)


@pytest.mark.parametrize("method", METHODS)
def test_chosen_layers_get_the_rows_they_have_among_all(method: str) -> None:
    model, inputs = conv_net()
    everything = measured(model, pairs(inputs), method, probes=2)
    some = measured(model, pairs(inputs), method, probes=2, layers=["up", "grouped"])
    assert some.layer_names == ("grouped", "up")
    if not method.startswith("hutch"):
        rows = [everything.row(name) for name in some.layer_names]
        np.testing.assert_allclose(some.loss, everything.loss[rows], rtol=1e-10)


def test_progress_is_told_after_each_batch() -> None:
    model, inputs = perceptron()
    seen: list[tuple[int, int | None]] = []
    mq.measure(model, pairs(inputs), formats=FORMATS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    seen.clear()
    mq.measure(model, iter(pairs(inputs)), formats=FORMATS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, None), (2, None), (3, None)]


class WithLogits(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.inner(tokens), other=None)


def test_logits_are_taken_from_what_the_model_returns() -> None:
    model, inputs = perceptron()
    plain = mq.measure(model, [inputs], formats=FORMATS)
    attribute = mq.measure(WithLogits(model), [inputs], formats=FORMATS)
    chosen = mq.measure(WithLogits(model), [inputs], formats=FORMATS, output=lambda returned: returned.logits)
    np.testing.assert_array_equal(attribute.loss, plain.loss)
    np.testing.assert_array_equal(chosen.loss, plain.loss)


def test_tied_layers_are_one_row() -> None:
    model, inputs = transformer()
    table = mq.measure(model, [inputs], formats=FORMATS)
    assert "head" not in table.layer_names
    assert table.layers[table.row("tok")].ties == ("head",)


def test_losses_are_not_edited_to_fall_with_the_bits() -> None:
    model, inputs = perceptron()
    worse = mq.Format("q9", 9, quantize=torch.zeros_like, stored_bits=nine_bits)
    table = mq.measure(model, [inputs], formats=["w4", worse])
    assert (table.loss[:, 1] > table.loss[:, 0]).all()


def nine_bits(layer: mq.Layer) -> int:
    return 9 * layer.elements


def no_batches() -> Iterator[Tensor]:
    yield from ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "gaus_newton"}, "unknown method 'gaus_newton': did you mean 'gauss_newton'"),
        ({"likelihood": "poisson"}, "unknown likelihood 'poisson'"),
        ({"probes": 0}, "probes is 0: it must be a whole number, at least 1"),
        ({"target": 0.0}, "target is 0.0: a relative standard error is above 0"),
        ({"max_batches": 0}, "max_batches is 0: it must be at least 1"),
        ({"method": "metric"}, "method='metric' needs the metric: give measure"),
        ({"metric": len}, "a metric is given, but method='gauss_newton' does not use it"),
        ({"class_dim": 1}, r"class_dim is 1, but the logits have the shape \(2, 3\)"),
        ({"class_dim": 0}, "class_dim is 0, but the logits"),
        ({"layers": ["iner"]}, "unknown layer 'iner': did you mean 'inner'"),
        ({"layers": []}, "layers is empty: name at least one layer"),
        ({"formats": "w9"}, "unknown format 'w9'"),
        ({"batches": []}, "there are zero batches"),
        ({"batches": no_batches()}, "there are zero batches"),
        ({"batches": torch.zeros(3, 4)}, "batches is a Tensor: give a list"),
        ({"batches": [torch.zeros(3, 5).double()]}, r"the model fails on batch 0 \(inputs \(1, 5\)\)"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments: dict[str, object], message: str) -> None:
    model, inputs = perceptron()
    given: dict[str, object] = {"batches": [inputs], "formats": FORMATS, **arguments}
    batches = given.pop("batches")
    with pytest.raises(mq.InvalidInput, match=message):
        mq.measure(model, batches, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "method", ["first_order", "empirical_fisher", "hessian_form", "hutchinson_blockwise", "measured_loss"]
)
def test_targets_are_required_by_name(method: str) -> None:
    model, inputs = perceptron()
    with pytest.raises(mq.InvalidInput, match=f"batch 0 has no targets, and method='{method}' needs them"):
        mq.measure(model, [inputs], formats=FORMATS, method=method)


@pytest.mark.parametrize("method", sorted({*METHODS} - {"gauss_newton", "measured_kl", "metric"}))
def test_targets_that_do_not_count_change_nothing(method: str) -> None:
    model, inputs = conv_net()
    batches = pairs(inputs[:4])
    ignored = (inputs[4:], torch.full((6,), -100))
    plain = measured(model, batches, method)
    padded = measured(model, [*batches, ignored], method)
    np.testing.assert_allclose(padded.loss, plain.loss, rtol=1e-12)
    with pytest.raises(mq.InvalidInput, match="no target of any batch counts"):
        measured(model, [ignored], method)


@pytest.mark.parametrize("method", DATA_FREE)
def test_data_free_methods_look_at_the_shapes_of_one_batch_only(method: str) -> None:
    model, inputs = conv_net()
    seen = iter([inputs, inputs])
    table = mq.measure(model, seen, formats=FORMATS, method=method)
    assert len(list(seen)) == 1
    assert table.samples == 0
    assert table.contributions is None
    assert not table.stderr.any()


def test_dense_outputs_are_sequences_of_positions() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, CLASSES, 1)).double()
    inputs = torch.randn(6, 2, 5, 4, dtype=torch.float64)
    targets = torch.randint(0, CLASSES, (6, 3, 2))
    for method in METHODS:
        table = measured(model, [(inputs, targets)], method, class_dim=1)
        by_hand = measured(
            model,
            [(inputs, targets.flatten(1))],
            method,
            output=lambda z: z.flatten(2).transpose(1, 2),
        )
        np.testing.assert_array_equal(table.loss, by_hand.loss)
        assert table.unit == by_hand.unit
    chosen = measured(WithLogits(model), [inputs], "gauss_newton", class_dim=-3, output=lambda made: made.logits)
    np.testing.assert_array_equal(chosen.loss, measured(model, [inputs], "gauss_newton", class_dim=1).loss)


def test_a_layer_under_no_grad_is_refused_by_name() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                features = self.backbone(x)
            logits: Tensor = self.head(features)
            return logits

    with pytest.raises(mq.InvalidInput, match=r"layer 'backbone' runs under torch.no_grad\(\) on batch 0"):
        mq.measure(Frozen(), [torch.randn(4, 3)], formats="w2")
