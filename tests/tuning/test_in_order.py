from __future__ import annotations

import copy
import dataclasses
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.network.batches import as_batches, call
from mckp_quant.network.weight_uses import uses_in
from mckp_quant.rounding.encoded import EncodedWeight, decode_weight
from mckp_quant.rounding.rounder import InputStatistics
from mckp_quant.rounding.statistics import FLOAT_INPUT, Use, Watch, gather_statistics
from mckp_quant.rounding.statistics.gathering import LOOKUPS
from mckp_quant.tuning.in_order import Chosen, Codes, encode_in_order, encode_on_float_inputs

from .networks import Attention, Residual, Routed, deep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mckp_quant.network.batch import Batch
    from mckp_quant.rounding.encoded import StoredWeight

GPTQ = mq.Gptq(sweeps=1)


class Given:
    """A network under a policy, and what `encode_in_order` takes."""

    def __init__(self, model: nn.Module, data: Sequence[object], formats: str = "w3", bits: str = "w3") -> None:
        self.model, self.data = model.eval(), list(as_batches(data))
        self.bank = mq.round_weights(model, self.data, formats, rounder=GPTQ)
        ranges = mq.calibrate_ranges(model, self.data, formats) if bits.partition("a")[2] else None
        uniform = mq.Policy.uniform(self.bank.layers, bits)
        self.policy = dataclasses.replace(uniform, ranges=ranges)
        self.chosen = [Chosen(layer, self.policy[layer.name]) for layer in self.bank.layers]
        uses = uses_in(model)
        self.floats = {layer.name: uses[layer.name].weight.detach().clone() for layer in self.bank.layers}

    def network(self) -> nn.Module:
        return mq.apply(self.model, self.policy, bank=self.bank)

    def codes(self, reference: nn.Module | None = None) -> tuple[nn.Module, Codes]:
        made = self.network()
        return made, encode_in_order(made, self.data, self.chosen, GPTQ, self.floats, reference=reference)


def first_uses(model: nn.Module, batch: Batch, given: Given) -> dict[str, Use]:
    """The first multiplication of every layer, in a plain pass."""
    found: dict[str, Use] = {}

    def see(use: Use) -> None:
        found.setdefault(use.layer, use)

    with torch.no_grad(), Watch(model, given.bank.layers, see):
        call(model, batch)
    return found


def by_whole_passes(given: Given, looked_up: Sequence[str] = ()) -> dict[str, StoredWeight]:
    """Layer after layer, with a pass of its own for each."""
    made = given.network()
    uses = uses_in(made)
    order = list(first_uses(given.model, given.data[0], given))
    stored: dict[str, StoredWeight] = {}
    with torch.no_grad():
        for name in order:
            if name not in looked_up:
                uses[name].weight.copy_(given.floats[name])
        for name in order:
            (each,) = (each for each in given.chosen if each.layer.name == name)
            rows = [torch.cat(list(first_uses(made, batch, given)[name].rows()), dim=1) for batch in given.data]
            gram = torch.stack([torch.bmm(own.transpose(1, 2), own).double() for own in rows]).sum(dim=0)
            if name in looked_up:  # its rows are given out as they are, so that errors of the weight count too
                gram += LOOKUPS * gram.diagonal(dim1=1, dim2=2).mean() * torch.eye(gram.shape[1])
            count = torch.full((len(gram),), float(sum(own.shape[1] for own in rows)), dtype=torch.float64)
            (made_of_it,) = GPTQ.encode(
                given.floats[name], each.layer, [each.entry.weights_only], InputStatistics(gram, count)
            )
            stored[name] = made_of_it
            uses[name].weight.copy_(decode_weight(made_of_it, each.entry, each.layer))
    return stored


def same_codes(first: StoredWeight, second: StoredWeight) -> bool:
    assert isinstance(first, EncodedWeight)
    assert isinstance(second, EncodedWeight)
    return torch.equal(first.elements.double(), second.elements.double()) and torch.equal(
        first.scales.double(), second.scales.double()
    )


@pytest.mark.parametrize(
    ("model", "data", "formats", "looked_up"),
    [
        (Residual(), Residual.data(), "w3", ()),
        (Residual(), Residual.data(), "w3a4", ()),
        (Attention(), Attention.data(), "w3", ("embed",)),
        (
            deep(4, 20),
            [torch.randn(9, 20, generator=torch.Generator().manual_seed(at)) for at in range(3)],
            "w2g16z",
            (),
        ),
    ],
    ids=["residual", "rounded inputs", "attention", "groups"],
)
def test_one_pass_makes_the_codes_of_a_pass_for_every_layer(
    model: nn.Module, data: list[object], formats: str, looked_up: Sequence[str]
) -> None:
    given = Given(model, data, formats, formats)
    made, codes = given.codes()
    wanted = by_whole_passes(given, looked_up)
    assert set(codes.stored) == set(wanted) == {layer.name for layer in given.bank.layers}
    for each in given.chosen:
        assert same_codes(codes.stored[each.layer.name], wanted[each.layer.name])
        weight = decode_weight(codes.stored[each.layer.name], each.entry, each.layer)
        assert torch.equal(uses_in(made)[each.layer.name].weight, weight)
    assert codes.unseen == codes.partial == ()
    plain = [given.bank.encoded(each.layer.name, each.entry) for each in given.chosen]
    assert not all(
        same_codes(codes.stored[each.layer.name], own) for each, own in zip(given.chosen, plain, strict=True)
    )


