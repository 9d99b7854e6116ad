"""A network whose weights lie between two formats, differentiable in where."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..evaluation.simulation import Simulator
from ..network.batches import forward
from ..network.discovery import uses_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..network.batch import Batch
    from ..network.logits import Logits
    from ..network.weight_uses import WeightUse
    from ..rounding.bank import WeightBank
    from ..tables.table import SensitivityTable
    from .space import Space


class Interpolated:
    """A network in which every group of layers stands at a continuous rank.

    Parameters
    ----------
    model
        The float network; it is untouched.
    table
        Its layers.
    space
        The groups, and the formats of each by rank. All weights are held once in every format.
    bank
        The weights in every format; by default they are rounded to nearest.

    Raises
    ------
    InvalidInput
        When a format also quantises activations: there is nothing between two ranges; or when the bank lacks one.
    """

    def __init__(self, model: nn.Module, table: SensitivityTable, space: Space, bank: WeightBank | None = None) -> None:
        simulator = Simulator(model, bank)
        self._model = copy.deepcopy(model).eval().requires_grad_(False)
        uses = uses_of(self._model, table.layers)
        self._groups = space.groups
        self._stacks: dict[str, Tensor] = {}
        self._users: dict[str, list[WeightUse]] = {}
        for layer in table.layers:
            formats = space.formats(self._groups[layer.name])
            with_activations = [entry.name for entry in formats if entry.activation_bits is not None]
            if with_activations:
                raise InvalidInput(
                    f"format {with_activations[0]!r} quantises activations, which cannot be interpolated: search "
                    "weight formats"
                )
            self._stacks[layer.name] = torch.stack([simulator.rounded(layer.name, entry) for entry in formats])
            self._users[layer.name] = [uses[name] for name in (layer.name, *layer.ties)]
        for use in {use for some in self._users.values() for use in some}:
            delattr(use.module, use.attribute)  # a plain tensor takes the place, so that gradients flow through it

    def __call__(self, rank: Tensor, batch: Batch, take: Callable[..., object] | None = None) -> Logits:
        """The logits at these ranks.

        Parameters
        ----------
        rank
            ``(n_groups,)`` float64, each from 0 to the group's last rank; gradients flow to it.
        batch
            The inputs.
        take
            From what the model returns to its logits.

        Returns
        -------
        logits
            At whole ranks those of the quantised network itself.
        """
        for name, stack in self._stacks.items():
            weight = between(stack, rank[self._groups[name]])
            for use in self._users[name]:
                setattr(use.module, use.attribute, weight)
        return forward(self._model, batch, take)


def between(stack: Tensor, rank: Tensor) -> Tensor:
    """The entry of a stack at a continuous rank: linear between its neighbours, and exactly theirs at whole ranks.

    Parameters
    ----------
    stack
        ``(n, ...)`` floating point, finite.
    rank
        A scalar from 0 to n - 1, with or without gradient.

    Returns
    -------
    entry
        ``stack.shape[1:]``. Its slope at the last rank is that below it, so that descent can leave it.
    """
    if len(stack) == 1:
        return stack[0] + 0 * rank.to(stack.dtype)
    floor = min(int(rank.detach().floor()), len(stack) - 2)
    share = (rank - floor).to(stack.dtype)
    return (1 - share) * stack[floor] + share * stack[floor + 1]
