"""What every estimator is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..batches import Batch
    from ..layers import Layer
    from .likelihood import Likelihood


@dataclass(frozen=True, eq=False)
class LayerWeight:
    """A layer in the network, and what each format would add to its weight.

    Attributes
    ----------
    layer
        The facts about it.
    modules
        The modules that use the weight: one, or several where it is tied.
    parameters
        The distinct parameters that hold the weight: one, unless ties share only their memory.
    perturbations
        ``(n_formats, *layer.shape)``, quantised minus float weight; float32 or float64.
    """

    layer: Layer
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]
    perturbations: Tensor


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be measured. The model is in eval mode and will be given back as it was: an estimator may set hooks
    (it removes them itself) and requires_grad.

    Attributes
    ----------
    model
        The network.
    weights
        The layers, in the order of the table's rows.
    likelihood
        What the logits mean.
    output
        From what the model returns to its logits, or None for the default.
    seed
        Seed of all random draws.
    probes
        Random probes per batch.
    """

    model: nn.Module
    weights: tuple[LayerWeight, ...]
    likelihood: Likelihood
    output: Callable[..., object] | None
    seed: int
    probes: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the table: ``(n_layers, n_formats)``."""
        return len(self.weights), self.weights[0].perturbations.shape[0]


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an estimator found: all tensors are float64 on the CPU.

    Attributes
    ----------
    loss
        ``(n_layers, n_formats)``: the mean of `contributions`, weighted with `sizes`.
    stderr
        ``(n_layers, n_formats)``; nan where it cannot be known.
    contributions
        ``(n_batches, n_layers, n_formats)``: the estimate from each batch.
    sizes
        ``(n_batches,)`` samples per batch.
    unit
        Unit of the loss.
    """

    loss: Tensor
    stderr: Tensor
    contributions: Tensor
    sizes: Tensor
    unit: str


Estimator: TypeAlias = Callable[[Task, Iterable["Batch"]], Estimate]


def rademacher(like: Tensor, generator: torch.Generator) -> Tensor:
    """Independent signs, +1 or -1 with equal probability, of the shape, dtype and device of `like`.

    Drawn on the CPU, so that a seed means the same on every device.
    """
    signs = torch.randint(0, 2, like.shape, generator=generator, dtype=torch.int8)
    return signs.mul_(2).sub_(1).to(device=like.device, dtype=like.dtype)
