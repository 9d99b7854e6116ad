"""Keeps on disk, while a network is measured, the rounding errors of weights that would fill the memory."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..common.amounts import bytes_of
from ..common.files import temporary_folder
from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ..common.run_options import RunOptions
    from ..formats.format import Format
    from ..layers import Layer

    Compute: TypeAlias = Callable[[Tensor, Sequence[Format], Layer], Tensor]


@dataclass(eq=False)
class Disk:
    """A folder for the rounding errors of layers, and the ones that were read last.

    Attributes
    ----------
    folder
        Where they are.
    reading
        The file that was read last, and what it holds: a layer that is called several times is read once.
    """

    folder: Path
    reading: tuple[Path, Tensor] | None = None

    def read(self, path: Path, device: torch.device) -> Tensor:
        """Give what a file holds; whatever was read before is let go first."""
        if self.reading is None or self.reading[0] != path:
            self.reading = None
            self.reading = (path, torch.from_numpy(np.load(path, allow_pickle=False)).to(device))
        return self.reading[1]


@dataclass(frozen=True, eq=False)
class Streamed:
    """The rounding errors of one layer, on disk.

    Attributes
    ----------
    disk, path
        Where they are.
    device
        Where they are needed.
    columns
        How many formats they are of.
    """

    disk: Disk
    path: Path
    device: torch.device
    columns: int

    def read(self) -> Tensor:
        """``(n_formats, *layer.shape)`` on the device."""
        return self.disk.read(self.path, self.device)


def errors_bytes(layer: Layer, formats: int, dtype: torch.dtype) -> int:
    """Bytes that the rounding errors of a layer of this type take: float64 for float64, else float32."""
    return layer.elements * formats * (8 if dtype == torch.float64 else 4)


def check_limit(limit: int | None, sizes: Sequence[int], formats: int) -> None:
    """Refuse a limit in bytes that the rounding errors of the largest layer alone exceed."""
    if limit is not None and limit < max(sizes):
        raise InvalidInput(
            f"memory_limit is {limit:,} bytes, but the largest layer in {formats} formats takes {max(sizes):,}: "
            "give at least that much, or measure fewer formats at once"
        )


class Rounding:
    """Computes the rounding errors of layer after layer, and keeps them in memory as far as a limit allows.

    Parameters
    ----------
    compute
        From a weight, formats and the layer to ``(n_formats, *layer.shape)``.
    formats
        The formats.
    sizes
        For each layer the bytes that its rounding errors take.
    limit
        The bytes that those of all layers may hold at any time; None for no limit.
    disk
        Where to put the others; needed with a limit.

    Raises
    ------
    InvalidInput
        When the limit is too small for the largest layer alone.
    """

    def __init__(
        self, compute: Compute, formats: Sequence[Format], sizes: Sequence[int], limit: int | None, disk: Disk | None
    ) -> None:
        check_limit(limit, sizes, len(formats))
        self._compute = compute
        self._formats = formats
        self._disk = disk
        # What is kept must leave room for the largest layer, when that is read or made.
        self._room = None if limit is None or sum(sizes) <= limit else limit - max(sizes)
        self._made = 0

    def __call__(self, weight: Tensor, layer: Layer) -> Tensor | Streamed:
        """Compute those of the next layer, which stay in memory if there is room."""
        errors = self._compute(weight, self._formats, layer)
        size = errors.numel() * errors.element_size()
        self._made += 1
        if self._room is None or self._disk is None:
            return errors
        if size <= self._room:
            self._room -= size
            return errors
        path = self._disk.folder / f"{self._made}.npy"
        np.save(path, errors.cpu().numpy(), allow_pickle=False)
        return Streamed(self._disk, path, errors.device, len(errors))


def limit_of(run: RunOptions) -> int | None:
    """The limit in bytes; None where there is none."""
    return None if run.memory_limit is None else bytes_of("memory_limit", run.memory_limit)


@contextlib.contextmanager
def temporary_disk(limit: int | None) -> Iterator[Disk | None]:
    """Provide a folder while something is measured under a limit, and remove it afterwards; None without a limit."""
    if limit is None:
        yield None
        return
    with temporary_folder(tempfile.gettempdir()) as folder:
        yield Disk(folder)
