"""What each format adds to a layer's weight: kept as the few numbers that it follows from, and computed when needed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..common.amounts import bytes_of
from ..network.weight_uses import EXPERTS
from ..rounding.encoded import BlockWeight, EncodedWeight, OpaqueWeight, decode_weight
from ..rounding.rows import computed_in
from ..rounding.weights import rounding_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..common.run_options import RunOptions
    from ..formats.format import Format
    from ..layers import Layer
    from ..rounding.bank import WeightBank
    from ..rounding.encoded import StoredWeight

HELD = 2**30  # bytes of rounding errors that are in memory where no limit is given
PIECE = 2**26  # bytes of rounding errors that are computed at a time, where a layer's rows can be taken one by one
_BY_ROWS = {"linear", "embedding", EXPERTS}
_ALL = slice(None)


class Source(Protocol):
    """What the rounding error of a layer in one format follows from."""

    @property
    def by_rows(self) -> bool:
        """Whether the error of some rows of the weight can be had without the others."""

    def error(self, weight: Tensor, layer: Layer, rows: slice | Tensor, out: Tensor) -> Tensor:
        """Put the error of a weight into `out`, which is that of these channels of the layer, or of all."""

    def text(self) -> bytes:
        """Bytes that differ where the errors of the same weight do."""


@dataclass(frozen=True, eq=False)
class Searched:
    """The clipping thresholds that rounding to nearest has searched, a byte for every scale.

    Attributes
    ----------
    entry
        The format.
    steps
        What `clip_steps` gave.
    """

    entry: Format
    steps: Tensor | None

    @property
    def by_rows(self) -> bool:
        """Whether nothing of the whole tensor decides."""
        scheme = self.entry.weight_scheme
        return scheme is None or (scheme.granularity != "tensor" and not scheme.tensor_scale)

    def error(self, weight: Tensor, layer: Layer, rows: slice | Tensor, out: Tensor) -> Tensor:
        """Round again, without a search."""
        steps = self.steps
        if steps is not None and self.by_rows:
            steps = steps[rows]
        return rounding_error(weight, self.entry, layer, steps, out)

    def text(self) -> bytes:
        """The name and the thresholds."""
        return repr(self.entry.name).encode() + (b"" if self.steps is None else self.steps.cpu().numpy().tobytes())


@dataclass(frozen=True, eq=False)
class Kept:
    """The error itself, of a user's own format: what its quantizer would give another time is not known."""

    values: Tensor

    @property
    def by_rows(self) -> bool:
        """It is there."""
        return True

    def error(self, weight: Tensor, layer: Layer, rows: slice | Tensor, out: Tensor) -> Tensor:
        """Copy it."""
        return out.copy_(self.values[rows])

    def text(self) -> bytes:
        """The error."""
        return self.values.double().cpu().numpy().tobytes()


@dataclass(frozen=True, eq=False)
class Coded:
    """The codes of a bank, which are read when they are needed.

    Attributes
    ----------
    bank
        The bank.
    entry
        The format, under the name that the bank has it.
    """

    bank: WeightBank
    entry: Format

    @property
    def by_rows(self) -> bool:
        """Whether rows have scales of their own."""
        scheme = self.entry.weight_scheme
        return scheme is not None and scheme.granularity != "tensor"

    def error(self, weight: Tensor, layer: Layer, rows: slice | Tensor, out: Tensor) -> Tensor:
        """Decode, and subtract the float weight."""
        encoded = self.bank.encoded(layer.name, self.entry)
        if rows is not _ALL:
            encoded = _rows_of(encoded, rows)
        return torch.sub(decode_weight(encoded, self.entry, layer, weight.dtype).to(weight.device), weight, out=out)

    def text(self) -> bytes:
        """The bank and the format."""
        return f"{self.bank.digest} {self.entry.name}".encode()


