"""Runs a network and sums what every layer multiplies its weight with: the Gram matrices that rounders need."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...errors import InvalidInput
from ...network.batches import as_batches, call, evaluating
from ...network.weight_uses import MIXTURES, uses_in
from ..inputs import has_tokens
from ..rounder import InputStatistics
from .watching import Watch, counted, mask_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ...layers import Layer
    from ...network.weight_uses import WeightUse
    from ..inputs import InputRounding
    from .watching import Use

_BLOCK = 192  # columns of a block of a Gram matrix
MEMORY = 2_000_000_000  # bytes that the matrices of all layers of a wave may take together
# An embedding that shares its weight with a head: its rows are given out as they are, so errors of the weight count
# too. With 0 the embedding suffers as from codes of one bit less, and with 1 the head from two thirds more error; from
# 0.1 to 0.3 a small language model had the least divergence. At three and four bits its embedding had no more than
# nearest's by 6 %; at two bits the embedding alone is 28 % worse than nearest, and head and embedding together better.
LOOKUPS = 0.3
_FLOAT64 = 8  # bytes
FLOAT_INPUT = ""  # the name under which the statistics of inputs that stay float are kept


class GramSums:
    """Sums of products of rows, for every layer and way of storing its input."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        self._last: tuple[Tensor, object] | None = None
        self._made: dict[InputRounding | None, tuple[Tensor, int]] = {}

    def add(self, use: Use, scheme: str, rounding: InputRounding | None, of_tokens: bool, groups: int) -> None:
        """Add the rows of one call, with its input rounded where that is given; `groups` counts experts.

        Layers one after another that see the same input, as queries, keys and values do, have their product made once.
        """
        seen = use.inputs
        key = (
            (seen.data_ptr(), seen.shape, seen.stride(), seen._version),
            (use.function, use.weight.shape[2:], repr(use.options), of_tokens),
        )
        if self._last is None or self._last[1] != key:
            # The input is held, so that no other takes its place in memory and looks like it.
            self._last, self._made = (seen, key), {}
        if rounding not in self._made:
            inputs = None if rounding is None else rounding.round(seen, of_tokens=of_tokens)
            self._made[rounding] = _product(use, inputs)
        own, rows = self._made[rounding]
        gram, count = self._sums.get((use.layer, scheme), (None, None))
        if gram is None or count is None:
            whole = max(groups, len(own))
            gram = own.new_zeros(whole, *own.shape[1:])
            count = own.new_zeros(whole)
            self._sums[use.layer, scheme] = gram, count
        at = slice(use.group, use.group + len(own))
        gram[at] += own
        count[at] += rows

    def statistics(self) -> dict[tuple[str, str], InputStatistics]:
        """From layer and scheme to the sums; layers that no input reached are not there."""
        return {key: InputStatistics(gram, count) for key, (gram, count) in self._sums.items()}


def _product(use: Use, inputs: Tensor | None) -> tuple[Tensor, int]:
    """The sum over the rows of a call, ``(groups, n, n)`` float64, and how many they are; refuses nan."""
    total: Tensor | None = None
    count = 0
    for rows in use.rows(inputs):
        own = _gram(rows)
        total = own if total is None else total.add_(own)
        count += rows.shape[1]
    assert total is not None  # there is a piece, be it empty
    if not bool(torch.isfinite(total.diagonal(dim1=1, dim2=2)).all()):
        raise InvalidInput(
            f"the input of layer {use.layer!r} holds nan or infinite numbers: check the network's inputs"
        )
    return total, count


def _gram(rows: Tensor) -> Tensor:
    """``X'X`` of ``(groups, rows, n)``, float64: block by block above the diagonal, and its mirror below."""
    columns = rows.shape[2]
    gram = rows.new_empty(rows.shape[0], columns, columns, dtype=torch.float64)
    for begin in range(0, columns, _BLOCK):
        end = min(begin + _BLOCK, columns)
        own = torch.bmm(rows[:, :, begin:end].transpose(1, 2), rows[:, :, begin:])
        gram[:, begin:end, begin:] = own
        gram[:, end:, begin:end] = own[:, :, end - begin :].transpose(1, 2)
    return gram


