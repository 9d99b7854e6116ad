from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.common.run_options import RunOptions
from mckp_quant.errors import InvalidInput
from mckp_quant.formats.format import as_formats
from mckp_quant.interactions.form import Interactions, allocate_with_interactions
from mckp_quant.interactions.measuring import measure_interactions
from mckp_quant.rounding.weights import perturbations
from mckp_quant.sensitivity import GaussNewton

if TYPE_CHECKING:
    from pathlib import Path

GENERATOR = torch.Generator().manual_seed(1)
BATCHES = [torch.randn(7, 5, generator=GENERATOR, dtype=torch.float64) for _ in range(3)]
FORMATS = "w2,w3,w4"


def network(classes: int = 2) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, classes))
    return model.double()


def dense_matrix(model: nn.Module, batches: list[Tensor]) -> np.ndarray:
    """The form by a dense Jacobian of the logits in each entry's direction."""
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    parameters = {name: each.detach() for name, each in model.named_parameters()}
    directions = []
    for name in names:
        module = model.get_submodule(name)
        assert isinstance(module, nn.Linear)
        layer = mq.Layer(name, "linear", tuple(module.weight.shape), module.weight.shape[0], 0)
        directions += [(f"{name}.weight", each) for each in perturbations(module.weight, as_formats(FORMATS), layer)]
    total = torch.zeros(len(directions), len(directions), dtype=torch.float64)
    inputs = torch.cat(batches)

    def logits(steps: Tensor) -> Tensor:
        changed = dict(parameters)
        for step, (name, direction) in zip(steps, directions, strict=True):
            changed[name] = changed[name] + step * direction.to(torch.float64)
        made: Tensor = torch.func.functional_call(model, changed, (inputs,))
        return made

    start = torch.zeros(len(directions), dtype=torch.float64)
    jacobians = torch.autograd.functional.jacobian(logits, start)
    for jacobian, p in zip(jacobians, logits(start).softmax(dim=1), strict=True):
        total += jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian / 2
    return (total / len(inputs)).detach().numpy()


def test_with_two_classes_one_probe_gives_the_dense_form() -> None:
    """Of two classes the probe has one direction, so there is nothing left to chance."""
    got = measure_interactions(network(), BATCHES, formats=FORMATS)
    np.testing.assert_allclose(got.matrix, dense_matrix(network(), BATCHES), rtol=1e-6, atol=1e-14)


@pytest.mark.slow
def test_with_many_classes_probes_give_the_dense_form_on_average() -> None:
    model = network(4)
    wanted = dense_matrix(model, BATCHES[:1])
    draws = np.array(
        [
            measure_interactions(model, BATCHES[:1], formats=FORMATS, run=RunOptions(seed=seed)).matrix
            for seed in range(60)
        ]
    )
    error = draws.std(axis=0, ddof=1) / math.sqrt(60)
    distance = np.abs(draws.mean(axis=0) - wanted) / np.maximum(error, 1e-15)
    assert np.quantile(distance, 0.9) < 2.5


@pytest.mark.parametrize("probes", [1, 3])
def test_diagonal_is_the_table_of_gauss_newton(probes: int) -> None:
    model = network(4)
    got = measure_interactions(model, BATCHES, formats=FORMATS, probes=probes, run=RunOptions(seed=5))
    table = mq.measure(model, BATCHES, formats=FORMATS, method=GaussNewton(probes), run=RunOptions(seed=5))
    np.testing.assert_allclose(got.loss, table.loss, rtol=1e-9)
    assert got.layer_names == table.layer_names
    assert got.unit == table.unit
    assert table.contributions is not None
    diagonals = got.parts.diagonal(axis1=1, axis2=2).reshape(table.contributions.shape)
    np.testing.assert_allclose(diagonals, table.contributions, rtol=1e-9)


