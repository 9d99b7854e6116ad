"""Rounds the weights of one policy layer after layer, in the order in which they run, in one pass over the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..network.batches import call, evaluating
from ..network.weight_uses import MIXTURES, uses_in
from ..rounding.encoded import decode_weight
from ..rounding.inputs import has_tokens
from ..rounding.statistics import (
    FLOAT_INPUT,
    GramSums,
    Use,
    Watch,
    counted,
    for_lookups,
    gather_statistics,
    mask_of,
)
from .lockstep import Lockstep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from ..formats.format import Format
    from ..layers import Layer
    from ..network.batch import Batch
    from ..rounding.encoded import StoredWeight
    from ..rounding.inputs import InputRounding
    from ..rounding.rounder import InputStatistics, Rounder


@dataclass(frozen=True)
class Chosen:
    """A layer and the format that the policy gives it."""

    layer: Layer
    entry: Format


@dataclass(frozen=True, eq=False)
class Codes:
    """What a pass over the data made.

    Attributes
    ----------
    stored
        From the layer's name to its codes.
    unseen
        The layers that no input reached, in the order of the policy; their codes are those that the pass began with.
    partial
        The layers that some batches reached only after they were rounded: the network chooses its way by its input.
    """

    stored: Mapping[str, StoredWeight]
    unseen: tuple[str, ...]
    partial: tuple[str, ...]


def encode_on_float_inputs(
    model: nn.Module,
    data: Sequence[Batch],
    chosen: Sequence[Chosen],
    rounder: Rounder,
    roundings: Mapping[str, InputRounding],
) -> Codes:
    """Round every layer on the inputs of the float network, one Gram matrix in memory at a time.

    Parameters
    ----------
    model
        The float network; it is given back as it was.
    data
        The batches, all of which are under way at the same time.
    chosen
        The layers, with their formats.
    rounder
        The rounder.
    roundings
        What rounds the inputs of layers whose format stores them in few bits.

    Returns
    -------
    codes
        Of every layer.
    """
    uses = uses_in(model)

    def rounded(use: Use) -> Use:
        own = roundings.get(use.layer)
        if own is None:
            return use
        return use.of(own.round(use.inputs, of_tokens=has_tokens(uses[use.layer].module)))

    stored: dict[str, StoredWeight] = {}
    weights = {each.layer.name: uses[each.layer.name].weight.detach() for each in chosen}

    def encode(each: Chosen, seen: InputStatistics | None) -> None:
        (made,) = rounder.encode(weights[each.layer.name], each.layer, [each.entry.weights_only], seen)
        stored[each.layer.name] = made.compact(each.entry)

    walk = _Walk(model, None, data, chosen, encode, rounded)
    walk.run()
    experts = [each for each in chosen if each.layer.kind in MIXTURES]
    if experts:  # each expert sees other rows: they are summed over a whole pass
        sums = gather_statistics(model, data, [each.layer for each in experts])
        for each in experts:
            encode(each, sums.get((each.layer.name, FLOAT_INPUT)))
    unseen = [each for each in chosen if each.layer.name not in stored]
    for each in unseen:
        encode(each, None)
    return Codes(stored, tuple(each.layer.name for each in unseen), tuple(walk.partial))


def encode_in_order(
    model: nn.Module,
    data: Sequence[Batch],
    chosen: Sequence[Chosen],
    rounder: Rounder,
    floats: Mapping[str, Tensor],
    *,
    reference: nn.Module | None = None,
) -> Codes:
    """Round layer after layer, each on what it sees once those before it are rounded.

    All batches go through the network side by side, each up to the first use of a weight that is still float; there the
    rows of all of them are summed, the weight is rounded and replaced, and they go on. So it takes one forward pass
    (and one of the float network, where its outputs are to be reproduced), however deep the network is. A weight that
    is used several times is rounded at its first use, on the rows of that use. One that is also looked up, as that of a
    tied embedding, and those of experts, keep the codes that the pass begins with until, or instead.

    Parameters
    ----------
    model
        The network under the policy, with the codes to begin with; its weights are replaced. Its own hooks round the
        inputs.
    data
        The batches, all of which are under way at the same time: memory holds the activations of all of them that the
        rest of their passes needs.
    chosen
        The layers, with their formats.
    rounder
        The rounder.
    floats
        From the name of a layer to its float weight.
    reference
        The float network, if every layer is to give on its inputs what the float layer gives on the float network's.
        None to give what the float weight gives on the same inputs.

    Returns
    -------
    codes
        Of the layers that were rounded here; `unseen` has the others.
    """
    uses = uses_in(model)
    begun: dict[str, Tensor] = {}
    done: dict[str, StoredWeight] = {}

    def encode(each: Chosen, seen: InputStatistics | None) -> None:
        name = each.layer.name
        (made,) = rounder.encode(floats[name], each.layer, [each.entry.weights_only], seen)
        done[name] = made.compact(each.entry)
        weight = uses[name].weight
        weight.copy_(decode_weight(done[name], each.entry, each.layer, weight.dtype))

    redone = [each for each in chosen if each.layer.kind not in MIXTURES]
    walk = _Walk(model, reference, data, redone, encode)
    with torch.no_grad():
        for each in redone:
            name = each.layer.name
            if not any(isinstance(uses[user].module, nn.Embedding) for user in (name, *each.layer.ties)):
                begun[name] = uses[name].weight.detach().clone()
                uses[name].weight.copy_(floats[name])
        try:
            walk.run()
        finally:
            for name, weight in begun.items():
                if name not in done:
                    uses[name].weight.copy_(weight)
    unseen = tuple(each.layer.name for each in chosen if each.layer.name not in done)
    return Codes(done, unseen, tuple(walk.partial))


def _same(use: Use) -> Use:
    return use


@dataclass(eq=False)
class _Walk:
    """One pass of all batches, which stops at the first use of every layer's weight."""

    model: nn.Module
    reference: nn.Module | None
    data: Sequence[Batch]
    chosen: Sequence[Chosen]
    encode: Callable[[Chosen, InputStatistics | None], None]
    prepared: Callable[[Use], Use] = _same
    partial: dict[str, None] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Run; `encode` is called once for every layer that is reached."""
        networks = [self.model] if self.reference is None else [self.model, self.reference]
        passes = [self._pass(network, batch) for network in networks for batch in self.data]
        self._steps, self._uses = Lockstep(passes, self._meet), uses_in(self.model)
        with evaluating(self.model), evaluating(networks[-1]), torch.no_grad():
            self._steps.run()

    def _pass(self, network: nn.Module, batch: Batch) -> Callable[[], None]:
        passed: set[str] = set()
        mask = mask_of(batch)

        def see(use: Use) -> None:
            if use.layer in passed:
                return
            passed.add(use.layer)
            if use.layer not in self._done:
                self._steps.stop(use.layer, self.prepared(counted(use, mask)))
            elif network is self.model:
                self.partial[use.layer] = None

        layers = [each.layer for each in self.chosen if each.layer.kind not in MIXTURES]

        def run() -> None:
            with torch.no_grad(), Watch(network, layers, see):
                call(network, batch)

        return run

    def _meet(self, place: str, shown: dict[int, Any]) -> None:
        pairs = [(shown[at], shown.get(at + len(self.data))) for at in shown if at < len(self.data)]
        if not pairs:  # only the float network comes here
            return
        self._done.add(place)
        each = next(each for each in self.chosen if each.layer.name == place)
        self.encode(each, for_lookups(_sums(pairs), each.layer, self._uses))


def _sums(pairs: Sequence[tuple[Use, Use | None]]) -> InputStatistics:
    """Sums over the rows of calls; with their products with the float network's where all of those are known."""
    sums = GramSums()
    for use, _ in pairs:
        sums.add(use, FLOAT_INPUT, None, True, 1)
    (found,) = sums.statistics().values()
    cross = torch.zeros_like(found.gram)
    for use, other in pairs:
        if other is None or other.inputs.shape != use.inputs.shape:
            return found
        for rows, wanted in _rows(use, other):
            cross += torch.bmm(wanted.transpose(1, 2), rows).double()
    return type(found)(found.gram, found.rows, cross)


def _rows(use: Use, other: Use) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(use.rows(), other.rows(), strict=True)
