from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.evaluation.simulation import Simulator
from mckp_quant.formats.format import as_formats
from mckp_quant.network.discovery import discover
from mckp_quant.rounding.weights import quantize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Mixed(nn.Module):
    """One of each kind of layer, an embedding whose weight a linear layer shares, and a layer used under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 8)
        self.conv = nn.Conv1d(8, 12, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm1d(12)
        self.up = nn.ConvTranspose1d(12, 8, 3, padding=1, groups=2)
        self.first = nn.Linear(8, 8)
        self.again = self.first
        self.head = nn.Linear(8, 6, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.tensor([1.0, float("nan")]))

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embed(tokens).transpose(1, 2)
        hidden = self.up(self.norm(self.conv(hidden)).relu()).transpose(1, 2)
        logits: Tensor = self.head(self.again(self.first(hidden)))
        return logits


LAYERS = ("embed", "conv", "up", "first")
TOKENS = torch.arange(12).reshape(3, 4) % 6


def mixed() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Mixed()


def policy(layers: Sequence[str], formats: Sequence[str]) -> mq.Policy:
    return mq.Policy(tuple(layers), tuple(as_formats([name])[0] for name in formats))


def weight(model: nn.Module, name: str) -> nn.Parameter:
    found = model.get_parameter(f"{name}.weight")
    assert isinstance(found, nn.Parameter)
    return found


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(LAYERS), st.sampled_from(["w1", "w2", "w4", "w8"]), min_size=1))
def test_exactly_the_weights_of_the_policy_change_and_to_what_the_quantizer_gives(chosen: dict[str, str]) -> None:
    model = mixed()
    facts = {layer.name: layer for layer in discover(model, TOKENS)}
    wanted = dict(model.state_dict())
    for name, entry in chosen.items():
        made = quantize(weight(model, name), mq.Format.named(entry), facts[name])
        for alias in (name, *facts[name].ties):
            wanted[f"{alias}.weight"] = made
    got = mq.apply(model, policy(list(chosen), list(chosen.values()))).state_dict()
    assert got.keys() == wanted.keys()
    for key, entry_wanted in wanted.items():
        assert torch.equal(got[key].nan_to_num(7.0), entry_wanted.nan_to_num(7.0)), key


def test_model_is_untouched_and_shares_no_memory_with_the_copy() -> None:
    model = mixed()
    model.train()
    model.get_submodule("norm").eval()
    before = {key: entry.clone() for key, entry in model.state_dict().items()}
    random_state = torch.random.get_rng_state()
    made = mq.apply(model, policy(LAYERS, ["w2"] * 4))
    assert torch.equal(random_state, torch.random.get_rng_state())
    assert all(torch.equal(before[key].nan_to_num(7.0), now.nan_to_num(7.0)) for key, now in model.state_dict().items())
    assert [module.training for module in made.modules()] == [module.training for module in model.modules()]
    own, copied = ({entry.data_ptr() for entry in each.state_dict().values()} for each in (model, made))
    assert own.isdisjoint(copied)


@pytest.mark.parametrize("name", ["embed", "head"])
def test_shared_weights_stay_shared_whichever_name_the_policy_uses(name: str) -> None:
    made = mq.apply(mixed(), policy([name], ["w2"]))
    assert weight(made, "embed") is weight(made, "head")
    assert len(weight(made, "embed")[0].unique()) <= 3


def test_shared_weight_is_rounded_once_even_if_both_names_are_in_the_policy() -> None:
    calls = []

    def halve(weight: Tensor) -> Tensor:
        calls.append(weight.shape)
        return weight / 2

    own = mq.Format("half", 8, quantize=halve, stored_bits=lambda layer: 8 * layer.elements)
    model = mixed()
    made = mq.apply(model, mq.Policy(("embed", "head"), (own, own)))
    assert torch.equal(made.state_dict()["head.weight"], model.state_dict()["head.weight"] / 2)
    assert calls == [torch.Size([6, 8])]


def test_weights_that_share_memory_but_not_the_parameter_become_shared() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    weight(model, "1").data = weight(model, "0").data
    made = mq.apply(model, policy(["1"], ["w2"]))
    assert weight(made, "0") is weight(made, "1")
    assert not torch.equal(weight(made, "0"), weight(model, "0"))


@pytest.mark.parametrize("view", [lambda memory: memory[2:6], lambda memory: memory[:4].t(), lambda memory: memory[:3]])
def test_weights_that_overlap_without_being_the_same_are_rounded_apart(view: Callable[[Tensor], Tensor]) -> None:
    memory = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    weight(model, "0").data, weight(model, "1").data = memory[:4], view(memory)
    made = mq.apply(model, policy(["0"], ["w2"]))
    assert torch.equal(weight(made, "1"), view(memory))
    assert not torch.equal(weight(made, "0"), memory[:4])


def test_two_formats_for_one_weight_are_refused() -> None:
    with pytest.raises(
        mq.InvalidInput, match=r"'embed' and 'head' share one weight.*'w2' and 'w3': give both the same"
    ):
        mq.apply(mixed(), policy(["embed", "head"], ["w2", "w3"]))


def test_unknown_layer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(mq.InvalidInput, match="unknown layer 'fist': did you mean 'first'"):
        mq.apply(mixed(), policy(["conv", "fist"], ["w2", "w2"]))


def test_layer_without_a_weight_to_quantise_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="layer 'norm' is a BatchNorm1d, which cannot be quantised"):
        mq.apply(mixed(), policy(["norm"], ["w2"]))


def test_format_that_lost_its_quantizer_in_a_file_is_refused() -> None:
    stored = mq.Format("gptq4", 4, stored_bits=lambda layer: 4 * layer.elements)
    with pytest.raises(mq.InvalidInput, match="format 'gptq4' has no quantizer"):
        mq.apply(mixed(), mq.Policy(("conv",), (stored,)))


def test_layer_facts_are_those_of_discovery() -> None:
    model = mixed()
    simulator = Simulator(model)
    found = discover(model, TOKENS)
    assert [layer.name for layer in found] == list(LAYERS)
    for layer in found:
        assert simulator.layer(layer.name) == replace(layer, macs=0, ties=())


def test_bytes_are_those_of_the_policy_and_count_shared_weights_once() -> None:
    model = mixed()
    uniform = mq.Policy.uniform(discover(model, TOKENS), "w3")
    simulator = Simulator(model)
    assert simulator.weight_bytes(uniform) == uniform.costs["weight_bytes"]
    assert simulator.weight_bytes(policy(["embed", "head"], ["w3", "w3"])) == (3 * 48 + 32 * 6) // 8
    assert simulator.float_bytes(policy(["embed", "head"], ["w3", "w3"])) == 4 * 48


def test_simulator_rounds_each_weight_to_each_format_once() -> None:
    calls = []

    def count(weight: Tensor) -> Tensor:
        calls.append(weight.shape)
        return weight

    own = mq.Format("own", 8, quantize=count, stored_bits=lambda layer: 8 * layer.elements)
    simulator = Simulator(mixed())
    for entry in ("w2", "w3", "w4"):
        simulator.apply(mq.Policy(("conv", "up"), (own, mq.Format.named(entry))))
    assert len(calls) == 1


def test_a_policy_of_another_network_is_refused_by_its_bits() -> None:
    small, large = nn.Sequential(nn.Linear(3, 4)), nn.Sequential(nn.Linear(3, 5))
    table = mq.measure(small, [torch.randn(4, 3)], formats="w2")
    policy = mq.Policy.on_table(table, as_formats("w2"))
    mq.apply(small, policy)
    with pytest.raises(mq.InvalidInput, match="layer '0' takes 190 bits in w2 here, but 152 in the policy"):
        mq.apply(large, policy)