def test_layers_that_a_table_is_of_can_be_measured_alone() -> None:
    model, some = network(4), ["2", "0"]
    table = mq.measure(model, BATCHES, formats=FORMATS, layers=some)
    whole = measure_interactions(model, BATCHES, formats=FORMATS)
    got = measure_interactions(model, BATCHES, formats=FORMATS, layers=some)
    assert got.layer_names == table.layer_names == ("0", "2")
    np.testing.assert_allclose(got.parts, whole.parts[:, :6, :6], rtol=1e-9)
    assert len(mq.allocate_with_interactions(table, mq.allocate(table, {"weight_bytes": "90%"}), got).policy) == 2
    with pytest.raises(InvalidInput, match="unknown layer '1'"):
        measure_interactions(model, BATCHES, formats=FORMATS, layers=["1"])


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(9, 8), nn.Linear(8, 8), nn.Linear(8, 9)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        made: Tensor = self.head(torch.tanh(self.mix(self.embed(input_ids))))
        return made


def test_padding_counts_no_more_than_in_the_table() -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Tagger()
    tokens = torch.randint(0, 9, (6, 7), generator=generator)
    kept = (torch.arange(7) < torch.tensor([[7], [3], [5], [1], [7], [2]])).long()
    batches = [{"input_ids": tokens[at : at + 3], "attention_mask": kept[at : at + 3]} for at in (0, 3)]
    got = measure_interactions(model, batches, formats=FORMATS)
    table = mq.measure(model, batches, formats=FORMATS)
    np.testing.assert_allclose(got.loss, table.loss, rtol=1e-5)
    assert table.batch_sizes is not None
    np.testing.assert_allclose(got.batch_sizes, table.batch_sizes)
    empty = {"input_ids": tokens[:3], "attention_mask": torch.zeros(3, 7, dtype=torch.long)}
    np.testing.assert_array_equal(measure_interactions(model, [*batches, empty], formats=FORMATS).parts, got.parts)
    with pytest.raises(InvalidInput, match="all positions of the batches are padding, so nothing can be measured"):
        measure_interactions(model, [empty], formats=FORMATS)


def test_tiny_steps_are_predicted_by_the_whole_form_and_not_by_its_diagonal() -> None:
    """The Kullback-Leibler divergence of small perturbations is the whole form to second order."""
    model = network()
    got = measure_interactions(model, BATCHES, formats=FORMATS)
    small = 1e-3
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    inputs = torch.cat(BATCHES)
    before = model(inputs).log_softmax(dim=1).detach()
    columns = np.array([0, 1, 0])
    for layer, module, column in zip(got.layer_names, layers, columns, strict=True):
        facts = mq.Layer(layer, "linear", tuple(module.weight.shape), module.weight.shape[0], 0)
        with torch.no_grad():
            module.weight += small * perturbations(module.weight, as_formats(FORMATS), facts)[column]
    after = model(inputs).log_softmax(dim=1).detach()
    kl = float((before.exp() * (before - after)).sum(dim=1).mean()) / small**2
    assert got.predict(columns) == pytest.approx(kl, rel=0.01)
    assert abs(got.predict(columns, 0.0) / kl - 1) > 0.05


