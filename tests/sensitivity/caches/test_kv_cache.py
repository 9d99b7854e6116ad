"""Keys and values as layers: what one pass predicts, what is simulated, what it costs, and what it refuses."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mckp_quant as mq
from mckp_quant.export import export
from mckp_quant.formats.cache_formats import CACHE_SCHEMES, cache_formats
from mckp_quant.network.attention.calls import AttentionCalls
from mckp_quant.network.likelihood import SampleDraws
from mckp_quant.rounding.caches import round_cache

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = "kv16,kv8,kv4,kv2,kv_fp8"


class Attention(nn.Module):
    """Two heads of width 4."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (each.unflatten(-1, (2, 4)).transpose(1, 2) for each in self.mix(x).chunk(3, dim=-1))
        found: Tensor = F.scaled_dot_product_attention(q, k, value=v, is_causal=True)
        out: Tensor = x + self.out(found.transpose(1, 2).flatten(2))
        return out


class Tiny(nn.Module):
    """Two attentions on tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(11, 8)
        self.blocks = nn.ModuleList(Attention() for _ in range(2))
        self.head = nn.Linear(8, 11)
        with torch.no_grad():
            for block in self.blocks:
                block.mix.weight.mul_(3)  # type: ignore[union-attr,operator]

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(x)
        return out


NAMES = ["blocks.0.keys", "blocks.0.values", "blocks.1.keys", "blocks.1.values"]


def batches(count: int = 3, size: int = 4, tokens: int = 40) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 11, (size, tokens), generator=generator) for _ in range(count)]


def net() -> nn.Module:
    return Tiny().eval()


def kv(formats: str = FORMATS, context: int = 100, sequences: int = 3) -> mq.SensitivityTable:
    return mq.measure_kv_cache(net(), batches(), context=context, sequences=sequences, formats=formats)


def test_the_loss_is_that_of_the_derivative_along_the_rounding_error_of_every_sample() -> None:
    model = net().double()
    (batch,) = batches(1)
    table = mq.measure_kv_cache(model, [batch], context=1, formats="kv4,kv_fp8")
    outputs = mq.Outputs()
    with torch.no_grad():
        logits = model(batch)
        vectors = outputs.distribution.curvature_probe(logits, SampleDraws.of(0, 0, len(batch)))
    for (row, name), (column, entry) in itertools.product(enumerate(NAMES), enumerate(table.formats)):
        kind = name.rpartition(".")[2]

        def moved(share: Tensor, name: str = name, kind: str = kind, scheme: str = entry.name) -> Tensor:
            def change(place: str, own: str, module: nn.Module, numbers: Tensor) -> Tensor:
                if (place, own) != (name, kind):
                    return numbers
                error = round_cache(numbers, kind, CACHE_SCHEMES[scheme]).float() - numbers.detach().float()
                return numbers + share[:, None, None, None] * error

            with AttentionCalls(model, change):
                found: Tensor = model(batch)
            return found

        at = torch.zeros(len(batch), dtype=torch.float64, requires_grad=True)
        (slopes,) = torch.autograd.grad((moved(at) * vectors).sum(), at)
        expected = float(slopes.square().mean()) / (2 * batch.shape[1])
        assert math.isclose(table.loss[row, column], expected, rel_tol=1e-5)


def test_every_attention_has_a_row_for_keys_and_one_for_values_and_the_network_is_as_it_was() -> None:
    model = net()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    seen: list[tuple[int, int | None]] = []
    run = mq.RunOptions(progress=lambda done, total: seen.append((done, total)), max_batches=2)
    table = mq.measure_kv_cache(model, batches(), context=100, sequences=3, formats=FORMATS, run=run)
    assert list(table.layer_names) == NAMES
    assert [layer.kind for layer in table.layers] == ["keys", "values"] * 2
    assert {layer.shape for layer in table.layers} == {(3, 100, 2, 4)}
    assert seen == [(1, 2), (2, 2)]
    assert (table.loss[:, 1] < table.loss[:, 2]).all()
    assert (table.loss[:, 2] < table.loss[:, 3]).all()
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert all(each.requires_grad for each in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_is_predicted_is_about_what_is_measured() -> None:
    table, model, judged = kv("kv8,kv4,kv_fp8"), net(), batches(8)[3:]
    found = np.array(
        [
            [mq.evaluate(mq.apply(model, mq.Policy((name,), (entry,))), model, judged).kl for entry in table.formats]
            for name in NAMES
        ]
    )
    ratio = table.loss / found
    assert 0.5 < np.median(ratio) < 2


def test_only_the_attentions_of_the_policy_are_rounded_and_copies_keep_that() -> None:
    model, (tokens,) = net(), batches(1)
    (entry,) = cache_formats("kv2")
    seen: dict[str, Tensor] = {}

    def note(name: str, kind: str, module: nn.Module, numbers: Tensor) -> Tensor:
        seen[name] = numbers
        return numbers

    made = mq.apply(model, mq.Policy(("blocks.1.values",), (entry,)))
    with torch.no_grad():
        with AttentionCalls(made, note):
            rounded = made(tokens)
        assert not torch.equal(rounded, model(tokens))
        torch.testing.assert_close(made(tokens), rounded)
        torch.testing.assert_close(mq.apply(made, mq.Policy(("head",), (mq.Format.named("float"),)))(tokens), rounded)
    again = made(tokens).sum()
    again.backward()
    assert all(each.grad is not None and bool(each.grad.any()) for each in made.blocks[1].mix.parameters())  # type: ignore[index,union-attr]
    with pytest.raises(mq.InvalidInput, match=r"unknown attention 'blocks\.2\.keys': did you mean"):
        mq.apply(model, mq.Policy(("blocks.2.keys",), (entry,)))


@pytest.mark.parametrize("name", list(CACHE_SCHEMES))
@pytest.mark.parametrize("kind", ["keys", "values"])
def test_rounding_keeps_shape_and_type_and_moves_no_number_far(name: str, kind: str) -> None:
    scheme = CACHE_SCHEMES[name]
    numbers = torch.randn(2, 3, 70, 8, generator=torch.Generator().manual_seed(0))
    numbers[:, :, :, 0] *= 50  # an outlier of a channel
    rounded = round_cache(numbers, kind, scheme)
    assert rounded.dtype == numbers.dtype
    assert rounded.shape == numbers.shape
    error = (rounded - numbers).abs()
    if not scheme.scaled:
        assert bool((error <= numbers.abs() * 2.0 ** (-4 if scheme.bits == 8 else -8) + 2.0**-9).all())
        return
    pieces = numbers.split(32, dim=2) if kind == "keys" else [numbers]
    along = 2 if kind == "keys" else 3
    spread = [each.amax(along, keepdim=True) - each.amin(along, keepdim=True) for each in pieces]
    steps = torch.cat([own.expand_as(each) for own, each in zip(spread, pieces, strict=True)], dim=2)
    assert bool((error <= 0.51 * steps / (2**scheme.bits - 1) + 0.01 * steps).all())
    codes = len(torch.unique(round_cache(torch.randn(1, 1, 32, 1), "keys", scheme)))
    assert codes <= 2**scheme.bits
    assert torch.equal(round_cache(torch.ones(1, 1, 5, 4), kind, scheme), torch.ones(1, 1, 5, 4))
    # A channel with large numbers costs the others nothing where keys share scales along tokens only.
    assert (float(error[..., 1:].mean()) < 0.4 * 2.0**-scheme.bits * 4) == (kind == "keys")


def test_bytes_are_counted_exactly_and_apart_from_weights() -> None:
    weights = mq.measure(net(), batches(), formats="w4,w8")
    joint = mq.with_kv_cache(weights, kv())
    keys, values = joint.layers[-2:]
    (kv8,) = cache_formats("kv8")
    assert kv8.storage_bits(keys) == 3 * 100 * 8 * 8 + 32 * 3 * 2 * 4 * 4  # 4 groups of at most 32 tokens
    assert kv8.storage_bits(values) == 3 * 100 * 8 * 8 + 32 * 3 * 2 * 100
    policy = mq.allocate(joint, {"kv_cache_bytes": "100%", "bits_per_weight": 33}).policy
    alone = mq.allocate(weights, {"bits_per_weight": 33}).policy
    assert policy.costs["weight_bytes"] == alone.costs["weight_bytes"]
    assert policy.bits_per_weight == alone.bits_per_weight
    assert policy.costs["bops"] == alone.costs["bops"]


@pytest.mark.parametrize(
    "budgets",
    [
        {"weight_bytes": "80%", "kv_cache_bytes": "90%"},
        {"memory_bytes": "75%"},
        {"memory_bytes": "75%", "weight_bytes": "80%"},
    ],
)
def test_a_joint_budget_is_proved_and_no_selection_is_better(budgets: dict[str, str], tmp_path: Path) -> None:
    weights = mq.measure(net(), batches(), formats="w4,w8", layers=["words", "head", "blocks.0.mix"])
    path = tmp_path / "joint.json"
    mq.with_kv_cache(weights, kv("kv8,kv4,kv_fp8", context=10, sequences=1)).save(path)
    joint = mq.SensitivityTable.load(path)
    found = mq.allocate(joint, budgets)
    assert found.policy.status == "proved optimal"
    choices = [[at for at, loss in enumerate(row) if not np.isnan(loss)] for row in joint.loss]
    limits = {each.name: each.limit for each in found.policy.budgets}
    best = math.inf
    for chosen in itertools.product(*choices):
        sizes = [joint.formats[at].storage_bytes(layer) for at, layer in zip(chosen, joint.layers, strict=True)]
        own = {
            "weight_bytes": sum(sizes[:-4]),
            "kv_cache_bytes": sum(sizes[-4:]),
            "memory_bytes": sum(sizes),
        }
        if all(own[name] <= limit for name, limit in limits.items()):
            best = min(best, math.fsum(joint.loss[row, at] for row, at in enumerate(chosen)))
    assert math.isclose(found.policy.predicted, best, rel_tol=1e-12)


def test_a_joint_policy_is_validated_and_exported_as_json_and_refused_elsewhere(tmp_path: Path) -> None:
    model = net()
    joint = mq.with_kv_cache(mq.measure(model, batches(), formats="w4,w8"), kv())
    policy = mq.allocate(joint, {"memory_bytes": "40%"}).policy
    validation = mq.validate(model, policy, batches(2))
    assert validation.policy.weight_bytes == policy.costs["weight_bytes"]
    assert validation.policy.measured.kl > 0
    export(policy, "json", model=model, output=tmp_path / "json")
    written = json.loads((tmp_path / "json" / "quantization.json").read_text())
    assert {each["layer"] for each in written["layers"]} == set(joint.layer_names)
    with pytest.raises(mq.InvalidInput, match=r"torchao takes no formats of the KV cache .* one for 'blocks\.0\.keys'"):
        export(policy, "torchao", model=model, output=tmp_path / "torchao")
    with pytest.raises(mq.InvalidInput, match="the target 'torchao' takes no formats of the KV cache"):
        mq.allocate(joint, {"memory_bytes": "40%"}, target="torchao")


def test_heads_that_queries_share_are_counted_once() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=31,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    tokens = [{"input_ids": torch.randint(0, 31, (2, 9))} for _ in range(2)]
    mask = torch.tensor([[0, *[1] * 8]] * 2)
    padded = [{**each, "attention_mask": mask} for each in tokens]
    for given in (tokens, padded):  # with a mask keys are repeated, without one they are not
        table = mq.measure_kv_cache(model, given, context=7, formats="kv8,kv2")
        assert {layer.shape for layer in table.layers} == {(1, 7, 2, 4)}
        assert list(table.layer_names) == [f"model.layers.0.self_attn.{kind}" for kind in ("keys", "values")]
    config._attn_implementation = "eager"
    with pytest.raises(mq.InvalidInput, match="no attention of LlamaForCausalLM is seen: it has to call"):
        mq.measure_kv_cache(transformers.LlamaForCausalLM(config).eval(), tokens, context=7)


class Odd(nn.Module):
    """Attention without a dimension for samples, on every second call."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.calls, self.head = Attention(), 0, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        found = self.plain(x) if self.calls % 2 else F.scaled_dot_product_attention(x, x, x)
        out: Tensor = self.head(found)
        return out