def gather_statistics(
    model: nn.Module,
    batches: Iterable[object],
    layers: Sequence[Layer],
    roundings: Mapping[str, Mapping[str, InputRounding]] | None = None,
) -> dict[tuple[str, str], InputStatistics]:
    """Run a network on data and sum, for every layer, the products of what its weight is multiplied with.

    Parameters
    ----------
    model
        The network; it runs in eval mode and is given back as it was.
    batches
        As for `measure`; targets are not used, and positions that an ``attention_mask`` hides do not count.
    layers
        The layers.
    roundings
        For names of activation schemes and of layers what rounds the layer's input: then the sums are of rounded
        inputs, beside those of the inputs as they are.

    Returns
    -------
    statistics
        By the layer's name and that of the scheme, `FLOAT_INPUT` for inputs that stay float. A layer that is never
        multiplied, such as an embedding that only looks up, is not there. Where an embedding shares its weight with a
        layer that multiplies it, `LOOKUPS` of the mean diagonal entry is added to the diagonal.

    Raises
    ------
    InvalidInput
        When the model fails on a batch, or the input of a layer holds nan.
    """
    sums = GramSums()
    uses = uses_in(model)
    experts = {layer.name: layer.shape[0] if layer.kind in MIXTURES else 1 for layer in layers}
    mask: Tensor | None = None

    def see(use: Use) -> None:
        kept, of_tokens = counted(use, mask), has_tokens(uses[use.layer].module)
        sums.add(kept, FLOAT_INPUT, None, of_tokens, experts[use.layer])
        for scheme, own in (roundings or {}).items():
            if use.layer in own:
                sums.add(kept, scheme, own[use.layer], of_tokens, experts[use.layer])

    with evaluating(model), torch.no_grad(), Watch(model, layers, see):
        for batch in as_batches(batches, model):
            mask = mask_of(batch)
            call(model, batch)
    by_name = {layer.name: layer for layer in layers}
    return {key: for_lookups(each, by_name[key[0]], uses) for key, each in sums.statistics().items()}


def statistics_in_waves(
    model: nn.Module,
    batches: Sequence[object],
    layers: Sequence[Layer],
    roundings: Mapping[str, Mapping[str, InputRounding]],
    limit: int | None = None,
) -> Iterator[tuple[list[Layer], dict[tuple[str, str], InputStatistics]]]:
    """Gather statistics for some layers at a time, so that their matrices never take more than a limit.

    Parameters
    ----------
    model, batches, layers, roundings
        As for `gather_statistics`; the network runs over all batches once for every wave.
    limit
        In bytes; None for `MEMORY`, or what the largest layer takes where that is more.

    Yields
    ------
    wave
        Layers in their order, and their statistics.

    Raises
    ------
    InvalidInput
        When one layer alone takes more than the limit; else as `gather_statistics` does.
    """
    uses = uses_in(model)
    sizes = [gram_bytes(layer, uses, roundings) for layer in layers]
    largest = max(sizes, default=0)
    if limit is not None and largest > limit:
        raise InvalidInput(
            f"the sums of inputs of layer {layers[sizes.index(largest)].name!r} take {largest:,} bytes, more than "
            f"memory_limit = {limit:,}: allow as much, or leave the layer out by naming the others with layers="
        )
    allowed = max(MEMORY, largest) if limit is None else limit
    wave: list[Layer] = []
    taken = 0
    for layer, size in zip(layers, sizes, strict=True):
        if wave and taken + size > allowed:
            yield wave, gather_statistics(model, batches, wave, roundings)
            wave, taken = [], 0
        wave.append(layer)
        taken += size
    if wave:
        yield wave, gather_statistics(model, batches, wave, roundings)


def gram_bytes(
    layer: Layer, uses: Mapping[str, WeightUse], roundings: Mapping[str, Mapping[str, InputRounding]]
) -> int:
    """The bytes that the statistics of a layer take."""
    multiplied = [uses[name].module for name in (layer.name, *layer.ties)]
    if all(isinstance(module, nn.Embedding) for module in multiplied):
        return 0
    groups = layer.shape[0] if layer.kind in MIXTURES else int(getattr(multiplied[0], "groups", 1))
    ways = 1 + sum(layer.name in own for own in roundings.values())
    return _FLOAT64 * ways * groups * layer.row**2


def for_lookups(statistics: InputStatistics, layer: Layer, uses: Mapping[str, WeightUse]) -> InputStatistics:
    """Add `LOOKUPS` where an embedding gives the rows of a head's weight out as they are; the same for other layers."""
    if not any(isinstance(uses[name].module, nn.Embedding) for name in (layer.name, *layer.ties)):
        return statistics
    gram, cross = statistics.gram, statistics.cross
    amount = LOOKUPS * gram.diagonal(dim1=1, dim2=2).mean(dim=1, keepdim=True)
    added = torch.diag_embed(amount.expand(-1, gram.shape[1]))
    # What is looked up is to be the float weight, whatever the inputs of the head are.
    return dataclasses.replace(statistics, gram=gram + added, cross=None if cross is None else cross + added)