def test_layer_known_only_as_a_sum_over_the_batch_is_unbiased() -> None:
    class Direct(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(5, 6).double(), nn.Linear(6, 3).double()

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = torch.tanh(nn.functional.linear(inputs, self.first.weight) + 0 * self.first(inputs))
            made: Tensor = self.last(hidden)
            return made

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Direct()
    batch = BATCHES[0][:3]
    wanted = measure_interactions(reference(model), [batch], formats=FORMATS, probes=300).matrix
    draws = np.array(
        [measure_interactions(model, [batch], formats=FORMATS, run=RunOptions(seed=seed)).matrix for seed in range(60)]
    )
    error = draws.std(axis=0, ddof=1) / math.sqrt(60)
    assert np.quantile(np.abs(draws.mean(axis=0) - wanted) / np.maximum(error, 1e-15), 0.8) < 3


def reference(model: nn.Module) -> nn.Module:
    first, last = model.get_submodule("first"), model.get_submodule("last")
    assert isinstance(first, nn.Linear)
    plain = nn.Linear(5, 6, bias=False).double()
    plain.weight = first.weight
    made = nn.Module()
    made.first, made.last = plain, last
    made.forward = lambda inputs: last(torch.tanh(plain(inputs)))
    return made


def test_more_batches_than_parts_still_make_up_the_whole() -> None:
    inputs = torch.cat(BATCHES)
    single = [inputs[at : at + 1] for at in range(21)]
    got = measure_interactions(network(), single, formats=FORMATS)
    assert len(got.batch_sizes) == 16
    assert sorted(got.batch_sizes.tolist()) == [1.0] * 11 + [2.0] * 5
    whole = measure_interactions(network(), [inputs], formats=FORMATS)
    np.testing.assert_allclose(got.matrix, whole.matrix, rtol=1e-9, atol=1e-15)


def drawn(parts: int, samples: int, strength: float, seed: int = 0) -> Interactions:
    """Four layers in two formats whose errors share a part on every sample."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(size=8))
    made = []
    for _ in range(parts):
        shared = rng.normal(size=(samples, 1))
        errors = sizes * (math.sqrt(strength) * shared + math.sqrt(1 - strength) * rng.normal(size=(samples, 8)))
        made.append(errors.T @ errors / (2 * samples))
    return Interactions(tuple("abcd"), ("w2", "w4"), np.array(made), np.ones(parts))


def test_factor_is_one_for_what_repeats_and_zero_for_noise() -> None:
    assert drawn(6, 4000, 0.5).shrinkage() > 0.95
    noise = [drawn(6, 20, 0.0, seed).shrinkage() for seed in range(20)]
    assert np.mean(noise) < 0.35
    few, many = (np.mean([drawn(6, n, 0.05, seed).shrinkage() for seed in range(20)]) for n in (20, 400))
    assert few < many


def test_factor_does_not_depend_on_the_units_of_layers() -> None:
    got = drawn(5, 50, 0.2)
    units = np.repeat([1.0, 10.0, 0.1, 3.0], 2)
    other = dataclasses.replace(got, parts=got.parts * units[:, None] * units[None, :])
    assert other.shrinkage() == pytest.approx(got.shrinkage())


def allocation(
    got: Interactions, tied: list[tuple[str, ...]] | None = None
) -> tuple[mq.SensitivityTable, mq.Allocation]:
    layers = tuple(mq.Layer(name, "linear", (2, 50 * (at + 1)), 2, 10) for at, name in enumerate(got.layer_names))
    table = mq.SensitivityTable(layers, as_formats(got.formats), got.loss, np.zeros_like(got.loss))
    return table, mq.allocate(table, mq.Request({"weight_bytes": "75%"}, tied=tied or []))


@pytest.mark.parametrize("tied", [None, [("a", "c")]])
@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_best_policy_is_that_of_trying_everything(tied: list[tuple[str, ...]] | None, factor: float) -> None:
    got = drawn(3, 30, 0.4)
    table, first = allocation(got, tied)
    solved = allocate_with_interactions(table, first, got, factor=factor)
    values = {}
    for columns in itertools.product(range(2), repeat=4):
        policy = mq.Policy.on_table(table, [table.formats[column] for column in columns])
        if policy.costs["weight_bytes"] <= first.problem.budget[0] and (not tied or columns[0] == columns[2]):
            values[columns] = got.predict(np.array(columns), factor)
    best = min(values, key=lambda columns: values[columns])
    assert [entry.name for entry in solved.policy.formats] == [table.formats[column].name for column in best]
    assert solved.policy.predicted == pytest.approx(values[best])
    assert solved.policy.status == "proved optimal"


def test_what_cannot_be_used_is_refused_in_words() -> None:
    got = drawn(3, 30, 0.4)
    table, first = allocation(got)
    with pytest.raises(InvalidInput, match=re.escape("factor is 1.5: it must be a number from 0 to 1")):
        allocate_with_interactions(table, first, got, factor=1.5)
    with pytest.raises(InvalidInput, match="of other layers or formats: measure both on the same ones"):
        allocate_with_interactions(table, first, dataclasses.replace(got, layer_names=tuple("abce")), factor=0.5)
    with pytest.raises(InvalidInput, match="the allocation was made from another table"):
        allocate_with_interactions(dataclasses.replace(table, loss=2 * table.loss), first, got, factor=0.5)
    with pytest.raises(
        InvalidInput, match="in 'nats per token' and the table in 'nats per sample', which do not add up"
    ):
        allocate_with_interactions(table, first, dataclasses.replace(got, unit="nats per token"), factor=0.5)
    with pytest.raises(InvalidInput, match="one part only: measure them on at least 2 batches"):
        drawn(1, 10, 0.0).shrinkage()
    with pytest.raises(
        InvalidInput, match=re.escape("parts have the shape (3, 8, 8): 3 batch sizes, 4 layers and 1 formats")
    ):
        dataclasses.replace(got, formats=("w2",))
    with pytest.raises(
        InvalidInput, match="interactions are of weights only, and format 'w4a8' rounds activations too"
    ):
        measure_interactions(network(), BATCHES, formats="w4,w4a8")
    with pytest.raises(InvalidInput, match="probes is 0: it must be a whole number, at least 1"):
        measure_interactions(network(), BATCHES, formats=FORMATS, probes=0)
    with pytest.raises(InvalidInput, match="is on the meta device"):
        measure_interactions(network().to("meta"), BATCHES, formats=FORMATS)
    with pytest.raises(InvalidInput, match="got a dict: give a mapping"):
        allocate_with_interactions(table, {"weight_bytes": 100}, got)  # type: ignore[arg-type]
    limited = mq.allocate(table, mq.Request({"weight_bytes": "100%"}, constraints=mq.Constraints(max_formats=2)))
    with pytest.raises(InvalidInput, match="the allocation has constraints, which no solver takes together with terms"):
        allocate_with_interactions(table, limited, got)


def test_model_is_given_back_as_it_was() -> None:
    model = network().train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    measure_interactions(model, BATCHES, formats=FORMATS)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_saved_terms_give_the_same_policy(tmp_path: Path) -> None:
    model = network(4)
    table = mq.measure(model, BATCHES, formats=FORMATS)
    start = mq.allocate(table, {"weight_bytes": "90%"})
    found = measure_interactions(model, BATCHES, formats=FORMATS, run=RunOptions(seed=3))
    found.save(tmp_path / "terms.npz")
    again = Interactions.load(tmp_path / "terms.npz")
    for own in dataclasses.fields(Interactions):
        np.testing.assert_array_equal(getattr(again, own.name), getattr(found, own.name))
    first, second = (allocate_with_interactions(table, start, each).policy for each in (found, again))
    assert first == second


def stored(document: dict[str, Any], **arrays: Any) -> dict[str, Any]:
    """What a file of terms holds, with some of it changed."""
    about = {"schema": "mckp-quant/matrix/1", "layers": ["a"], "formats": ["w2", "w4"], "unit": "nats per sample"}
    whole = {**about, "samples": 3, "seed": 0, **document}
    parts = {"parts": np.zeros((1, 2, 2)), "weights": np.ones(1), **arrays}
    return {"document": np.array(json.dumps({key: own for key, own in whole.items() if own != "gone"})), **parts}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (stored({"schema": "mckp-quant/table/1"}), "has the schema 'mckp-quant/table/1': expected a matrix"),
        (stored({"schema": "mckp-quant/matrix/2"}), "is newer than this version of mckp-quant reads"),
        ({"parts": np.zeros(3)}, "has the schema None"),
        (stored({"layers": "gone"}), "lacks the field 'layers'"),
        (stored({"seed": 0.5}), "seed = 0.5: it must be a whole number"),
        (stored({}, weights=np.array(["x"])), "array 'weights' of <U1 that is not all finite numbers"),
        (stored({}, parts=np.full((1, 2, 2), np.nan)), "array 'parts' of float64 that is not all finite numbers"),
        (stored({}, parts=np.zeros((1, 3, 3))), "parts have the shape (1, 3, 3)"),
        (stored({}, weights=np.array(2.0), parts=np.array(1.0)), "parts have the shape (1,)"),
        (
            stored({}, parts=np.array([{}], dtype=object)),
            "array 'parts': it holds object, give numbers or text; nothing is unpickled",
        ),
    ],
)
def test_file_that_is_not_what_was_saved_is_refused(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "terms.npz", **content)
    with pytest.raises(InvalidInput, match=words if "|" in words else re.escape(words)):
        Interactions.load(tmp_path / "terms.npz")


def test_file_that_was_cut_off_or_is_missing_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "terms.npz", **stored({}))
    whole = (tmp_path / "terms.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match=r"the matrix '.*cut\.npz' cannot be read \(BadZipFile: .*\)"):
        Interactions.load(tmp_path / "cut.npz")
    with pytest.raises(InvalidInput, match=r"cannot read the matrix '.*none\.npz': .*No such file"):
        Interactions.load(tmp_path / "none.npz")
