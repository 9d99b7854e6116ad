"""What makes each search the one that it is said to be."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.evaluation import evaluator
from mckp_quant.formats.format import as_formats
from mckp_quant.network.batches import as_batches
from mckp_quant.search import EMQ, Differentiable, EvoQ, Task, search
from mckp_quant.search.interpolation import Interpolated, between
from mckp_quant.search.methods.differentiable import rounded
from mckp_quant.search.methods.progressive import Progressive, falling, relative
from mckp_quant.search.objective import Level, Objective
from mckp_quant.search.relaxed_budgets import RelaxedBudgets
from mckp_quant.search.separability import Scatter, separabilities
from mckp_quant.search.space import Space

from . import small

if TYPE_CHECKING:
    from numpy.typing import NDArray


def another_table() -> mq.SensitivityTable:
    table = small.table()
    return dataclasses.replace(table, loss=table.loss[::-1] * 3, contributions=None, batch_sizes=None)


def tried(table: mq.SensitivityTable, guided: bool) -> list[tuple[str, ...]]:
    seen: list[tuple[str, ...]] = []

    def fitness(policy: mq.Policy) -> float:
        seen.append(tuple(entry.name for entry in policy.formats))
        return sum(len(name) * (at + 1) for at, name in enumerate(seen[-1])) % 7

    search(
        small.network(),
        table,
        {"weight_bytes": "45%"},
        small.data(),
        method=EvoQ(6, 4, guided=guided),
        fitness=fitness,
    )
    return seen


def test_evoq_without_guidance_is_plain_evolution_that_knows_nothing_of_the_table() -> None:
    assert tried(small.table(), guided=False) == tried(another_table(), guided=False)
    assert tried(small.table(), guided=True) != tried(another_table(), guided=True)


def test_the_relaxation_at_whole_ranks_is_the_quantised_network() -> None:
    space = small.space()
    network = Interpolated(small.network(), small.table(), space)
    batch = next(iter(as_batches(small.data())))
    for genome in ((0, 0, 0, 0), (3, 3, 3, 3), (0, 1, 2, 3), (2, 0, 3, 1)):
        own = network(torch.tensor(genome, dtype=torch.float64), batch)
        quantised = mq.apply(small.network(), space.policy(genome))(batch.inputs)
        assert torch.equal(own, quantised)


def test_the_relaxation_of_a_network_in_half_precision_is_one_too() -> None:
    model, space = small.network().bfloat16(), small.space()
    network = Interpolated(model, small.table(), space)
    batch = next(iter(as_batches([inputs.bfloat16() for inputs, _ in small.data()])))
    rank = torch.tensor([0.0, 1, 2, 3], dtype=torch.float64, requires_grad=True)
    logits = network(rank, batch)
    assert torch.equal(logits, mq.apply(model, space.policy((0, 1, 2, 3)))(batch.inputs))
    logits.float().square().sum().backward()
    assert rank.grad is not None
    assert (rank.grad != 0).all()


def test_experts_are_relaxed_as_one_layer() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.num_experts, self.is_transposed = 2, False
            self.down_proj = nn.Parameter(torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)))

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.einsum("ni,eoi->no", inputs, self.down_proj)

    model, inputs = Experts(), torch.randn(4, 5)
    table = mq.measure(model, [inputs], formats="w2,w4,w8", method="weight_mse")
    space = Space(table, *mq.build(table, {"weight_bytes": "100%"}))
    network = Interpolated(model, table, space)
    rounded_model = mq.apply(model, space.policy((1,)))
    logits = network(torch.tensor([1.0], dtype=torch.float64), next(as_batches([inputs])))
    assert torch.equal(logits, rounded_model(inputs))


def test_the_relaxation_has_the_slope_of_the_straight_line_between_two_formats() -> None:
    stack = torch.tensor([[1.0, 5.0], [3.0, 1.0], [4.0, 1.0]])
    for at, slope in ((0.25, [2.0, -4.0]), (1.0, [1.0, 0.0]), (2.0, [1.0, 0.0])):
        jacobian = torch.autograd.functional.jacobian(lambda rank: between(stack, rank), torch.tensor(at))
        assert jacobian.tolist() == slope
    assert between(stack[:1], torch.tensor(0.0, requires_grad=True)).tolist() == [1.0, 5.0]


def test_formats_of_activations_cannot_be_interpolated() -> None:
    layers = small.table().layers
    formats = as_formats("w4,w4a8")
    loss = np.ones((len(layers), 2))
    table = mq.SensitivityTable(layers, formats, loss, loss)
    with pytest.raises(mq.InvalidInput, match="'w4a8' quantises activations, which cannot be interpolated"):
        search(small.network(), table, {"weight_bytes": "100%"}, small.data(), method="differentiable")


def task(budget: str = "45%") -> Task:
    space = small.space(budget)
    batches = list(as_batches(small.data()))
    objective = Objective(space, [Level(lambda policy: policy.predicted)])
    return Task(small.network(), batches, small.table(), space, objective, np.random.default_rng(0))


@given(st.integers(0, 10_000))
def test_rounding_is_the_best_of_floors_and_ceilings_within_the_budgets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    work = task()
    relaxed = RelaxedBudgets(work.space)
    rank = relaxed.project(rng.uniform(0, relaxed.top), relaxed.top)
    slope = -rng.random(len(rank))

    def worth(genome: tuple[int, ...]) -> float:
        return float(slope @ (np.array(genome) - rank))

    floors = np.floor(rank).astype(int)
    pairs = itertools.product(*({low, min(low + 1, 3)} for low in floors.tolist()))
    best = min(worth(genome) for genome in pairs if work.space.fits(genome))
    assert worth(rounded(work, rank, slope)) == pytest.approx(best)


def test_ranks_whose_floors_exceed_the_budget_are_repaired() -> None:
    work = task()
    top = (work.space.size - 1).astype(np.float64)
    assert work.space.fits(rounded(work, top, -np.ones(len(top))))


@given(st.integers(0, 1000))
def test_projection_keeps_what_is_within_and_brings_back_what_is_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    relaxed = RelaxedBudgets(small.space())
    rank = rng.uniform(-1, relaxed.top + 1)
    back = relaxed.project(rank, relaxed.charge(np.clip(rank, 0, relaxed.top)))
    assert (relaxed.used(back) <= 1 + 1e-12).all()
    assert ((back >= 0) & (back <= relaxed.top)).all()
    assert np.allclose(relaxed.project(back * (1 - 1e-9), relaxed.top), back, atol=1e-6)


def test_relaxed_costs_at_whole_ranks_are_the_costs() -> None:
    space = small.space()
    relaxed = RelaxedBudgets(space)
    for genome in ((0, 0, 0, 0), (3, 3, 3, 3), (0, 1, 2, 3)):
        used = relaxed.used(np.array(genome, dtype=np.float64))
        assert used[0] * space.budget[0] == pytest.approx(space.cost(genome)[0])


@pytest.mark.slow
def test_descent_on_a_convex_loss_ends_at_its_least_within_the_budget() -> None:
    relaxed = RelaxedBudgets(small.space())
    weight = np.array([1.0, 4.0, 2.0, 3.0])

    def gradient(rank: NDArray[np.float64], step: int) -> NDArray[np.float64]:
        return -weight * np.exp(-rank)

    def loss(rank: NDArray[np.float64]) -> float:
        return float(weight @ np.exp(-rank))

    rank, slope = Differentiable(steps=400, rate=0.02).descend(relaxed, gradient)
    rng = np.random.default_rng(0)
    others = (relaxed.project(rng.uniform(0, relaxed.top), relaxed.top) for _ in range(3000))
    assert loss(rank) <= min(map(loss, others)) * 1.02
    assert slope == pytest.approx(gradient(rank, 0), rel=0.1)


def test_two_identical_clouds_cannot_be_told_apart() -> None:
    cloud = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    scatter = Scatter(2)
    scatter.add(torch.cat([cloud, cloud]), torch.arange(2).repeat_interleave(40))
    assert scatter.separability == 0


@given(st.integers(0, 1000))
def test_separability_is_the_ratio_of_the_traces_of_the_scatter_matrices(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(30, 4, generator=generator, dtype=torch.float64) + 3
    labels = torch.randint(0, 3, (30,), generator=generator)
    scatter = Scatter(5)
    for part in (slice(0, 11), slice(11, 30)):
        scatter.add(points[part], labels[part])
    within = between_classes = 0.0
    for label in labels.unique():
        own = points[labels == label]
        within += float((own - own.mean(0)).square().sum())
        between_classes += len(own) * float((own.mean(0) - points.mean(0)).square().sum())
    assert scatter.separability == pytest.approx(between_classes / within, rel=1e-9)


def test_classes_that_are_single_points_are_separated_without_end() -> None:
    scatter = Scatter(2)
    assert scatter.separability == 0
    scatter.add(torch.tensor([[0.0], [1.0]]).repeat(3, 1), torch.tensor([0, 1]).repeat(3))
    assert scatter.separability == float("inf")
    assert relative(np.array([1.0, np.inf])).tolist() == [0.0, 1.0]


def test_the_separability_of_every_layer_is_that_of_its_pooled_outputs() -> None:
    model, layers = small.network(), small.table().layers
    found = separabilities(model, layers, list(as_batches(small.data())))
    assert list(found) == [layer.name for layer in layers]
    inputs, labels = (torch.cat(parts) for parts in zip(*small.data(), strict=True))
    scatter = Scatter(2)
    with torch.no_grad():
        scatter.add(model.get_submodule("0")(inputs).mean(dim=(2, 3)), labels)
    assert found["0"] == pytest.approx(scatter.separability, rel=1e-6)


def test_every_token_with_a_target_is_a_point() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(7, 5), torch.nn.Linear(5, 7))
    tokens = torch.randint(0, 7, (4, 6))
    targets = torch.randint(0, 7, (4, 6))
    targets[0, :3] = -100
    layers = mq.measure(model, [tokens], formats="w4").layers
    found = separabilities(model, layers, list(as_batches([(tokens, targets)])))
    scatter = Scatter(7)
    known = targets.flatten() >= 0
    scatter.add(model(tokens).reshape(-1, 7)[known], targets.flatten()[known])
    assert found["1"] == pytest.approx(scatter.separability, rel=1e-6)


def test_every_pixel_with_a_target_is_a_point() -> None:
    maps, rows = small.dense_outputs()
    model, layers = small.dense_network(), small.dense_table().layers
    found = separabilities(model, layers, list(small.DENSE.batches(maps, model)), outputs=small.DENSE)
    scatter = Scatter(3)
    with torch.no_grad():
        for inputs, targets in rows:
            pixels = model.get_submodule("0")(inputs).movedim(1, -1)
            scatter.add(pixels.reshape(-1, pixels.shape[-1]), targets.flatten())
    assert found["0"] == pytest.approx(scatter.separability, rel=1e-6)


def test_separability_needs_class_numbers() -> None:
    with pytest.raises(mq.InvalidInput, match="batch 0 has no class numbers"):
        separabilities(small.network(), small.table().layers, list(as_batches([small.data()[0][0]])))


@given(st.integers(0, 1000))
def test_progressive_ranks_never_rise_and_use_the_budget(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = small.space(f"{rng.integers(50, 100)}%")
    separated = np.maximum.accumulate(rng.random(len(space)))
    genome = falling(space, list(range(len(space))), separated)
    assert space.fits(genome)
    assert list(genome) == sorted(genome, reverse=True)
    raised = tuple(min(rank + 1, 3) for rank in genome)
    assert genome == (3, 3, 3, 3) or not space.fits(raised)


def test_shares_of_the_way_never_fall() -> None:
    assert relative(np.array([1.0, 0.5, 2.0, 1.5, 3.0])).tolist() == [0.0, 0.0, 0.5, 0.5, 1.0]
    assert relative(np.array([2.0, 1.0])).tolist() == [0.0, 0.0]


def test_a_network_that_runs_no_layer_of_the_table_is_refused() -> None:
    class Detached(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small.network()
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.scale * inputs.flatten(1)[:, :3]

    layers = tuple(dataclasses.replace(layer, name=f"inner.{layer.name}") for layer in small.table().layers)
    table = dataclasses.replace(small.table(), layers=layers)
    with pytest.raises(mq.InvalidInput, match="runs none of the layers"):
        search(Detached(), table, {"weight_bytes": "50%"}, small.data(), method=Progressive())


def with_activations() -> mq.SensitivityTable:
    return mq.measure(small.network(), small.data(), formats="w2a4,w4a4,w4a8")


def widths_of(policy: mq.Policy, table: mq.SensitivityTable) -> set[float]:
    assert policy.ranges is not None
    assert table.ranges is not None
    known = table.ranges.ranges
    return {round(high / known[key][1], 9) for key, (_, high) in policy.ranges.ranges.items()}


def test_emq_with_intervals_fixed_searches_formats_alone() -> None:
    table = with_activations()
    tried: dict[tuple[int, ...], list[mq.Policy]] = {}
    for widths in ((100,), (60, 100, 130)):

        def fitness(policy: mq.Policy, widths: tuple[int, ...] = widths) -> float:
            tried.setdefault(widths, []).append(policy)
            return policy.predicted

        method = EMQ(6, 3, widths=widths)
        found = search(small.network(), table, {"weight_bytes": "90%"}, small.data(), method=method, fitness=fitness)
        assert found.policy.costs["weight_bytes"] <= mq.allocate(table, {"weight_bytes": "90%"}).solution.budget[0]
    assert set().union(*(widths_of(policy, table) for policy in tried[100,])) == {1.0}
    assert set().union(*(widths_of(policy, table) for policy in tried[60, 100, 130])) == {0.6, 1.0, 1.3}
    assert tried[100,][0] == tried[60, 100, 130][0]
    formats = [list(dict.fromkeys(tuple(p.formats) for p in policies)) for policies in tried.values()]
    assert formats[0][:4] == formats[1][:4]  # the founders


def test_emq_is_judged_with_the_ranges_that_it_found() -> None:
    table = with_activations()
    method = EMQ(6, 3, widths=(40, 100), fitness="kl")
    found = search(small.network(), table, {"weight_bytes": "90%"}, small.data(), method=method)
    measured = evaluator.evaluate(mq.apply(small.network(), found.policy), small.network(), small.data())
    assert found.fitness == pytest.approx(measured.kl, rel=1e-5)
