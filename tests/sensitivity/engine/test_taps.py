from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mckp_quant import InvalidInput
from mckp_quant.formats.format import as_formats
from mckp_quant.network.batches import as_batch, evaluating
from mckp_quant.network.discovery import discover
from mckp_quant.network.likelihoods import Categorical
from mckp_quant.sensitivity.cache import layer_weights
from mckp_quant.sensitivity.engine.taps import Taps
from mckp_quant.sensitivity.task import Task

from ..tiny import conv_net, perceptron, transformer

Network = Callable[[], tuple[nn.Module, Tensor]]
NETWORKS: dict[str, Network] = {
    "perceptron": perceptron,
    "conv_net": conv_net,
    "transformer": transformer,
    "transformer, untied": functools.partial(transformer, tied=False),
    "transformer, weight of positions used directly": functools.partial(transformer, positions="weight"),
}


def task_of(model: nn.Module, inputs: Tensor) -> Task:
    layers = discover(model, inputs)
    return Task(model, layer_weights(model, layers, as_formats("w1,w2,w4")), Categorical(), None, 0)


def products_of(task: Task, inputs: Tensor, vectors: Tensor) -> tuple[list[Tensor], set[int]]:
    taps = Taps(task)
    with evaluating(task.model), taps.attached():
        taps.forward(as_batch(inputs))
        return taps.backward(vectors, keep_graph=False), taps.per_batch


def expected_of(task: Task, inputs: Tensor, vectors: Tensor) -> list[Tensor]:
    """Per-sample autograd gradients times perturbations, ``(n, n_formats)`` for each layer."""
    logits = task.model(inputs)
    tables = []
    for weight in task.weights:
        rows = []
        for n in range(len(inputs)):
            gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
                (logits[n] * vectors[n]).sum(), weight.parameters, retain_graph=True, allow_unused=True
            )
            whole = torch.stack([g for g in gradients if g is not None]).sum(dim=0)
            rows.append(weight.perturbations.flatten(1) @ whole.flatten())
        tables.append(torch.stack(rows))
    return tables


def vectors_for(model: nn.Module, inputs: Tensor) -> Tensor:
    return torch.randn(model(inputs).shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("frozen", [False, True])
def test_products_equal_autograd_for_every_layer(name: str, frozen: bool) -> None:
    model, inputs = NETWORKS[name]()
    task = task_of(model, inputs)
    vectors = vectors_for(model, inputs)
    expected = expected_of(task, inputs, vectors)
    model.requires_grad_(not frozen)
    products, per_batch = products_of(task, inputs, vectors)
    for row, (product, table) in enumerate(zip(products, expected, strict=True)):
        reference = table.sum(dim=0, keepdim=True) if row in per_batch else table
        torch.testing.assert_close(product, reference, rtol=1e-10, atol=1e-12)
        assert float(reference.abs().max()) > 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_only_positions_looked_up_without_samples_are_summed_over_the_batch(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    model, inputs = NETWORKS[name]()
    task = task_of(model, inputs)
    with caplog.at_level(logging.INFO, "mckp_quant"):
        _, per_batch = products_of(task, inputs, vectors_for(model, inputs))
    names = {task.weights[row].layer.name for row in per_batch}
    assert names == ({"pos"} if name.startswith("transformer") else set())
    assert ("cannot be split into samples" in caplog.text) == bool(names)


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        time_first = torch.tanh(self.inner(x.transpose(0, 1)))
        out: Tensor = self.head(time_first.transpose(0, 1))
        return out


class Folded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        out: Tensor = self.head(torch.tanh(self.inner(x.reshape(n * t, d)))).view(n, t, -1)
        return out


class BatchStatistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv1d(4, 4, 2)
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.norm(self.inner(x))).mean(2))
        return out


class ScaledLinear(nn.Linear):
    """What it computes is not what the class it derives from computes."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * super().forward(x) + x @ self.weight.T


@pytest.mark.parametrize(
    ("make", "shape", "summed"),
    [
        (TimeFirst, (6, 6, 4), {"inner"}),
        (TimeFirst, (6, 5, 4), {"inner"}),
        (Folded, (6, 5, 4), set()),
        (BatchStatistics, (6, 4, 5), {"inner"}),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), ScaledLinear(4, 3)), (6, 4), {"2"}),
    ],
)
def test_layers_the_hooks_misread_are_found_and_still_right_in_sum(
    make: Callable[[], nn.Module], shape: tuple[int, ...], summed: set[str]
) -> None:
    torch.manual_seed(0)
    model = make().double().eval()
    inputs = torch.randn(shape, dtype=torch.float64)
    task = task_of(model, inputs)
    vectors = vectors_for(model, inputs)
    expected = expected_of(task, inputs, vectors)
    products, per_batch = products_of(task, inputs, vectors)
    assert {task.weights[row].layer.name for row in per_batch} == summed
    for row, (product, table) in enumerate(zip(products, expected, strict=True)):
        reference = table.sum(dim=0, keepdim=True) if row in per_batch else table
        torch.testing.assert_close(product, reference, rtol=1e-10, atol=1e-12)


def test_a_first_batch_of_one_sample_does_not_settle_which_layers_are_read_right() -> None:
    torch.manual_seed(0)
    model = TimeFirst().double().eval()
    task = task_of(model, torch.zeros(1, 5, 4).double())
    taps = Taps(task)
    with evaluating(model), taps.attached():
        taps.forward(as_batch(torch.randn(1, 5, 4).double()))
        assert taps.per_batch == set()
        taps.forward(as_batch(torch.randn(5, 5, 4).double()))
    assert {task.weights[row].layer.name for row in taps.per_batch} == {"inner"}


class Padding(nn.Module):
    """Adds a row to batches of more than two samples, which a check on two samples cannot see."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        padded = torch.cat([x, x[:1]]) if len(x) > 2 else x
        out: Tensor = self.head(torch.tanh(self.inner(padded))[: len(x)])
        return out


