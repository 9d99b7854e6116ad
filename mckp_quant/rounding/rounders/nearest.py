"""Rounds every weight to the nearest number that its format can store, on the scale with the least squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..encoded import OpaqueWeight
from ..rounder import NOTHING
from ..rows import channel_rows
from ..weights import encode_weight, quantize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ...formats.format import Format
    from ...layers import Layer
    from ..encoded import StoredWeight
    from ..rounder import InputStatistics


@dataclass(frozen=True)
class Nearest:
    """Round to nearest; see `quantize` for how scales are chosen. What the layer's inputs are does not matter."""

    name: ClassVar[str] = "nearest"
    reference: ClassVar[str] = "Rastegari et al. (2016), XNOR-Net, for one bit; else the squared error, by search"
    needs: ClassVar[str] = NOTHING

    def encode(
        self, weight: Tensor, layer: Layer, formats: Sequence[Format], inputs: InputStatistics | None
    ) -> list[StoredWeight]:
        """Round a weight to formats, see `Rounder.encode`; raises InvalidInput as `quantize` does."""
        return [nearest(weight, entry, layer) for entry in formats]


def nearest(weight: Tensor, entry: Format, layer: Layer) -> StoredWeight:
    """The codes of `quantize`; its values where the format has no codes."""
    if entry.weight_scheme is not None:
        return encode_weight(weight, entry, layer)
    return OpaqueWeight(channel_rows(quantize(weight, entry, layer), layer))
