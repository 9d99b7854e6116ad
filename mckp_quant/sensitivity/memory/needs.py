"""How much memory measuring takes, and how it keeps to a limit: what is held, and what is computed again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...errors import InvalidInput
from ...network.checkpoints.mapped import in_files
from ...rounding.weights import steps_shape
from ..errors import HELD, errors_bytes, fitting, rows_at_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import nn

    from ...formats.format import Format
    from ...layers import Layer
    from ...network.blocks.finding import Blocks
    from .graph import Graph

_LOGITS = 4  # copies of the logits: themselves, and what makes and holds the probes


@dataclass(frozen=True)
class Needs:
    """The memory that measuring takes, in bytes.

    Attributes
    ----------
    weight_bytes
        Of the network's parameters and buffers.
    mapped
        How many of these lie in mapped files and need not be in memory, beside the largest block or tensor.
    gradient
        The largest weight gradient, when the hooks are checked.
    graph
        What a batch keeps.
    errors
        What the rounding errors of each layer would take.
    thresholds
        What they follow from: a byte for every scale.
    piece
        What the errors that are computed at a time take, with the weights that they are computed from.
    banked
        Codes of a bank, and sums over inputs.
    streamed
        Whether blocks are computed again.
    held
        Bytes of the rounding errors that stay in memory.
    """

    weight_bytes: int
    mapped: int
    gradient: int
    graph: Graph
    errors: tuple[int, ...]
    thresholds: int
    piece: int
    banked: int
    streamed: bool = False
    held: int = 0

    @property
    def activations(self) -> int:
        """What a batch takes at its peak, logits and probes included."""
        return (self.graph.streamed if self.streamed else self.graph.whole) + _LOGITS * self.graph.logits

    @property
    def unheld(self) -> int:
        """Bytes of rounding errors that are computed anew for every batch."""
        return sum(self.errors) - self.held

    @property
    def peak(self) -> int:
        """Everything together, without Python and its packages."""
        fixed = self.weight_bytes - self.mapped + self.gradient + self.thresholds + self.banked
        return fixed + self.activations + self.held + (self.piece if self.unheld else 0)

    def under(self, limit: int | None, blocks: Blocks) -> Needs:
        """Choose what to hold, and whether to compute blocks again.

        Parameters
        ----------
        limit
            In bytes; None for no limit.
        blocks
            The network's; none where the method needs the whole graph.

        Returns
        -------
        needs
            The same, with as many errors held as the limit allows; blocks are computed again only where the whole graph
            does not fit.

        Raises
        ------
        InvalidInput
            When nothing fits.
        """
        if limit is None:
            return self.holding(HELD)
        ways = [self, *([replace(self, streamed=True)] if blocks.modules else [])]
        for way in ways:
            whole = way.holding(sum(self.errors))  # which needs no piece
            if whole.peak <= limit:
                return whole
            if way.peak <= limit:
                return way.holding(limit - way.peak)
        least = self.least(blocks)
        why = "" if blocks.modules else f" (nothing is measured block by block: {blocks.why})"
        raise InvalidInput(
            f"memory_limit is {limit:,} bytes, but measuring takes at least {least:,} beside Python and its packages"
            f"{why}: give at least that much, fewer or shorter samples in a batch, or fewer formats"
        )

    def least(self, blocks: Blocks) -> int:
        """The smallest limit that works."""
        ways = [self, *([replace(self, streamed=True)] if blocks.modules else [])]
        return min(min(way.peak, way.holding(sum(self.errors)).peak) for way in ways)

    def holding(self, room: int) -> Needs:
        """The same, with the errors held that fit into so many bytes."""
        sizes = zip(self.errors, fitting(self.errors, room), strict=True)
        return replace(self, held=sum(size for size, stays in sizes if stays))


def needs_of(
    model: nn.Module,
    layers: Sequence[Layer],
    formats: Sequence[Format],
    dtypes: Mapping[str, torch.dtype],
    graph: Graph,
    blocks: Blocks,
    banked: int = 0,
) -> Needs:
    """Count what measuring takes before anything is held.

    Parameters
    ----------
    model
        The network.
    layers
        Its layers.
    formats
        Of weights.
    dtypes
        The type of each layer's weight.
    graph
        What a batch keeps.
    blocks
        The network's blocks.
    banked
        Codes and sums of a rounder.

    Returns
    -------
    needs
        With nothing held and the whole graph.
    """
    tensors = list({id(each): each for each in [*model.parameters(), *model.buffers()]}.values())
    sizes = {id(each): each.numel() * each.element_size() for each in tensors}
    mapped = {id(each): sizes[id(each)] for each, inside in zip(tensors, in_files(tensors), strict=True) if inside}
    parts = [[id(each) for each in module.parameters()] for module in blocks.modules.values()]
    within = {each for part in parts for each in part}
    parts += [[each] for each in mapped if each not in within]
    working = max((sum(mapped.get(each, 0) for each in set(part)) for part in parts), default=0)
    count = len(formats)
    pieces = []
    for layer in layers:
        rows = rows_at_once(layer, count, dtypes[layer.name], _by_rows(formats))
        one = errors_bytes(layer, 1, dtypes[layer.name])
        # The errors of all formats, and of one the weights that they are computed from, and products.
        pieces.append((count + 2) * one * rows // layer.shape[0])
    shapes = [shape for layer in layers for entry in formats if (shape := steps_shape(entry, layer)) is not None]
    return Needs(
        weight_bytes=sum(sizes.values()),
        mapped=sum(mapped.values()) - working,
        gradient=max(layer.elements * dtypes[layer.name].itemsize for layer in layers),
        graph=graph,
        errors=tuple(errors_bytes(layer, count, dtypes[layer.name]) for layer in layers),
        thresholds=0 if banked else sum(rows * columns for rows, columns in shapes),
        piece=max(pieces),
        banked=banked,
    )


def _by_rows(formats: Sequence[Format]) -> bool:
    schemes = [entry.weight_scheme for entry in formats]
    return all(each is None or (each.granularity != "tensor" and not each.tensor_scale) for each in schemes)