def test_a_target_that_is_corrected_is_fitted_to_the_products_with_the_float_rows() -> None:
    torch.manual_seed(1)
    given = Given(deep(2), [torch.randn(40, 6) for _ in range(2)], "w2", "w2")
    made, codes = given.codes(given.model)
    inputs: defaultdict[str, list[Tensor]] = defaultdict(list)

    def note(which: str) -> Any:
        return lambda module, args: inputs[which].append(args[0])

    # The codes of the last layer follow from what plain hooks see in the two networks.
    name = given.chosen[-1].layer.name
    for which, network in (("float", given.model), ("rounded", made)):
        with network.get_submodule(name).register_forward_pre_hook(note(which)), torch.no_grad():
            for batch in given.data:
                call(network, batch)
    x, y = (inputs[which] for which in ("rounded", "float"))
    gram = sum((own.T @ own).double() for own in x)
    cross = sum((wanted.T @ own).double() for wanted, own in zip(y, x, strict=True))
    assert isinstance(gram, Tensor)
    assert isinstance(cross, Tensor)
    statistics = InputStatistics(gram[None], torch.tensor([80.0], dtype=torch.float64), cross[None])
    (wanted,) = GPTQ.encode(given.floats[name], given.chosen[-1].layer, [given.chosen[-1].entry], statistics)
    assert same_codes(codes.stored[name], wanted)
    _, plain = given.codes()
    assert not same_codes(plain.stored[name], wanted)


def test_codes_on_float_inputs_are_those_of_a_bank() -> None:
    for model, data, formats in (
        (Residual(), Residual.data(), "w3a4"),
        (Attention(), Attention.data(), "w3"),
    ):
        given = Given(model, data, formats, formats)
        ranges = given.policy.ranges
        roundings = {}
        if ranges is not None:
            from mckp_quant.rounding.inputs import InputRounding

            scheme = given.chosen[0].entry.activation_scheme
            assert scheme is not None
            roundings = {
                each.layer.name: InputRounding(scheme, *ranges.of(each.layer.name, scheme)) for each in given.chosen
            }
        once = [each for each in given.chosen if each.layer.name != "up"]  # the bank counts both of its uses
        codes = encode_on_float_inputs(given.model, given.data, once, GPTQ, roundings)
        for each in once:
            assert same_codes(codes.stored[each.layer.name], given.bank.encoded(each.layer.name, each.entry))


@pytest.mark.parametrize("layers", [2, 9])
def test_no_module_runs_more_often_in_a_deeper_network(layers: int) -> None:
    given = Given(deep(layers), [torch.randn(8, 6) for _ in range(3)])
    calls: Counter[str] = Counter()
    made, reference = given.network(), copy.deepcopy(given.model)
    for which, network in (("rounded", made), ("float", reference)):
        network.get_submodule("0").register_forward_pre_hook(lambda *call, which=which: calls.update([which]))
    encode_in_order(made, given.data, given.chosen, GPTQ, given.floats, reference=reference)
    assert calls == {"rounded": 3, "float": 3}


def test_padding_counts_for_nothing() -> None:
    tokens = Attention.data(12)[0]
    mask = torch.ones_like(tokens)
    mask[:, 5:] = 0
    padded = Given(Attention(), [{"input_ids": tokens, "attention_mask": mask}])
    cut = Given(Attention(), [{"input_ids": tokens[:, :5]}])
    for reference in (False, True):
        first, second = (each.codes(each.model if reference else None)[1] for each in (padded, cut))
        assert all(same_codes(first.stored[name], second.stored[name]) for name in first.stored)


def test_where_batches_take_other_ways_the_first_to_come_decide_and_the_layers_are_named() -> None:
    batches = [torch.randn(8, 4) + 3, torch.randn(8, 4) - 3, torch.randn(8, 4) - 3]
    given = Given(Routed(), batches)
    _, codes = given.codes()
    assert set(codes.stored) == {"before", "low", "high", "last"}
    assert "low" in codes.partial
    assert given.codes(given.model)[1].partial == codes.partial


def test_layers_that_nothing_reaches_keep_the_codes_that_they_had() -> None:
    given = Given(Routed(), [torch.randn(8, 4) - 3])
    made, codes = given.codes()
    assert codes.unseen == ("high",)
    entry = given.policy["high"]
    assert torch.equal(made.get_parameter("high.weight"), given.bank.weight("high", entry))


def test_a_failing_network_gets_its_weights_back() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.fails = nn.Linear(4, 4), nn.Linear(4, 2), False

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.first(inputs)
            if self.fails:
                raise ValueError("no more")
            made: Tensor = self.last(hidden)
            return made

    torch.manual_seed(0)
    given = Given(Fails(), [torch.randn(8, 4)])
    made = given.network()
    made.fails = True  # type: ignore[assignment]
    with pytest.raises(mq.InvalidInput, match="no more"):
        encode_in_order(made, given.data, given.chosen, GPTQ, given.floats)
    assert torch.equal(made.get_parameter("last.weight"), given.bank.weight("last", given.policy["last"]))


def test_statistics_of_plain_passes_are_those_of_the_watch() -> None:
    given = Given(Residual(), Residual.data())
    sums = gather_statistics(given.model, given.data, given.bank.layers)
    found = first_uses(given.model, given.data[0], given)
    assert {name for name, scheme in sums if scheme == FLOAT_INPUT} == set(found)
