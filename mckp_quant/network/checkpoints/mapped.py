"""Which tensors of a network lie in files that are mapped into memory, from which the system drops and reads pages."""

from __future__ import annotations

import bisect
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

_MAPS = Path("/proc/self/maps")  # Linux; where it is missing nothing is known to be mapped


def in_files(tensors: Iterable[Tensor]) -> list[bool]:
    """Say of each tensor whether it takes no memory that has to be kept.

    Parameters
    ----------
    tensors
        On any device.

    Returns
    -------
    mapped
        True for tensors in a mapped file, as transformers loads safetensors in their own type, and for those on the
        meta device, which are to be loaded so.
    """
    spans = sorted(_spans(_MAPS.read_text(encoding="utf-8"))) if _MAPS.is_file() else []
    starts = [begin for begin, _ in spans]

    def mapped(tensor: Tensor) -> bool:
        if tensor.is_meta:
            return True
        if tensor.device.type != "cpu" or not tensor.numel():
            return False
        place = tensor.data_ptr()
        at = bisect.bisect_right(starts, place) - 1
        return at >= 0 and place < spans[at][1]

    return [mapped(each) for each in tensors]


def _spans(maps: str) -> Iterable[tuple[int, int]]:
    """Begin and end of every mapping of a file."""
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[4] != "0":
            begin, _, end = fields[0].partition("-")
            yield int(begin, 16), int(end, 16)
