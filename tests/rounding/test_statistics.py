"""Sums over the rows of inputs, against rows that the layer itself gives: a layer is linear in its weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mckp_quant import InvalidInput
from mckp_quant.formats import ActivationScheme
from mckp_quant.network import discover
from mckp_quant.network.batches import as_batches
from mckp_quant.network.weight_uses import uses_in
from mckp_quant.rounding.inputs import InputRounding
from mckp_quant.rounding.rows import from_channel_rows
from mckp_quant.rounding.statistics import FLOAT_INPUT, Use, gather_statistics, gathering, patches, statistics_in_waves

from .networks import NAMES, draw, layer_of

PLAIN = [name for name in NAMES if name not in {"embedding", "tied", "experts"}]


def rows_by_basis(module: nn.Module, weight: nn.Parameter, layer: Any, inputs: Tensor, groups: int) -> Tensor:
    """``(groups, rows, n)``: with row k of the identity as every channel's weights, outputs are entry k of each row."""
    size = layer.elements // layer.channels
    columns = []
    with torch.no_grad():
        kept = weight.clone()
        bias = getattr(module, "bias", None)
        offset = 0.0 if bias is None else bias
        for at in range(size):
            unit = torch.zeros(layer.channels, size)
            unit[:, at] = 1
            weight.copy_(from_channel_rows(unit, layer))
            output = module(inputs)
            output = output if isinstance(module, nn.Linear) else output.movedim(1, -1)
            flat = (output - offset).reshape(-1, groups, layer.channels // groups)
            columns.append(flat[:, :, 0].T)
        weight.copy_(kept)
    return torch.stack(columns, dim=2)


@pytest.mark.parametrize("name", PLAIN)
def test_sums_are_those_of_the_rows_that_the_layer_multiplies(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "POSITIONS", 10**6)  # all of them
    model, batch, layer = layer_of(name)
    module = model.get_submodule("0")
    groups = getattr(module, "groups", 1)
    dense = rows_by_basis(module, uses_in(model)["0"].weight, layer, batch, groups).double()
    found = gather_statistics(model, [batch[:2], batch[2:]], [layer])["0", FLOAT_INPUT]
    torch.testing.assert_close(found.gram, dense.transpose(1, 2) @ dense, rtol=1e-5, atol=1e-4)
    assert found.rows.tolist() == [dense.shape[1]] * groups


def test_rounded_inputs_have_sums_of_their_own() -> None:
    model, batch, layer = layer_of("conv2d")
    rounding = InputRounding(ActivationScheme(3), -2.0, 2.0)
    found = gather_statistics(model, [batch], [layer], {"a3": {"0": rounding}})
    again = gather_statistics(model, [rounding.round(batch)], [layer])
    torch.testing.assert_close(found["0", "a3"].gram, again["0", FLOAT_INPUT].gram)
    assert not torch.allclose(found["0", FLOAT_INPUT].gram, found["0", "a3"].gram)


def test_experts_see_their_own_tokens_and_those_without_any_have_no_rows() -> None:
    model, batch, layer = layer_of("experts")
    found = gather_statistics(model, [batch[:20], batch[20:]], [layer])[layer.name, FLOAT_INPUT]
    first, second = batch[batch[:, 0] <= 0].double(), batch[batch[:, 0] > 0].double()
    torch.testing.assert_close(found.gram[0], first.T @ first, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.gram[1], second.T @ second, rtol=1e-5, atol=1e-5)
    assert found.rows.tolist() == [len(first), len(second), 0]
    assert not found.gram[2].any()


def test_an_embedding_that_only_looks_up_has_no_statistics() -> None:
    model, batch, layer = layer_of("embedding")
    assert gather_statistics(model, [batch], [layer]) == {}


def test_positions_of_padding_do_not_count() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(7, 6), nn.Linear(6, 3)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            made: Tensor = self.head(self.table(input_ids))
            return made

    torch.manual_seed(0)
    model = Masked()
    tokens = torch.arange(12).reshape(2, 6) % 7
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    batch = {"input_ids": tokens, "attention_mask": mask}
    layers = [each for each in discover(model, next(as_batches([batch], model))) if each.name == "head"]
    found = gather_statistics(model, [batch], layers)["head", FLOAT_INPUT]
    kept = model.table(tokens)[mask == 1].double()
    torch.testing.assert_close(found.gram[0], kept.T @ kept, rtol=1e-5, atol=1e-5)
    assert found.rows.tolist() == [10]


@pytest.mark.parametrize("name", ["linear", "conv2d", "depthwise"])
def test_inputs_that_are_not_finite_name_the_layer(name: str) -> None:
    model, batch, layer = layer_of(name)
    batch[-1].flatten()[0] = float("nan")
    with pytest.raises(InvalidInput, match="the input of layer '0' holds nan or infinite numbers: check the network's"):
        gather_statistics(model, [batch], [layer])


def test_layers_that_see_the_same_input_share_its_product_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(6, 6, bias=False) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            mixed = self.q(x) * self.k(x) + self.v(x)
            x.add_(1)  # in place: the same memory, and no longer the same input
            made: Tensor = self.o(x) + mixed
            return made

    torch.manual_seed(0)
    model, made = Attention(), []
    product = gathering._product

    def counted(use: Use, inputs: Tensor | None) -> tuple[Tensor, int]:
        made.append(use.layer)
        return product(use, inputs)

    monkeypatch.setattr(gathering, "_product", counted)
    first, second = draw(1, 10, 6), draw(2, 10, 6)
    layers = discover(model, next(as_batches([first.clone()])))
    found = gather_statistics(model, [first.clone(), second.clone()], layers)
    assert made == ["q", "o", "q", "o"]
    dense = torch.cat([first, second]).double()
    for name in "qkv":
        torch.testing.assert_close(found[name, FLOAT_INPUT].gram[0], dense.T @ dense, rtol=1e-5, atol=1e-5)
    moved = torch.cat([first + 1, second + 1]).double()
    torch.testing.assert_close(found["o", FLOAT_INPUT].gram[0], moved.T @ moved, rtol=1e-5, atol=1e-5)


def test_waves_give_the_same_statistics_within_the_limit() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 3))
    batches = [draw(1, 10, 6), draw(2, 10, 6)]
    layers = discover(model, next(as_batches(batches)))
    rounding = {"a8d": {layer.name: InputRounding(ActivationScheme(8, dynamic=True)) for layer in layers}}
    whole = gather_statistics(model, batches, layers, rounding)
    waves = list(statistics_in_waves(model, batches, layers, rounding, 8 * 2 * (9 * 9 + 4 * 4)))
    assert [[layer.name for layer in wave] for wave, _ in waves] == [["0"], ["2", "4"]]
    assert [sum(each.gram.nbytes for each in held.values()) for _, held in waves] == [8 * 2 * 36, 8 * 2 * 97]
    together = {key: each for _, held in waves for key, each in held.items()}
    assert together.keys() == whole.keys()
    assert all(torch.equal(together[key].gram, whole[key].gram) for key in whole)
    assert len(list(statistics_in_waves(model, batches, layers, rounding))) == 1
    with pytest.raises(
        InvalidInput, match="the sums of inputs of layer '2' take 1,296 bytes, more than memory_limit = 1,0"
    ):
        list(statistics_in_waves(model, batches, layers, rounding, 1000))


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_of_sums_are_known_beforehand(name: str) -> None:
    model, batch, layer = layer_of(name)
    found = gather_statistics(model, [batch], [layer])
    expected = sum(each.gram.nbytes for each in found.values())
    assert gathering.gram_bytes(layer, uses_in(model), {}) == expected


