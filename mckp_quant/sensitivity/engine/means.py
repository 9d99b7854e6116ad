"""Takes out of products with output gradients what a bias would take out: the mean of each output channel's change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from .contract import mean_outputs, summed_over_positions

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(eq=False)
class _Sums:
    gradient: Tensor  # (samples, channels), over positions and calls
    change: Tensor  # (n_formats, channels): the mean change of every call, times its rows
    rows: int


@dataclass(eq=False)
class MeanChanges:
    """What is known, during one backward pass, of the mean changes of layers' outputs.

    A module has one bias for all of its calls, so calls are put together; modules that share a weight have one each.
    """

    found: dict[tuple[int, nn.Module], _Sums] = field(default_factory=dict)

    def add(
        self, row: int, module: nn.Module, inputs: Tensor, gradient: Tensor, directions: Tensor, samples: int
    ) -> None:
        """Add one call of a module of a layer; arguments as for `per_sample_products`. Embeddings have no bias."""
        if isinstance(module, nn.Embedding):
            return
        gradient = gradient.to(directions.dtype)
        mean = mean_outputs(module, inputs, gradient, directions)
        rows = gradient.numel() // mean.shape[1]
        change = mean * rows
        summed = summed_over_positions(module, gradient, samples)
        before = self.found.get((row, module))
        if before is not None:
            summed, change, rows = before.gradient + summed, before.change + change, before.rows + rows
        self.found[row, module] = _Sums(summed, change, rows)

    def without(self, products: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The products of layers, ``(samples, n_formats)``, when every module's mean change is taken away."""
        left = dict(products)
        for (row, _), sums in self.found.items():
            taken = sums.gradient @ (sums.change / sums.rows).T
            left[row] = left[row] - taken.to(left[row])
        return left