@dataclass(eq=False)
class Scratch:
    """Memory that the rounding errors of one piece of a layer after another are computed into."""

    buffer: Tensor | None = None

    def of(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """A contiguous tensor in that memory, which is made larger where it is too small."""
        count = 1
        for size in shape:
            count *= size
        held = self.buffer
        if held is None or held.numel() < count or held.dtype != dtype or held.device != device:
            self.buffer = None  # before the new one is made
            self.buffer = held = torch.empty(count, dtype=dtype, device=device)
        return held[:count].view(*shape)


@dataclass(eq=False)
class Errors:
    """What each format adds to one layer's weight.

    Attributes
    ----------
    weight
        The float weight; errors are computed from it, so it has to be as it was whenever they are asked for.
    layer
        The facts about it.
    sources
        For each format what its errors follow from.
    scratch
        Memory for pieces.
    held
        ``(n_formats, *layer.shape)``: all errors, where they are in memory.
    """

    weight: Tensor
    layer: Layer
    sources: tuple[Source, ...]
    scratch: Scratch = field(default_factory=Scratch)
    held: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """float64 for float64 weights, else float32."""
        return computed_in(self.weight.dtype)

    @property
    def by_rows(self) -> bool:
        """Whether the errors of some rows of the weight can be had without the others."""
        return self.layer.kind in _BY_ROWS and all(each.by_rows for each in self.sources)

    def __len__(self) -> int:
        """How many formats there are."""
        return len(self.sources)

    def column(self, at: int) -> Tensor:
        """``layer.shape``: the error in one format."""
        if self.held is not None:
            return self.held[at]
        out = torch.empty(self.layer.shape, dtype=self.dtype, device=self.weight.device)
        return self.sources[at].error(self.weight.detach(), self.layer, _ALL, out)

    def whole(self) -> Tensor:
        """``(n_formats, *layer.shape)``, in memory of its own where it is not held."""
        return self._computed(_ALL, None) if self.held is None else self.held

    def rows(self, index: Tensor) -> Tensor:
        """``(n_formats, len(index), ...)``: the errors of some rows of the weight, where `by_rows`."""
        return self._computed(index, None) if self.held is None else self.held[:, index]

    def pieces(self) -> Iterator[tuple[slice, Tensor]]:
        """Go through the errors piece by piece.

        Yields
        ------
        rows, errors
            Some rows of the weight, and ``(n_formats, len(rows), ...)``. How they are cut depends on the layer and the
            formats only. What was given before is overwritten.
        """
        count = self.layer.shape[0]
        step = rows_at_once(self.layer, len(self), self.dtype, self.by_rows)
        for begin in range(0, count, step):
            rows = slice(begin, min(count, begin + step)) if step < count else _ALL
            yield rows, self._computed(rows, self.scratch) if self.held is None else self.held[:, rows]

    def squares(self) -> Tensor:
        """``(n_formats,)`` float64 on the CPU: the sum of the squared errors."""
        found = [errors.flatten(1).double().square().sum(dim=1).cpu() for _, errors in self.pieces()]
        return found[0] if len(found) == 1 else torch.stack(found).sum(dim=0)

    def coarsest(self) -> Tensor:
        """``layer.shape``: the errors of the format that changes the weight most."""
        return self.column(int(self.squares().argmax()))

    def text(self) -> bytes:
        """Bytes that differ where the errors of the same weight do."""
        return b" ".join(each.text() for each in self.sources)

    def _computed(self, rows: slice | Tensor, scratch: Scratch | None) -> Tensor:
        weight, layer, channels = self.weight.detach(), self.layer, rows
        if rows is not _ALL:
            weight = weight[rows]
            each = layer.known_channels // layer.shape[0]  # of experts several
            layer = dataclasses.replace(layer, shape=tuple(weight.shape), channels=len(weight) * each)
            if isinstance(rows, slice):
                channels = slice(rows.start * each, rows.stop * each)
        shape = (len(self), *weight.shape)
        out = (scratch or Scratch()).of(shape, self.dtype, weight.device)
        for own, source in zip(out, self.sources, strict=True):
            source.error(weight, layer, channels, own)
        return out


def fitting(sizes: Iterable[int], room: int) -> list[bool]:
    """Which of these many bytes are held in so much memory: each, in order, that still fits."""
    found = []
    for size in sizes:
        found.append(size <= room)
        room -= size if found[-1] else 0
    return found


def held_errors(weight: Tensor, layer: Layer, values: Tensor) -> Errors:
    """The errors of a layer that are known already: ``(n_formats, *layer.shape)``."""
    return Errors(weight, layer, tuple(map(Kept, values)), held=values)


def rows_at_once(layer: Layer, formats: int, dtype: torch.dtype, by_rows: bool) -> int:
    """How many rows of a layer's weight are rounded at a time: as many as fit into `PIECE`, at least one."""
    size = errors_bytes(layer, formats, dtype)
    if not by_rows or layer.kind not in _BY_ROWS or size <= PIECE:
        return layer.shape[0]
    return max(1, PIECE * layer.shape[0] // size)


def errors_bytes(layer: Layer, formats: int, dtype: torch.dtype) -> int:
    """Bytes that the rounding errors of a layer of this type take: float64 for float64, else float32."""
    return layer.elements * formats * (8 if dtype == torch.float64 else 4)


def limit_of(run: RunOptions) -> int | None:
    """The limit in bytes; None where there is none."""
    return None if run.memory_limit is None else bytes_of("memory_limit", run.memory_limit)


def _rows_of(encoded: StoredWeight, rows: slice | Tensor) -> StoredWeight:
    if isinstance(encoded, OpaqueWeight):
        return OpaqueWeight(encoded.values[rows])
    if isinstance(encoded, BlockWeight):
        return BlockWeight(encoded.data[rows])
    zero_points = None if encoded.zero_points is None else encoded.zero_points[rows]
    return EncodedWeight(encoded.elements[rows], encoded.scales[rows], zero_points, encoded.tensor_scale)
