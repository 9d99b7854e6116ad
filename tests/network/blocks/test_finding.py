from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mckp_quant.network.batches import as_batch
from mckp_quant.network.blocks.finding import find_blocks, without_cache

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A block: a layer, and what it was given."""

    def __init__(self, kind: str = "") -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.kind = kind
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor | None:
        self.runs += 1
        if self.kind == "in place":
            return x.add_(self.inner(x))
        out: Tensor = x + self.inner(x)
        if self.kind == "random":
            return out + torch.randn(())
        if self.kind == "counting":
            return out + self.runs
        return None if self.kind == "silent" else out


class Stack(nn.Module):
    """A list of blocks, called in some order, and a head."""

    def __init__(self, *kinds: str, order: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(map(Residual, kinds))
        self.head = nn.Linear(4, 2)
        self.order = range(len(kinds)) if order is None else order

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0
        for at in self.order:
            made = self.blocks[at](x)
            x = x if made is None else made
        out: Tensor = self.head(x)
        return out


def test_blocks_are_the_members_of_the_outermost_lists_in_the_order_in_which_they_run() -> None:
    found = find_blocks(Stack("", "", ""), as_batch(X))
    assert list(found.modules) == ["blocks.0", "blocks.1", "blocks.2"]
    assert not found.why
    nested = nn.Sequential(Stack("", ""), nn.Linear(2, 4), Stack("", "", ""))
    assert list(find_blocks(nested, as_batch(X)).modules) == ["0", "2"]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), "it has no ModuleList or Sequential with two members"),
        (Stack("", "", order=(1, 0)), "the members of 'blocks' are not called in their order"),
        (Stack("", "", order=(0, 1, 1)), "the members of 'blocks' are not called exactly once each"),
        (Stack("", "in place"), "the members of 'blocks' change what they are given"),
        (Stack("", "random"), "the members of 'blocks' give something else when they run again"),
        (Stack("counting", ""), "the members of 'blocks' give something else when they run again"),
        (Stack("", "silent"), "the members of 'blocks' take or give no tensors of numbers"),
    ],
)
def test_what_cannot_be_run_again_by_itself_is_no_block(model: nn.Module, why: str) -> None:
    found = find_blocks(model, as_batch(X))
    assert not found.modules
    assert why in found.why


def test_inner_lists_are_taken_where_outer_ones_do_not_fit() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stacks = nn.ModuleList([Stack("", ""), Stack("", "")])
            self.join = nn.Linear(2, 4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.stacks[0](self.join(self.stacks[1](x)))
            return out

    found = list(find_blocks(Backwards(), as_batch(X)).modules)
    assert found == ["stacks.1.blocks.0", "stacks.1.blocks.1", "stacks.0.blocks.0", "stacks.0.blocks.1"]


def test_the_model_is_given_back_as_it_was_and_needs_no_numbers() -> None:
    model = Stack("", "").train()
    before = torch.get_rng_state()
    find_blocks(model, as_batch(X))
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())
    assert len(find_blocks(Stack("", "").to("meta"), as_batch(X)).modules) == 2


def test_the_cache_of_keys_and_values_is_off_meanwhile() -> None:
    class Config:
        use_cache = True

    model = Stack("", "")
    config = model.config = Config()  # type: ignore[assignment]
    with without_cache(model):
        assert config.use_cache is False
    assert config.use_cache is True
