"""Puts a network under a policy: a copy whose weights are rounded to what the policy's formats can store."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .discovery import is_layer, kind_of, weight_of
from .errors import InvalidInput, unknown
from .layers import Layer
from .quantizers import quantize

if TYPE_CHECKING:
    from torch import nn

    from .formats import Format
    from .policy import Policy


def apply(model: nn.Module, policy: Policy) -> nn.Module:
    """Make a fake-quantised copy of a network.

    Weights are rounded to what the formats can store and kept in their own floating-point type; activations, biases
    and everything that the policy does not name stay as they are.

    Parameters
    ----------
    model
        The network; it is untouched.
    policy
        One format for each layer it names. Modules that share a weight are rounded once and go on sharing it, whichever
        of them the policy names.

    Returns
    -------
    model
        A deep copy, each module in the mode (training or eval) of the original's.

    Raises
    ------
    InvalidInput
        When the policy names a layer that the network does not have or that cannot be quantised, gives two formats to
        one weight, or holds a format without a quantizer.
    """
    return Simulator(model).apply(policy)


class Simulator:
    """Puts one network under many policies; each weight is rounded to each format only once.

    Rounding costs more than copying, so a search that tries many policies keeps one simulator. It holds what it has
    rounded: as many copies of a weight as formats were asked for. The model must not change meanwhile.

    Parameters
    ----------
    model
        The network; it is untouched.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._rounded: dict[tuple[str, Format], Tensor] = {}

    def apply(self, policy: Policy) -> nn.Module:
        """Make a fake-quantised copy of the network, see `apply`."""
        rounded = {name: self._round(self.layer(name), entry) for name, entry in self._distinct(policy).items()}
        made = copy.deepcopy(self._model)
        with torch.no_grad():
            for name, weight in rounded.items():
                # In place, because that is what keeps shared weights shared.
                weight_of(made.get_submodule(name)).copy_(weight)
        self._check_read_back(made, rounded)
        return made

    def layer(self, name: str) -> Layer:
        """The facts about one layer, without its operations and ties.

        Parameters
        ----------
        name
            The module's full name.

        Returns
        -------
        layer
            The facts, with ``macs = 0``.

        Raises
        ------
        InvalidInput
            When the network has no module of that name, or it has no weight that can be quantised.
        """
        if name not in self._modules:
            raise unknown("layer", name, [entry for entry, module in self._modules.items() if is_layer(module)])
        module = self._modules[name]
        if not is_layer(module):
            raise InvalidInput(
                f"layer {name!r} is a {type(module).__name__}, which cannot be quantised: take it out of the policy"
            )
        shape = tuple(weight_of(module).shape)
        channels = int(getattr(module, "out_channels", shape[0]))  # convolutions, transposed and grouped ones too
        return Layer(name, kind_of(module), shape, channels, macs=0)

    def weight_bytes(self, policy: Policy) -> int:
        """Bytes of the policy's weights, scales counted, rounded up per weight; a shared weight counts once."""
        return sum(entry.storage_bytes(self.layer(name)) for name, entry in self._distinct(policy).items())

    def float_bytes(self, policy: Policy) -> int:
        """Bytes of the same weights as the network has them."""
        return sum(weight.numel() * weight.element_size() for weight in map(self._weight, self._distinct(policy)))

    def _weight(self, name: str) -> nn.Parameter:
        return weight_of(self._modules[name])

    def _round(self, layer: Layer, entry: Format) -> Tensor:
        key = (layer.name, entry)
        if key not in self._rounded:
            self._rounded[key] = quantize(self._weight(layer.name), entry, layer)
        return self._rounded[key]

    def _distinct(self, policy: Policy) -> dict[str, Format]:
        """The policy without the layers whose weight an earlier one already stands for."""
        first: dict[int, str] = {}
        kept: dict[str, Format] = {}
        for name, entry in zip(policy.layers, policy.formats, strict=True):
            self.layer(name)
            other = first.setdefault(self._weight(name).data_ptr(), name)
            if kept.setdefault(other, entry) != entry:
                raise InvalidInput(
                    f"layers {other!r} and {name!r} share one weight, but the policy gives them the formats "
                    f"{kept[other].name!r} and {entry.name!r}: give both the same"
                )
        return kept

    def _check_read_back(self, made: nn.Module, rounded: dict[str, Tensor]) -> None:
        """The copy differs from the network in the policy's weights and nowhere else."""
        wanted = {self._weight(name).data_ptr(): weight for name, weight in rounded.items()}
        copies = made.state_dict()
        for key, before in self._model.state_dict().items():
            if isinstance(before, Tensor) and not _same(copies[key], wanted.get(before.data_ptr(), before)):
                raise InvalidInput(
                    f"rounding the policy's layers would change {key!r} too, which overlaps one of them in memory "
                    "without being the same weight: clone it"
                )


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors have the same shape and entries, nan where nan."""
    if first.shape != second.shape:
        return False
    return bool(((first == second) | ((first != first) & (second != second))).all())
