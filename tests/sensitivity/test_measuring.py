from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mckp_quant as mq
from mckp_quant.sensitivity import ESTIMATORS, GaussNewton
from mckp_quant.sensitivity.arguments import estimator_of

from .estimators.conformance import example, pairs
from .tiny import CLASSES, conv_net, perceptron, transformer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FORMATS = "w2,w4"
READING = [name for name, each in ESTIMATORS.items() if hasattr(each, "reading")]
RANDOM = (
    "gauss_newton",
    "hutchinson",
    "hutchinson_blockwise",
    "hutch_plus_plus",
)  # for one loss a sample; the others are exact


def measured(
    model: nn.Module, batches: Iterable[object], method: str, outputs: mq.Outputs = mq.Outputs(), seed: int = 0
) -> mq.SensitivityTable:
    run = mq.RunOptions(seed=seed)
    return mq.measure(model, batches, formats=FORMATS, method=example(method), outputs=outputs, run=run)


@pytest.mark.parametrize("method", READING)
@pytest.mark.parametrize("network", [perceptron, transformer])
def test_another_seed_changes_what_is_random(method: str, network: Callable[[], tuple[nn.Module, Tensor]]) -> None:
    model, inputs = network()
    first, other = (measured(model, pairs(inputs), method, seed=seed) for seed in (11, 12))
    random = method in RANDOM or (method == "empirical_fisher" and network is transformer)
    assert (first.loss != other.loss).all() if random else (first.loss == other.loss).all()


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


@pytest.mark.parametrize("method", ESTIMATORS)
def test_chosen_layers_get_the_rows_they_have_among_all(method: str) -> None:
    model, inputs = conv_net()
    estimator = estimator_of(method, 2) if "probes" in ESTIMATORS[method].__annotations__ else example(method)
    everything = mq.measure(model, pairs(inputs), formats=FORMATS, method=estimator)
    some = mq.measure(model, pairs(inputs), formats=FORMATS, method=estimator, layers=["up", "grouped"])
    assert some.layer_names == ("grouped", "up")
    if not method.startswith("hutch"):
        rows = [everything.row(name) for name in some.layer_names]
        np.testing.assert_allclose(some.loss, everything.loss[rows], rtol=1e-10)


def test_progress_is_told_after_each_batch() -> None:
    model, inputs = perceptron()
    seen: list[tuple[int, int | None]] = []
    mq.measure(
        model,
        pairs(inputs),
        formats=FORMATS,
        run=mq.RunOptions(progress=lambda done, total: seen.append((done, total))),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    seen.clear()
    mq.measure(
        model,
        iter(pairs(inputs)),
        formats=FORMATS,
        run=mq.RunOptions(progress=lambda done, total: seen.append((done, total))),
    )
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
    chosen = mq.measure(
        WithLogits(model), [inputs], formats=FORMATS, outputs=mq.Outputs(take=lambda returned: returned.logits)
    )
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
        (
            {"method": GaussNewton},
            r"method is <class .*GaussNewton'>: give a name \(gauss_newton, .*such as GaussNewton",
        ),
        ({"method": 3}, "method is 3: give a name"),
        ({"method": "metric"}, r"method='metric' needs distance: give method=Metric\(distance=...\)"),
        ({"precision": 0.0}, "precision is 0.0: it must be a number above 0"),
        ({"precision": "high"}, "precision is 'high': it must be a number above 0"),
        ({"outputs": mq.Outputs(class_dim=1)}, r"class_dim is 1, but the logits have the shape \(2, 3\)"),
        ({"outputs": mq.Outputs(class_dim=0)}, "class_dim is 0, but the logits"),
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
    ("old", "new"),
    [
        ("likelihood", r"outputs=Outputs\(likelihood=...\)"),
        ("output", r"outputs=Outputs\(take=...\)"),
        ("class_dim", r"outputs=Outputs\(class_dim=...\)"),
        ("seed", r"run=RunOptions\(seed=...\)"),
        ("checkpoint", r"run=RunOptions\(checkpoint=...\)"),
        ("cache", r"run=RunOptions\(cache=...\)"),
        ("memory_limit", r"run=RunOptions\(memory_limit=...\)"),
        ("max_batches", r"run=RunOptions\(max_batches=...\)"),
        ("progress", r"run=RunOptions\(progress=...\)"),
        ("target", "precision=..."),
        ("probes", r"method=Hutchinson\(probes=4\), or another estimator that draws probes"),
        ("metric", r"method=Metric\(distance\)"),
    ],
)
def test_keywords_of_version_0_1_say_what_to_write_now(old: str, new: str) -> None:
    model, inputs = perceptron()
    with pytest.raises(TypeError, match=rf"measure\(\) takes no {old}= any more: write {new}"):
        mq.measure(model, [inputs], formats=FORMATS, **{old: None})  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [name for name, each in ESTIMATORS.items() if each.needs_targets])
def test_targets_that_do_not_count_change_nothing(method: str) -> None:
    model, inputs = conv_net()
    batches = pairs(inputs[:4])
    ignored = (inputs[4:], torch.full((6,), -100))
    plain = measured(model, batches, method)
    padded = measured(model, [*batches, ignored], method)
    np.testing.assert_allclose(padded.loss, plain.loss, rtol=1e-12)
    with pytest.raises(mq.InvalidInput, match="no target of any batch counts"):
        measured(model, [ignored], method)


@pytest.mark.parametrize("method", sorted({*ESTIMATORS} - {*READING}))
def test_data_free_estimators_look_at_the_shapes_of_one_batch_only(method: str) -> None:
    model, inputs = conv_net()
    seen = iter([inputs, inputs])
    mq.measure(model, seen, formats=FORMATS, method=method)
    assert len(list(seen)) == 1


def test_dense_outputs_are_sequences_of_positions() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, CLASSES, 1)).double()
    inputs = torch.randn(6, 2, 5, 4, dtype=torch.float64)
    targets = torch.randint(0, CLASSES, (6, 3, 2))
    for method in READING:
        table = measured(model, [(inputs, targets)], method, mq.Outputs(class_dim=1))
        by_hand = measured(
            model,
            [(inputs, targets.flatten(1))],
            method,
            mq.Outputs(take=lambda z: z.flatten(2).transpose(1, 2)),
        )
        np.testing.assert_array_equal(table.loss, by_hand.loss)
        assert table.unit == by_hand.unit
    chosen = measured(WithLogits(model), [inputs], "gauss_newton", mq.Outputs(lambda made: made.logits, class_dim=-3))
    plain = measured(model, [inputs], "gauss_newton", mq.Outputs(class_dim=1))
    np.testing.assert_array_equal(chosen.loss, plain.loss)


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
