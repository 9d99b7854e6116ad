"""What every estimator is given, and what it gives back."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..network.blocks.finding import WHOLE, Blocks
from ..network.likelihood import SampleDraws, sample_seed
from ..network.weight_uses import MIXTURES

if TYPE_CHECKING:
    from ..layers import Layer
    from ..network.batch import Batch
    from ..network.likelihood import Draws, Likelihood
    from ..network.logits import Logits
    from .columns import Menu
    from .errors import Errors


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
    errors
        What each format adds to the weight, in memory or computed when it is needed.
    """

    layer: Layer
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]
    errors: Errors

    @property
    def perturbations(self) -> Tensor:
        """``(n_formats, *layer.shape)``, quantised minus float weight; float32 or float64.

        It may be computed for this call: use it and let it go, for one layer at a time.
        """
        return self.errors.whole()

    @property
    def columns(self) -> int:
        """How many formats there are."""
        return len(self.errors)

    @functools.cached_property
    def digest(self) -> bytes:
        """Equal for two layers of one network exactly if name, shape and what they are rounded to are."""
        content = hashlib.sha256(repr((self.layer.name, self.layer.shape)).encode())
        content.update(self.errors.text())
        return content.digest()


@dataclass(eq=False)
class State:
    """What an estimator carries from one batch to the next; with it a run can be taken up where it stopped.

    Attributes
    ----------
    generator
        Makes the random draws that are about weights.
    draws
        Makes those that are about samples: between batches the same generator, and while one is read a stream for every
        sample.
    per_batch
        Rows of layers that are known only as sums over a batch, see `Taps`.
    checked_samples
        On how many samples the hooks have been checked.
    """

    generator: torch.Generator
    per_batch: set[int] = field(default_factory=set)
    checked_samples: int = 0
    draws: Draws = field(init=False)

    def __post_init__(self) -> None:
        """Draw from one stream until a batch begins."""
        self.draws = self.generator

    def begin(self, seed: int, first: int, count: int) -> None:
        """Seed the draws for a batch of `count` samples, the first of which has the number `first` among all.

        What is drawn then depends on the seed and on these numbers only: not on what was read before, nor on who read
        it.
        """
        self.generator.manual_seed(sample_seed(seed, first))
        self.draws = SampleDraws.of(seed, first, count)


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be measured.

    The model is in eval mode and will be given back as it was. An estimator may set hooks, which it removes itself, and
    requires_grad.

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
    menu
        How the table's columns combine formats of weights, for which the layers' perturbations are, and of inputs;
        None where every column is a format of weights.
    blocks
        Blocks of the network of which nothing is to be kept but their inputs; none to keep the whole graph.
    state
        What is carried from batch to batch; the estimator changes it.
    """

    model: nn.Module
    weights: tuple[LayerWeight, ...]
    likelihood: Likelihood
    output: Callable[..., object] | None
    seed: int
    menu: Menu | None = None
    blocks: Blocks = WHOLE
    state: State = field(init=False)

    def __post_init__(self) -> None:
        """Seed the draws. Experts share rows of all samples, so only their sum over a batch is known."""
        experts = {row for row, weight in enumerate(self.weights) if weight.layer.kind in MIXTURES}
        object.__setattr__(self, "state", State(torch.Generator().manual_seed(self.seed), experts))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the table: ``(n_layers, n_formats)``."""
        return len(self.weights), self.weights[0].columns if self.menu is None else len(self.menu.columns)


@dataclass(frozen=True, eq=False)
class Reading:
    """What an estimator reads from one batch: sums over independent units, which are samples or the whole batch.

    Attributes
    ----------
    sums
        For each layer ``(n_units, n_formats)`` float64 on the CPU.
    sizes
        For each layer ``(n_units,)`` float64: how many samples each sum is over. The estimate is the total of the sums
        divided by the total of the sizes.
    unit
        Unit of the estimate.
    stderr
        ``(n_layers, n_formats)``: the standard error where this reading has one unit and no other follows; None where
        that cannot be known.
    surprise
        The mean loss in nats, or without targets the loss that the network itself expects: near zero on inputs that the
        network has memorised. nan where that means nothing.
    """

    sums: tuple[Tensor, ...]
    sizes: tuple[Tensor, ...]
    unit: str
    stderr: Tensor | None = None
    surprise: float = float("nan")
    measured: bool = False


Reader: TypeAlias = Callable[["Batch"], Reading]


def targets_of(batch: Batch, method: str) -> Logits:
    """Give the targets of a batch; raises InvalidInput where it has none."""
    if batch.targets is None:
        raise InvalidInput(
            f"batch {batch.index} has no targets, and method={method!r} needs them: give pairs (inputs, targets), or "
            "use method='gauss_newton', which needs none"
        )
    return batch.targets
