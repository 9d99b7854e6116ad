"""Blocks: the nearest module that holds several layers and is called once; else none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mckp_quant.network.batches import as_batches
from mckp_quant.network.discovery import discover
from mckp_quant.rounding.blocks import BlockRun, Blocks


class Pair(nn.Module):
    def __init__(self, d: int = 6) -> None:
        super().__init__()
        self.wrapped, self.down = nn.Sequential(nn.Linear(d, d)), nn.Linear(d, d)

    def forward(self, x: Tensor, *, by: Tensor) -> tuple[Tensor, Tensor]:
        y = self.down(self.wrapped(x).relu_()) * by
        return x + y, y


class Net(nn.Module):
    """A block in a stage, one that is called twice, one that draws random numbers, and a weight in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 6)
        self.stage = nn.ModuleList([Pair(), Pair()])
        self.twice, self.random, self.tied = Pair(), Pair(), Pair()
        self.tied.down.weight = self.stem.weight
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        x, by = self.stem(x), torch.tensor(0.5)
        for pair in self.stage:
            x, _ = pair(x, by=by)
        x, _ = self.twice(self.twice(x, by=by)[0], by=by)
        x, _ = self.tied(x, by=by)
        x.mul_(2)  # what the blocks gave before must not change with it
        return x


class Restless(nn.Module):
    """Gives something else at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.calls = nn.Linear(6, 6), nn.Linear(6, 6), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        made: Tensor = self.outer(self.inner(x)) * self.calls
        return made


def found(model: nn.Module, count: int = 40) -> dict[str, BlockRun | None]:
    data = list(as_batches([torch.randn(count, 6, generator=torch.Generator().manual_seed(1))]))
    layers, blocks = discover(model, data[0]), Blocks(model, data)
    return {layer.name: blocks.of(layer) for layer in layers}


def test_blocks_are_found_by_structure_and_running() -> None:
    torch.manual_seed(0)
    by_layer = found(Net().eval())
    names = {name: None if run is None else (run.name, run.parameter) for name, run in by_layer.items()}
    assert names == {
        "stem": None,
        "stage.0.wrapped.0": ("stage.0", "wrapped.0.weight"),
        "stage.0.down": ("stage.0", "down.weight"),
        "stage.1.wrapped.0": ("stage.1", "wrapped.0.weight"),
        "stage.1.down": ("stage.1", "down.weight"),
        "twice.wrapped.0": None,
        "twice.down": None,
        "random.wrapped.0": None,
        "random.down": None,
        "tied.wrapped.0": ("tied", "wrapped.0.weight"),
    }


def test_the_error_is_that_of_the_blocks_output_and_has_a_gradient() -> None:
    torch.manual_seed(0)
    run = found(Net().eval())["stage.1.down"]
    assert run is not None
    assert len(run.calls) == 3
    weight = run.module.get_parameter(run.parameter)
    assert float(run.error(weight, 1)) == 0
    other = (weight + 0.1).requires_grad_()
    (args, kwargs), off = run.calls[1], 0.0
    hidden = run.module.get_submodule("wrapped")(args[0]).relu()
    off = 2 * float((hidden @ (other - weight).T * kwargs["by"]).detach().square().sum())  # both outputs differ alike
    error = run.error(other, 1)
    error.backward()
    assert abs(float(error.detach()) - off) <= 1e-4 * off
    assert other.grad is not None
    assert all(each.grad is None for each in run.module.parameters())


def test_a_block_that_does_not_repeat_itself_is_none() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Restless(), nn.Linear(6, 2)).eval()
    assert set(found(model).values()) == {None}


def test_few_samples_are_kept() -> None:
    torch.manual_seed(0)
    run = found(Net().eval(), 1000)["stage.0.down"]
    assert run is not None
    assert sum(len(args[0]) for args, _ in run.calls) == 256
