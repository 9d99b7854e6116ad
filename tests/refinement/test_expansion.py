"""The expansion around a quantised network: autograd and dense matrices as oracles, ties, inputs, importance."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import mckp_quant as mq
from mckp_quant.errors import InvalidInput
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.interactions.shrinkage import slope_on_others
from mckp_quant.refinement.expansion import Expander, Expansion

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SIZES = (6, 9, 8, 5)


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [part for a, b in itertools.pairwise(SIZES) for part in (nn.Linear(a, b), nn.Tanh())]
        for layer in layers[::2]:
            assert isinstance(layer, nn.Linear)
            layer.weight.data *= 3
        return nn.Sequential(*layers[:-1]).double()


MODEL = network()
BATCHES = [torch.randn(7, SIZES[0], generator=torch.Generator().manual_seed(at)).double() for at in range(4)]
TABLE = mq.measure(MODEL, BATCHES, formats="w2,w3,w4")
MADE = mq.allocate(TABLE, {"weight_bytes": "83%"})


def expanded(
    made: mq.Allocation = MADE,
    table: mq.SensitivityTable = TABLE,
    model: nn.Module = MODEL,
    seed: int = 0,
    likelihood: str = "categorical",
    importance: list[NDArray[np.float64]] | None = None,
    batches: list[Tensor] = BATCHES,
) -> tuple[Expansion, NDArray[np.int64]]:
    evaluator = Evaluator(model, batches, outputs=mq.Outputs(likelihood=likelihood))
    assert made.solution.choice is not None
    choice = made.problem.position(made.solution.choice)
    quantised = evaluator.simulator.apply(made.policy)
    expander = Expander(evaluator, table, made.problem, made.index, range(len(batches)), seed)
    alike = [np.ones(size) for size in evaluator.sizes]
    return expander.around(choice, quantised, importance or alike), choice


def moves(made: mq.Allocation, model: nn.Module) -> list[dict[str, Tensor]]:
    """For every choice of the problem what it would add to the weights that the policy has."""
    simulator = Evaluator(model, BATCHES).simulator
    quantised = dict(simulator.apply(made.policy).named_parameters())
    found = []
    for group, label in zip(made.problem.group.tolist(), made.problem.label.tolist(), strict=True):
        names = [made.index.layer_names[row] for row in made.index.groups[group]]
        form = made.index.formats[label]
        found.append(
            {f"{name}.weight": simulator.rounded(name, form) - quantised[f"{name}.weight"].detach() for name in names}
        )
    return found


def divergence(model: nn.Module, weights: dict[str, Tensor], likelihood: str) -> Tensor:
    inputs = torch.cat(BATCHES)
    wanted: Tensor = model(inputs).detach()
    own: Tensor = functional_call(model, weights, inputs)
    if likelihood == "gaussian":
        return (own - wanted).square().sum() / (2 * len(inputs))
    p, q = wanted.log_softmax(-1), own.log_softmax(-1)
    return (p.exp() * (p - q)).sum() / len(inputs)


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
@pytest.mark.parametrize("tied", [(), (("2", "4"),)])
def test_first_order_term_is_the_derivative_of_the_measured_divergence(
    likelihood: str, tied: tuple[tuple[str, ...], ...]
) -> None:
    made = mq.allocate(TABLE, mq.Request({"weight_bytes": "84%"}, tied=tied))
    expansion, choice = expanded(made, likelihood=likelihood)
    quantised = {name: each.detach() for name, each in mq.apply(MODEL, made.policy).named_parameters()}
    gradients = torch.func.grad(lambda weights: divergence(MODEL, weights, likelihood))(quantised)
    expected = [
        sum(float((gradients[name] * step).sum()) for name, step in move.items()) for move in moves(made, MODEL)
    ]
    first = expansion.change(1.0) - expansion.curvature
    assert first == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert (first[choice] == 0).all()
    assert (expansion.change()[choice] == 0).all()


@pytest.mark.slow
def test_curvature_and_own_terms_are_those_of_the_dense_matrix() -> None:
    quantised = {name: each.detach() for name, each in mq.apply(MODEL, MADE.policy).named_parameters()}
    floating = dict(MODEL.named_parameters())
    inputs = torch.cat(BATCHES)
    steps = moves(MADE, MODEL)

    def logits(weights: dict[str, Tensor]) -> Tensor:
        made: Tensor = functional_call(MODEL, weights, inputs)
        return made

    p = logits(quantised).softmax(-1)
    jacobian = torch.func.jacrev(logits)(quantised)

    def pushed(direction: dict[str, Tensor]) -> Tensor:
        total = torch.zeros_like(p)
        for name, step in direction.items():
            total += torch.einsum("ncij,ij->nc", jacobian[name], step)
        return total

    metric = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    curvature, own = [], []
    for step in steps:
        error = {name: quantised[name] - floating[name].detach() for name in step}
        moved, present = pushed(step), pushed(error)
        curvature.append(float(torch.einsum("ni,nij,nj->", moved, metric, moved)) / (2 * len(inputs)))
        own.append(float(torch.einsum("ni,nij,nj->", moved, metric, present)) / len(inputs))
    drawn = [expanded(seed=seed)[0] for seed in range(60)]
    for found, expected in (
        (np.array([each.curvature for each in drawn]), np.array(curvature)),
        (np.array([each.own.mean(axis=0) - each.curvature for each in drawn]), np.array(own)),
    ):
        error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
        assert (np.abs(found.mean(axis=0) - expected) <= 4.5 * error + 1e-12).all()
        assert np.abs(expected).max() > 0


def test_change_foretells_what_the_network_does_better_than_the_table() -> None:
    choice = expanded()[1]
    change = np.mean([expanded(seed=seed)[0].change(1.0) for seed in range(8)], axis=0)
    evaluator = Evaluator(MODEL, BATCHES)
    problem = MADE.problem
    base = evaluator.evaluate(MADE.policy).kl
    tables = [mq.measure(MODEL, BATCHES, formats="w2,w3,w4", run=mq.RunOptions(seed=seed)) for seed in range(8)]
    values = [mq.allocate(each, {"weight_bytes": "83%"}).problem.value for each in tables]
    kept = [choice[group] for group in problem.group]
    measured = []
    for position in range(problem.n_choices):
        other = choice.copy()
        other[problem.group[position]] = position
        formats = MADE.index.policy_formats(problem.label[other])
        measured.append(evaluator.evaluate(mq.Policy.on_table(TABLE, formats)).kl - base)
    own = np.abs(change - measured).sum()
    of_tables = [np.abs(each - each[kept] - measured).sum() for each in values]
    assert own < 0.6 * np.mean(of_tables)


def test_samples_of_no_importance_play_no_part() -> None:
    importance = [np.ones(7), np.zeros(7), np.ones(7), np.zeros(7)]
    found, _ = expanded(importance=importance)
    whole, _ = expanded()
    assert found.own[[1, 3]] == pytest.approx(0)
    assert found.cross[[1, 3]] == pytest.approx(0)
    assert found.cross[[0, 2]] == pytest.approx(whole.cross[[0, 2]])
    assert found.weights.tolist() == whole.weights.tolist()


def test_storing_inputs_otherwise_is_taken_from_the_table() -> None:
    model = network().float()
    batches = [batch.float() for batch in BATCHES]
    table = mq.measure(model, batches, formats="w3a4,w3a8,w6a4,w6a8")
    made = mq.allocate(table, {"weight_bytes": "90%"})
    expansion, choice = expanded(made, table, model, batches=batches)
    names = [entry.name for entry in made.index.formats]
    change = expansion.change()
    for group, (start, present) in enumerate(zip(made.problem.start.tolist(), choice.tolist(), strict=False)):
        labels = made.problem.label[start : start + 4].tolist()
        at = dict(zip([names[label] for label in labels], change[start : start + 4].tolist(), strict=True))
        now = names[made.problem.label[present]]
        weights, inputs = now.split("a")
        other = f"{weights}a{'8' if inputs == '4' else '4'}"
        row = made.index.groups[group][0]
        expected = table.loss[row, names.index(other)] - table.loss[row, names.index(now)]
        assert at[other] == pytest.approx(expected)


def test_network_and_its_copies_stay_as_they_were() -> None:
    model = network().train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    expanded(model=model)
    assert model.training
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_outputs_of_one_number_a_sample_are_expanded() -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, inputs: Tensor) -> Tensor:
            made: Tensor = self.inner(inputs)[:, 0]
            return made

    model = Single()
    table = mq.measure(model, BATCHES, formats="w2,w3,w4", outputs=mq.Outputs(likelihood="gaussian"))
    expansion, _ = expanded(mq.allocate(table, {"weight_bytes": "83%"}), table, model, likelihood="gaussian")
    assert np.isfinite(expansion.change()).all()
    assert expansion.curvature.max() > 0


def test_derivatives_that_overflow_are_refused() -> None:
    class Steep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network().float()

        def forward(self, inputs: Tensor) -> Tensor:
            made: Tensor = self.inner(inputs.float())
            return made + (made - made.detach()) * 1e30 * 1e30

    model = Steep()
    layers = [dataclasses.replace(layer, name=f"inner.{layer.name}") for layer in TABLE.layers]
    table = dataclasses.replace(TABLE, layers=tuple(layers))
    made = mq.allocate(table, {"weight_bytes": "83%"})
    with pytest.raises(InvalidInput, match="derivatives at the quantised network overflow"):
        expanded(made, table, model)


def test_batch_of_padding_only_says_nothing() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(11, 6), nn.Linear(6, 11)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            made: Tensor = self.head(self.embedding(input_ids).tanh())
            return made

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Reader()
        tokens = [torch.randint(0, 11, (4, 5)) for _ in range(3)]
    full = [{"input_ids": each, "attention_mask": torch.ones_like(each)} for each in tokens]
    empty = {"input_ids": tokens[0], "attention_mask": torch.zeros_like(tokens[0])}
    table = mq.measure(model, full, formats="w2,w3,w4")
    made = mq.allocate(table, {"weight_bytes": "90%"})
    found, plain = (expanded(made, table, model, batches=each)[0] for each in ([*full, empty], full))  # type: ignore[arg-type]
    assert found.change() == pytest.approx(plain.change())


def test_slope_tells_noise_from_what_holds() -> None:
    rng = np.random.default_rng(0)
    truth, noise = rng.standard_normal(400), rng.standard_normal((8, 400))
    weights = np.full(8, 3.0)
    assert slope_on_others(np.tile(truth, (8, 1)), weights) == pytest.approx(1)
    assert slope_on_others(noise, weights) < 0.2
    # The mean of seven others has a noise of 4/7 in its variance: the best slope is 1 / (1 + 4/7).
    assert slope_on_others(truth + 2 * noise, weights) == pytest.approx(7 / 11, abs=0.12)
    assert slope_on_others(noise[:1], weights[:1]) == 0.5
    assert slope_on_others(np.zeros((3, 4)), weights[:3]) == 0