def test_a_layer_whose_rows_cease_to_fit_the_samples_is_summed_over_the_batch() -> None:
    torch.manual_seed(0)
    model = Padding().double().eval()
    inputs = torch.randn(5, 4, dtype=torch.float64)
    task = task_of(model, inputs)
    vectors = vectors_for(model, inputs)
    expected = expected_of(task, inputs, vectors)
    products, per_batch = products_of(task, inputs, vectors)
    assert per_batch == {0}
    torch.testing.assert_close(products, [expected[0].sum(dim=0, keepdim=True), expected[1]], rtol=1e-10, atol=1e-12)


def test_weights_that_share_memory_but_not_the_parameter_are_perturbed_together() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double().eval()
    model[2].weight = nn.Parameter(model.get_parameter("0.weight").detach())
    inputs = torch.randn(5, 4, dtype=torch.float64)
    task = task_of(model, inputs)
    assert [len(weight.parameters) for weight in task.weights] == [2]
    vectors = vectors_for(model, inputs)
    expected = expected_of(task, inputs, vectors)
    products, per_batch = products_of(task, inputs, vectors)
    assert not per_batch
    torch.testing.assert_close(products, expected, rtol=1e-10, atol=1e-12)


def test_embeddings_with_sparse_gradients_are_read_per_sample() -> None:
    model = nn.Sequential(nn.Embedding(7, 3, sparse=True)).double().eval()
    inputs = torch.arange(6).reshape(3, 2)
    task = task_of(model, inputs)
    products, per_batch = products_of(task, inputs, torch.ones(3, 2, 3).double())
    assert not per_batch
    moved = task.weights[0].perturbations
    torch.testing.assert_close(products[0], moved[:, inputs].sum(dim=(2, 3)).T)


def test_a_layer_that_is_never_called_gives_zero() -> None:
    model, inputs = perceptron()
    model.add_module("unused", nn.Linear(4, 4).double())
    products, _ = products_of(task_of(model, inputs), inputs, vectors_for(model, inputs))
    assert not products[2].any()
    assert products[0].all()


def test_logits_without_a_graph_are_refused() -> None:
    model, inputs = perceptron()
    task = dataclasses.replace(task_of(model, inputs), output=torch.Tensor.detach)
    with pytest.raises(InvalidInput, match="logits of batch 0 do not depend on any layer"):
        products_of(task, inputs, torch.zeros(12, 3))


def test_logits_that_are_not_finite_are_refused() -> None:
    model, inputs = perceptron()
    task = task_of(model, inputs)
    with pytest.raises(InvalidInput, match="logits of batch 0 hold nan or infinite"):
        products_of(task, inputs.fill_(torch.nan), torch.zeros(12, 3))


class Overwriting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        out: Tensor = self.second(x)
        x.add_(1)
        return out


def test_a_model_that_overwrites_what_its_gradient_needs_is_refused() -> None:
    model = Overwriting().eval()
    inputs = torch.zeros(2, 4)
    with pytest.raises(InvalidInput, match=r"the model cannot be differentiated: .*inplace"):
        products_of(task_of(model, inputs), inputs, torch.zeros(2, 3))


def test_a_use_outside_the_module_is_found_though_the_network_is_certain() -> None:
    class Direct(nn.Module):
        def __init__(self, margin: float) -> None:
            super().__init__()
            self.inner, self.outer, self.margin = nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False), margin

        def forward(self, inputs: Tensor) -> Tensor:
            made: Tensor = self.outer(torch.relu(self.inner(inputs))) + inputs @ self.inner.weight[:, :3]
            return made + torch.tensor([self.margin, 0, 0])

    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    for margin in (0.0, 1e4):
        _, per_batch = products_of(task_of(Direct(margin), inputs), inputs, torch.ones(5, 3))
        assert per_batch == {0}
