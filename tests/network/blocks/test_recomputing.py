from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mckp_quant.network.blocks.recomputing import Recomputing


class Pair(nn.Module):
    """A block with two inputs and several outputs, one of whole numbers, one of none."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor, *, shared: Tensor) -> tuple[Tensor, dict[str, object]]:
        out = torch.tanh(self.inner(x)) * shared + x
        return out, {"side": out.square().sum(dim=1), "index": out.argmax(dim=1), "name": "pair"}


class Net(nn.Module):
    """Blocks that share an input, whose gradient comes from all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([Pair(), Pair(), Pair()])

    def forward(self, x: Tensor) -> Tensor:
        x = shared = self.first(x)
        total = torch.zeros(())
        for block in self.blocks:
            x, more = block(x, shared=shared)
            assert more["name"] == "pair"
            assert more["index"].shape == (len(x),)
            total = total + more["side"].sum()
        return x.sum() + total


def network() -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    return Net(), torch.randn(5, 3)


def gradients(model: Net, inputs: Tensor, held: Recomputing, names: list[str]) -> list[Tensor]:
    seen: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
        if name in names:
            parameter.register_hook(lambda gradient, name=name: seen.__setitem__(name, gradient))
    with held.running():
        loss = model(inputs)
    torch.autograd.grad(loss, [*held.roots, *(model.get_parameter(name) for name in names)], allow_unused=True)
    return [seen[name] for name in names]


@pytest.mark.parametrize("names", [["first.weight", "blocks.1.inner.weight"], ["blocks.0.inner.bias"]])
def test_gradients_are_those_of_the_whole_graph(names: list[str]) -> None:
    model, inputs = network()
    held = Recomputing(list(model.blocks))
    with held.attached():
        found = gradients(model, inputs, held, names)
    model, inputs = network()
    expected = gradients(model, inputs, Recomputing([]), names)
    for own, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(own, whole, rtol=1e-6, atol=0)


def test_of_blocks_nothing_is_kept_but_their_inputs() -> None:
    model, inputs = network()
    held = Recomputing(list(model.blocks))
    kept: list[tuple[int, ...]] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    with held.attached(), held.running(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(inputs)
    # Twice the inputs of three blocks, and those of the first layer.
    assert kept.count((5, 4)) == 6
    assert len(kept) <= 3 * 3 + 2


def test_a_block_is_run_as_it_is_when_nothing_asks_for_gradients_and_given_back_afterwards() -> None:
    model, inputs = network()
    held = Recomputing(list(model.blocks))
    expected = model(inputs)
    with held.attached():
        with torch.no_grad(), held.running():
            assert torch.equal(model(inputs), expected)
            assert not held.first
        assert torch.equal(model(inputs), expected)
    assert not any("forward" in block.__dict__ for block in model.blocks)


def test_an_input_that_was_changed_since_is_refused() -> None:
    model, inputs = network()
    held = Recomputing(list(model.blocks))
    with held.attached(), held.running():
        x = model.first(inputs)
        made, _ = model.blocks[0](x, shared=x)
        x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(made.sum(), held.roots, allow_unused=True)
