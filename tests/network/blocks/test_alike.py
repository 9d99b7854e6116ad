"""Blocks without numbers that are alike: what is counted is what running every one counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from mckp_quant.network.batches import as_batch
from mckp_quant.network.blocks.alike import sparing
from mckp_quant.network.blocks.finding import find_blocks
from mckp_quant.network.discovery import discover
from mckp_quant.sensitivity.memory.graph import graph_of

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = {"vocab_size": 16, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 7, "num_attention_heads": 4}
EXPERTS = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}


class Block(nn.Module):
    """A linear layer that runs as often as it is told to; what it gives is changed in place by the next."""

    def __init__(self, times: int = 9) -> None:
        super().__init__()
        self.times = times
        self.inner = nn.Linear(8, 8)

    def forward(self, x: Tensor, note: object = None) -> tuple[Tensor, Tensor, object]:
        y = x.tanh()
        for _ in range(self.times):
            y = self.inner(y)
        return y, x, note


class Stack(nn.Module):
    """Blocks one after another."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            y, same, note = block(x, note="as given")
            assert same is x
            assert note == "as given"
            x = y.mul_(2)
        out: Tensor = self.head(x.relu_())
        return out


def stack(*times: int) -> Stack:
    with torch.device("meta"):
        return Stack(*map(Block, times)).eval()


def decoder(family: str, **options: Any) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(family, **SIZES, **options)
    with torch.device("meta"):
        made: nn.Module = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return made.eval()


def ran(model: nn.Module, batch: Any) -> tuple[int, int]:
    """How many modules ran, and how many of the network were spared."""
    calls = []
    hooks = [each.register_forward_hook(lambda *_: calls.append(1)) for each in model.modules()]
    with sparing(model) as spared, torch.no_grad():
        model(**batch) if isinstance(batch, dict) else model(batch)
    for hook in hooks:
        hook.remove()
    return len(calls), len(spared.twins)


def counted(model: nn.Module, batch: Any) -> tuple[Any, ...]:
    entry = as_batch(batch)
    blocks = find_blocks(model, entry)
    return discover(model, entry), list(blocks.modules), blocks.why, graph_of(model, entry, None, blocks.modules)


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "Llama": lambda: decoder("llama", num_key_value_heads=2),
    "GPT-2": lambda: decoder("gpt2", n_positions=64, bos_token_id=0, eos_token_id=0),
    "a mixture": lambda: decoder("qwen3_moe", num_key_value_heads=2, **EXPERTS),
    "two kinds of layers": lambda: decoder(
        "gemma3_text",
        head_dim=8,
        sliding_window=4,
        layer_types=["sliding_attention"] * 4 + ["full_attention"] * 3,
    ),
    "a stack": lambda: stack(*[9] * 6),
}


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=pytest.mark.slow) if name in ("GPT-2", "a mixture") else name for name in FAMILIES],
)
def test_counts_are_those_of_every_block(family: str) -> None:
    model = FAMILIES[family]()
    batch = torch.zeros(2, 8, device="meta") if family == "a stack" else {"input_ids": torch.zeros(2, 8).long()}
    _, spared = ran(model, batch)
    found = counted(model, batch)
    for each in find_blocks(model, as_batch(batch)).modules.values():
        vars(each)["own_mark"] = object()  # which no other has
    assert spared
    assert not ran(model, batch)[1]
    assert counted(model, batch) == found


def test_two_run_for_all() -> None:
    model, x = stack(*[9] * 6), torch.zeros(2, 8, device="meta")
    # Six blocks are called, two linear layers in them nine times; then the head and the network itself.
    assert ran(model, x) == (6 + 2 * 9 + 2, 2 * 4)


def test_blocks_that_differ_run() -> None:
    model, x = stack(9, 7, 9, 7, 7, 9, 8), torch.zeros(2, 8, device="meta")
    found = {layer.name: layer.macs for layer in discover(model, x)}
    assert [found[f"blocks.{i}.inner"] for i in range(7)] == [64 * times for times in (9, 7, 9, 7, 7, 9, 8)]
    assert ran(model, x)[1] == 2 * 2


def test_only_a_named_position_is_no_difference() -> None:
    x = torch.zeros(2, 8, device="meta")
    assert ran(stack(0, 1, 2, 3), x)[1] == 0
    model = stack(9, 9, 9, 9)
    for number, each in enumerate(model.blocks):
        vars(each)["layer_idx"] = number
    assert ran(model, x)[1] == 2 * 2
    vars(model.blocks[3])["layer_idx"] = 7
    assert ran(model, x)[1] == 1 * 2


def test_shared_weights_run() -> None:
    model, x = stack(9, 9, 9, 9), torch.zeros(2, 8, device="meta")
    shared = model.blocks[0].inner
    for each in model.blocks:
        each.inner = shared
    assert ran(model, x)[1] == 0


def test_networks_with_numbers_run_as_ever() -> None:
    assert ran(Stack(*[Block() for _ in range(4)]).eval(), torch.zeros(2, 8))[1] == 0


def test_the_network_is_given_back() -> None:
    model = stack(9, 9, 9, 9)

    def fail(*_: object) -> None:
        raise ZeroDivisionError("on purpose")

    model.head.register_forward_hook(fail)
    before = [dict(vars(each)) for each in model.modules()]
    with sparing(model), pytest.raises(ZeroDivisionError, match="on purpose"):
        model(torch.zeros(2, 8, device="meta"))
    assert [dict(vars(each)) for each in model.modules()] == before
