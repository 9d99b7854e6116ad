"""Puts a network under a policy: makes a copy with weights and activations rounded to what the formats can store."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..errors import InvalidInput, unknown
from ..formats.cache_formats import cache_scheme
from ..formats.capabilities import capability
from ..formats.format import FLOAT
from ..formats.storage import packed_bytes
from ..layers import Layer
from ..network.checkpoints.plain_names import unwrapped
from ..network.weight_uses import MIXTURES, uses_in
from ..policy.policy import Policy
from ..rounding.bank import check_rounder
from ..rounding.chosen_weights import check_bank
from ..rounding.inputs import InputRounding
from ..rounding.weights import quantize
from .caches import hold_caches

if TYPE_CHECKING:
    from torch import Tensor

    from ..formats.format import Format
    from ..formats.ranges import ActivationRanges
    from ..rounding.bank import WeightBank

Place = tuple[int, tuple[int, ...], tuple[int, ...]]


def apply(
    model: nn.Module,
    policy: Policy,
    ranges: ActivationRanges | None = None,
    *,
    bank: WeightBank | None = None,
    other_rounder: bool = False,
) -> nn.Module:
    """Make a fake-quantised copy of a network.

    Weights are rounded to what the formats can store and kept in their own floating-point type. Where a format stores
    activations, a hook rounds the layer's input before every call; the whole numbers that an embedding takes are not
    rounded. Biases, outputs and everything that the policy does not name stay as they are.

    Parameters
    ----------
    model
        The network; it is untouched.
    policy
        One format for each layer it names. Modules that share a weight are rounded once and go on sharing it, whichever
        of them the policy names.
    ranges
        The ranges of the layers' inputs, such as `calibrate_ranges` gives; by default those of the policy.
    bank
        The weights in every format, such as `round_weights` makes; by default they are rounded to nearest.
    other_rounder
        Whether the policy may come from a table of another rounder, whose prediction then does not hold.

    Returns
    -------
    model
        A deep copy, each module in the mode (training or eval) of the original's.

    Raises
    ------
    InvalidInput
        When the policy names a layer that the network does not have or that cannot be quantised, gives two formats to
        one weight, or holds a format without a quantizer; when a range that a format needs is not known; or when the
        bank is another network's, lacks a format, or comes from another rounder than the policy's table.
    """
    return Simulator(model, bank, other_rounder=other_rounder).apply(policy, ranges)


def check_policy(policy: object) -> None:
    """Refuse what is no policy; raises InvalidInput."""
    if not isinstance(policy, Policy):
        raise InvalidInput(
            f"policy is a {type(policy).__name__}: give a Policy, such as the .policy of what allocate() returned, "
            "or Policy.load(path)"
        )


class Simulator:
    """Puts one network under many policies; each weight is rounded to each format only once.

    Rounding costs more than copying, so a search that tries many policies keeps one simulator. It holds what it has
    rounded: as many copies of a weight as formats were asked for. The model must not change meanwhile.

    Parameters
    ----------
    model
        The network; it is untouched.
    bank
        The weights in every format; by default they are rounded to nearest.
    other_rounder
        Whether policies may come from a table of another rounder.

    Attributes
    ----------
    bank
        The bank, or None.
    """

    def __init__(self, model: nn.Module, bank: WeightBank | None = None, *, other_rounder: bool = False) -> None:
        model = unwrapped(model)
        self._model = model
        check_bank(bank)
        self.bank = bank
        self._other_rounder = other_rounder
        self._checked: set[str] = set()
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._uses = uses_in(model)
        self._rounded: dict[tuple[str, Format], Tensor] = {}

    def apply(self, policy: Policy, ranges: ActivationRanges | None = None) -> nn.Module:
        """Make a fake-quantised copy of the network, see `apply`."""
        check_policy(policy)
        self.check_rounder("the policy", policy.rounder)
        made = copy.deepcopy(self._model)
        ranges = policy.ranges if ranges is None else ranges
        copied = uses_in(made)
        users = self._users()
        with torch.no_grad():
            rounded: set[nn.Module] = set()
            for name, entry in self._distinct(policy).items():
                weight = copied[name].weight
                weight.copy_(self.rounded(name, entry))
                # A deep copy keeps a shared parameter shared, but not two parameters that lie in the same memory.
                for user in users[self._place(name)]:
                    copied[user].module.register_parameter(copied[user].attribute, weight)
                    if copied[user].module not in rounded:  # one module may have several names
                        self._round_input(copied[user].module, user, entry, ranges)
                        rounded.add(copied[user].module)
        hold_caches(made, policy)
        return made

    def check_rounder(self, what: str, rounder: str) -> None:
        """Refuse what was predicted with another rounder than this network's weights have; raises InvalidInput."""
        check_rounder(what, rounder, self.bank, self._other_rounder)

    def _round_input(self, module: nn.Module, name: str, entry: Format, ranges: ActivationRanges | None) -> None:
        if entry.activation_scheme is None or isinstance(module, nn.Embedding):
            return
        if self._uses[name].kind in MIXTURES:
            raise InvalidInput(
                f"layer {name!r} holds experts, whose inputs are not all seen from outside, and cannot take "
                f"{entry.name!r}: give it a format of weights, such as {entry.weights_only.name!r}"
            )
        if not entry.activation_scheme.calibrated:
            rounding = InputRounding(entry.activation_scheme)
        elif ranges is None:
            raise InvalidInput(
                f"the policy stores the input of layer {name!r} in {entry.name!r}, but has no range for it: give "
                "apply(..., ranges=calibrate_ranges(model, batches, formats)), or make the policy from a table that "
                "measure made"
            )
        else:
            rounding = InputRounding(entry.activation_scheme, *ranges.of(name, entry.activation_scheme))
        module.register_forward_pre_hook(rounding, with_kwargs=True)

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
            When the network has no layer of that name, or it has no weight that can be quantised.
        """
        if name not in self._uses:
            if name not in self._modules:
                words = "a policy or table of another network does not fit: measure this one, and solve again"
                raise InvalidInput(f"{unknown('layer', name, self._uses)}; {words}")
            raise InvalidInput(
                f"layer {name!r} is a {type(self._modules[name]).__name__}, which cannot be quantised: take it out of "
                "the policy"
            )
        use = self._uses[name]
        return Layer(name, use.kind, tuple(use.weight.shape), use.channels, macs=0)

    def weight(self, name: str) -> nn.Parameter:
        """The float weight of a layer; raises KeyError where the network has none of that name."""
        return self._uses[name].weight

    def rounded(self, name: str, entry: Format) -> Tensor:
        """The weight of a layer in a format; raises InvalidInput where `layer`, the quantizer or the bank does."""
        stored = entry.weights_only
        bank = self.bank if stored != FLOAT else None
        key = (name, stored if bank is None else entry)
        if key not in self._rounded:
            weight = self.weight(name).detach()
            if bank is None:
                self._rounded[key] = quantize(weight, stored, self.layer(name))
            else:
                if name not in self._checked:
                    bank.check(self._model, [name])
                    self._checked.add(name)
                self._rounded[key] = bank.weight(name, entry, weight.dtype).to(weight.device)
        return self._rounded[key]

    def weight_bytes(self, policy: Policy) -> int:
        """Bytes of the policy's weights, scales counted, rounded up per weight; a shared weight counts once.

        They are as the policy's export target stores them, where it has one.
        """
        stored = capability(policy.target).stored_bytes if policy.target else packed_bytes
        return sum(stored(self.layer(name), entry) for name, entry in self._distinct(policy).items())

    def stored_bits(self, policy: Policy) -> int:
        """Bits of the policy's weights, scales counted, before any rounding; a target stores whole bytes."""
        if policy.target:
            return 8 * self.weight_bytes(policy)
        return sum(entry.storage_bits(self.layer(name)) for name, entry in self._distinct(policy).items())

    def float_bytes(self, policy: Policy) -> int:
        """Bytes of the same weights as the network has them."""
        return sum(weight.numel() * weight.element_size() for weight in map(self.weight, self._distinct(policy)))

    def _distinct(self, policy: Policy) -> dict[str, Format]:
        """The policy without the layers whose weight an earlier one already stands for."""
        first: dict[Place, str] = {}
        kept: dict[str, Format] = {}
        for at, (name, entry) in enumerate(zip(policy.layer_names, policy.formats, strict=True)):
            if cache_scheme(entry) is not None:
                continue
            bits = entry.storage_bits(self.layer(name))
            if policy.layer_bits and policy.layer_bits[at] != bits:
                raise InvalidInput(
                    f"layer {name!r} takes {bits:,} bits in {entry.name} here, but {policy.layer_bits[at]:,} in the "
                    "policy: it was made for another network; measure this one, and solve again"
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
        for name in (name for name, use in self._uses.items() if not use.obstacle):
            users.setdefault(self._place(name), []).append(name)
        return users

    def _place(self, name: str) -> Place:
        """Equal for two layers exactly if their weights are the same numbers in memory."""
        weight = self.weight(name)
        return weight.data_ptr(), tuple(weight.shape), weight.stride()
