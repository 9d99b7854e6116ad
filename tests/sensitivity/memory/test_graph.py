from __future__ import annotations

import torch
from torch import Tensor, nn

from mckp_quant.network.batches import as_batch
from mckp_quant.network.blocks.finding import find_blocks
from mckp_quant.sensitivity.memory.graph import graph_of


class Choosy(nn.Module):
    """Looks at its numbers, which a copy without any does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.ran: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.ran.append(len(x))
        if float(x.sum()) > 1e9:
            return x
        out: Tensor = torch.tanh(self.inner(x))
        return out


def test_a_network_that_looks_at_numbers_runs_on_one_sample_and_is_counted_for_all() -> None:
    model, inputs = Choosy(), torch.zeros(8, 6)
    found = graph_of(model, as_batch(inputs), None, {})
    assert set(model.ran) == {1}
    row = 4 * 8 * 6
    assert (found.whole, found.logits, found.flops) == (2 * row, row, 2 * 8 * 36)


def test_a_network_that_does_not_is_never_run() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

        def forward(self, x: Tensor) -> Tensor:
            assert x.is_meta or len(x) == 1
            out: Tensor = self.layers(x.to(next(self.parameters()).device))
            return out

    model = Counting()
    found = graph_of(model, as_batch(torch.zeros(8, 6)), None, find_blocks(model, as_batch(torch.zeros(8, 6))).modules)
    assert found.whole == 2 * 4 * 8 * 6
    assert found.blocks == ()
    assert not any(parameter.is_meta for parameter in model.parameters())