def test_what_cannot_be_measured_is_refused_in_words() -> None:
    inputs = [torch.randn(2, 5, 8) for _ in range(2)]
    with pytest.raises(mq.InvalidInput, match=r"'keys' has the shape \(2, 5, 8\) on batch 1 of 2 samples"):
        mq.measure_kv_cache(Odd().eval(), inputs, context=3)
    with pytest.raises(mq.InvalidInput, match="unknown format of a KV cache 'w4'"):
        kv("w4")
    with pytest.raises(mq.InvalidInput, match="formats is empty: name at least one"):
        mq.measure_kv_cache(net(), batches(), context=3, formats=[])
    with pytest.raises(mq.InvalidInput, match="context is 0: it must be a whole number, at least 1"):
        kv(context=0)
    weights = mq.measure(net(), batches(), formats="w4")
    with pytest.raises(mq.InvalidInput, match="differ in seed: 1 and 0; measure both on the same batches"):
        mq.with_kv_cache(mq.measure(net(), batches(), formats="w4", run=mq.RunOptions(seed=1)), kv())
    with pytest.raises(mq.InvalidInput, match=r"give the table of measure\(\) first"):
        mq.with_kv_cache(kv(), weights)
    other = mq.measure_kv_cache(net(), [torch.cat(batches()[:2]), batches()[2]], context=3)
    with pytest.raises(mq.InvalidInput, match="are of batches of other sizes"):
        mq.with_kv_cache(weights, other)
    detached = net()
    detached.head.register_forward_hook(lambda module, args, output: output.detach())  # type: ignore[union-attr]
    with pytest.raises(mq.InvalidInput, match="depend on no attention in a way that has a gradient"):
        mq.measure_kv_cache(detached, batches(), context=3)


class Ways(nn.Module):
    """One of two attentions, as the first number says."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = Attention(), Attention(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head((self.one if float(x[0, 0, 0]) > 0 else self.two)(x))
        return out


def test_batches_that_take_other_ways_are_refused() -> None:
    inputs = torch.rand(2, 5, 8) + 0.1
    with pytest.raises(mq.InvalidInput, match=r"batch 1 runs other attentions than the first: two\.keys, two\.values"):
        mq.measure_kv_cache(Ways().eval(), [inputs, -inputs], context=3)
