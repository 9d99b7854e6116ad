"""Puts a network under a policy: a copy whose weights are rounded to what the policy's formats can store."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from .discovery import is_layer, kind_of, weight_of
from .errors import InvalidInput, unknown
from .layers import Layer
from .quantizers import quantize

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .formats import Format
    from .policy import Policy

Place = tuple[int, tuple[int, ...], tuple[int, ...]]


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
        made = copy.deepcopy(self._model)
        users = self._users()
        with torch.no_grad():
            for name, entry in self._distinct(policy).items():
                weight = weight_of(made.get_submodule(name))
                weight.copy_(self._round(self.layer(name), entry))
                # A deep copy keeps a shared parameter shared, but not two parameters that lie in the same memory.
                for user in users[self._place(name)]:
                    made.get_submodule(user).register_parameter("weight", weight)
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
        first: dict[Place, str] = {}
        kept: dict[str, Format] = {}
        for at, (name, entry) in enumerate(zip(policy.layers, policy.formats, strict=True)):
            bits = entry.storage_bits(self.layer(name))
            if policy.layer_bits and policy.layer_bits[at] != bits:
                raise InvalidInput(
                    f"layer {name!r} takes {bits:,} bits in {entry.name} here, but {policy.layer_bits[at]:,} in the "
                    "policy: it was made for another network"
                )
            other = first.setdefault(self._place(name), name)
            if kept.setdefault(other, entry) != entry:
                raise InvalidInput(
                    f"layers {other!r} and {name!r} share one weight, but the policy gives them the formats "
                    f"{kept[other].name!r} and {entry.name!r}: give both the same"
                )
        return kept

    def _users(self) -> dict[Place, list[str]]:
        """The names of the modules that use each weight."""
        users: dict[Place, list[str]] = {}
        for name, module in self._modules.items():
            if is_layer(module):
                users.setdefault(self._place(name), []).append(name)
        return users

    def _place(self, name: str) -> Place:
        """Equal for two layers exactly if their weights are the same numbers in memory."""
        weight = self._weight(name)
        return weight.data_ptr(), tuple(weight.shape), weight.stride()
