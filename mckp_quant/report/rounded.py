"""What a weight bank holds, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from .planned import duration
from .text import BLANK, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..rounding.bank import WeightBank


def bank_report(bank: WeightBank, sizes: Mapping[str, int], seconds: float) -> Group:
    """The layers of a bank with the bytes that they take on disk, its formats, and what was rounded to nearest.

    Parameters
    ----------
    bank
        The bank.
    sizes
        Bytes on disk, by the layer's name.
    seconds
        How long it took.

    Returns
    -------
    report
        For people.
    """
    rows = [
        (
            layer.name,
            layer.kind,
            " x ".join(map(str, layer.shape)),
            "nearest" if layer.name in bank.as_nearest else bank.rounder.partition("(")[0],
            f"{sizes[layer.name]:,}",
        )
        for layer in bank.layers
    ]
    formats = ", ".join(entry.name for entry in bank.formats)
    data = f" on {bank.samples} samples" if bank.samples else ""
    aim = f" for {bank.target}" if bank.target else ""
    lines = [
        f"{len(rows)} layers in {formats}, by {bank.rounder}{data}{aim}",
        f"{sum(sizes.values()):,} bytes on disk, {duration(seconds)}",
    ]
    if bank.as_nearest:
        lines.append(f"rounded to nearest, because no input was seen: {', '.join(bank.as_nearest)}")
    heads = ("layer", "kind", "shape", "rounder", "bytes on disk")
    return Group(Text("\n".join(lines)), BLANK, table_of(heads, rows, left=4))