def test_a_head_whose_weight_an_embedding_gives_out_counts_errors_of_the_weight_too() -> None:
    model, batch, layer = layer_of("tied")
    found = gather_statistics(model, [batch], [layer])[layer.name, FLOAT_INPUT]
    inputs = torch.tanh(model.get_submodule("embedding")(batch)).cumsum(dim=1).flatten(0, 1).double()
    gram = inputs.T @ inputs
    expected = gram + 0.3 * gram.diagonal().mean() * torch.eye(6)
    torch.testing.assert_close(found.gram[0], expected.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["Mixtral", "Qwen3Moe"])
def test_experts_of_hugging_face_networks_see_the_tokens_routed_to_them_however_they_are_computed(kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = (
        {"num_local_experts": 4}
        if kind == "Mixtral"
        else {"num_experts": 4, "moe_intermediate_size": 12, "head_dim": 4}
    )
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=19,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_experts_per_tok=2,
        max_position_embeddings=16,
        initializer_range=0.5,
        **sizes,
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    batch = {"input_ids": torch.arange(24).reshape(2, 12) % 19}
    seen: list[tuple[Any, ...]] = []
    name = next(name for name, module in model.named_modules() if name.endswith("experts"))
    handle = model.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args))
    with torch.no_grad():
        expected = model(**batch).logits
    handle.remove()
    tokens, chosen = seen[0][:2]
    layers = [each for each in discover(model, next(as_batches([batch], model))) if each.kind == "experts"]
    before = model.config._experts_implementation
    for implementation in ("grouped_mm", "batched_mm", "eager"):
        model.config._experts_implementation = implementation
        found = gather_statistics(model, [batch], layers)
        assert model.config._experts_implementation == implementation
        for expert in range(4):
            own = tokens[(chosen == expert).any(dim=1)].double()
            sums = found[f"{name}.gate_up_proj", FLOAT_INPUT]
            assert sums.rows[expert] == len(own)
            torch.testing.assert_close(sums.gram[expert], own.T @ own, rtol=1e-5, atol=1e-5)
            weight = model.get_parameter(f"{name}.gate_up_proj")[expert].double()
            gate, up = (own @ weight.T).chunk(2, dim=1)
            inner = nn.functional.silu(gate) * up
            sums = found[f"{name}.down_proj", FLOAT_INPUT]
            torch.testing.assert_close(sums.gram[expert], (inner.T @ inner).detach(), rtol=1e-4, atol=1e-4)
    model.config._experts_implementation = before
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, expected)
