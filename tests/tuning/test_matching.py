from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import evaluate
from mckp_quant.network.batches import as_batches
from mckp_quant.tuning.matching import _corrected, match_features

from ..search import small


def quantised(bits: str = "w2") -> nn.Module:
    return mq.apply(small.network(), mq.Policy.uniform(small.table(), bits))


def outputs(model: nn.Module, name: str, inputs: Tensor) -> Tensor:
    seen: list[Tensor] = []
    with model.get_submodule(name).register_forward_hook(lambda *call: seen.append(call[2])), torch.no_grad():
        model(inputs)
    return seen[0].flatten(2).mean(dim=2).mean(dim=0) if seen[0].ndim > 2 else seen[0].mean(dim=0)


def test_calibration_brings_the_network_closer_on_data_that_it_has_not_seen() -> None:
    for bits in ("w2", "w3"):
        made = match_features(quantised(bits), small.network(), small.data(samples=128))
        held_out = small.data(seed=9, samples=256)
        before = evaluate(quantised(bits), small.network(), held_out)
        after = evaluate(made.model, small.network(), held_out)
        assert after.kl <= before.kl
        assert made.after <= made.before


def test_means_of_features_agree_after_full_correction() -> None:
    made = match_features(quantised(), small.network(), small.data(samples=128))
    assert made.strength == 1
    assert made.corrected == ("1", "3", "6", "8")
    inputs = torch.cat([batch for batch, _ in small.data(samples=128)])
    for name in made.corrected:
        assert torch.allclose(outputs(made.model, name, inputs), outputs(small.network(), name, inputs), atol=1e-4)


def test_weights_and_what_was_given_stay_as_they_were() -> None:
    model, reference = quantised(), small.network()
    before, float_before = small.state(model), small.state(reference)
    made = match_features(model, reference, small.data())
    assert made.original is model
    assert small.same(before, small.state(model))
    assert small.same(float_before, small.state(reference))
    after = small.state(made.model)
    for name in ("0.weight", "3.weight", "6.weight", "8.weight", "1.running_mean", "1.running_var"):
        assert (after[name] == before[name]).all()
    assert (after["3.bias"] != before["3.bias"]).any()


def test_targets_do_not_matter() -> None:
    data = small.data()
    first = match_features(quantised(), small.network(), data)
    second = match_features(quantised(), small.network(), [inputs for inputs, _ in data])
    assert small.same(small.state(first.model), small.state(second.model))


def test_where_nothing_helps_nothing_is_done() -> None:
    made = match_features(small.network(), small.network(), small.data())
    assert (made.strength, made.corrected, made.before) == (0.0, (), 0.0)
    assert small.same(small.state(made.model), small.state(small.network()))


def test_a_transformer_like_network_gets_biases_where_it_has_none() -> None:
    torch.manual_seed(0)
    narrow, wide = nn.Linear(8, 8, bias=False), nn.Linear(8, 11)
    model = nn.Sequential(nn.Embedding(11, 8), nn.LayerNorm(8), narrow, nn.GELU(), wide)
    tokens = torch.randint(0, 11, (64, 6))
    layers = mq.measure(model, [tokens], formats="w2").layers
    rounded = mq.apply(model, mq.Policy.uniform(layers, "w2"))
    made = match_features(rounded, model, list(tokens.split(16)))
    assert made.after < made.before
    assert made.corrected == ("1", "2", "4")
    assert made.model.get_submodule("2").bias is not None
    assert rounded.get_submodule("2").bias is None


class Twice(nn.Module):
    """Its norm is called by keyword, its second layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.norm(input=self.first(inputs)))
        made: Tensor = self.second(torch.relu(self.second(hidden) + 1))
        return made


def test_a_network_that_agrees_already_is_left_alone_though_a_layer_is_called_twice() -> None:
    torch.manual_seed(0)
    model, inputs = Twice(), torch.randn(32, 6)
    made, names = _corrected(model, model, list(as_batches([inputs])), 1.0, None)
    assert names == ("norm", "second")
    for name, value in made.state_dict().items():
        assert torch.allclose(value, model.state_dict()[name], atol=1e-6)


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(9, 8), nn.Linear(8, 8), nn.Linear(8, 9)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        made: Tensor = self.head(torch.tanh(self.mix(self.embed(input_ids))))
        return made


def test_padding_is_no_feature() -> None:
    torch.manual_seed(0)
    model, tokens = Tagger(), torch.randint(0, 9, (4, 5))
    rounded = mq.apply(model, mq.Policy.uniform(mq.measure(model, [tokens], formats="w2").layers, "w2"))
    mask = (torch.arange(5) < 3).long().expand(4, -1)
    padded = list(as_batches([{"input_ids": tokens, "attention_mask": mask}]))
    cut = list(as_batches([{"input_ids": tokens[:, :3]}]))
    states = [_corrected(rounded, model, batches, 1.0, None)[0].state_dict() for batches in (padded, cut)]
    for name in ("mix.bias", "head.bias"):
        assert torch.allclose(states[0][name], states[1][name], atol=1e-6)
        assert not torch.allclose(states[0][name], model.state_dict()[name])


class Routed(nn.Module):
    """Which of two layers runs depends on the features."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.low, self.high = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.before(inputs)
        made: Tensor = self.low(hidden) if float(hidden.mean()) < 0 else self.high(hidden)
        return made


def test_a_layer_that_only_one_of_the_networks_runs_stays_as_it_is() -> None:
    torch.manual_seed(0)
    reference = Routed()
    with torch.no_grad():
        reference.before.bias.fill_(-9)
    model = copy.deepcopy(reference)
    with torch.no_grad():
        model.before.weight.zero_()
        model.before.bias.fill_(9)
    made, names = _corrected(model, reference, list(as_batches([torch.randn(8, 4)])), 0.25, None)
    assert names == ("before",)
    assert torch.equal(made.get_parameter("low.bias"), model.low.bias)


def test_one_tensor_is_cut_in_the_middle() -> None:
    whole = torch.cat([inputs for inputs, _ in small.data()])
    assert match_features(quantised(), small.network(), [whole]).strength > 0


def test_what_cannot_be_matched_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="give at least two batches"):
        match_features(quantised(), small.network(), [torch.zeros(1, 1, 7, 7)])
    other = nn.Sequential(copy.deepcopy(small.network()), nn.ReLU())
    with pytest.raises(mq.InvalidInput, match="different modules"):
        match_features(other, small.network(), small.data())
