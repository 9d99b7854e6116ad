"""Rounds every weight to the nearest number that its format can store, on the scale with the least squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...formats.blocks import GGML
from ...formats.schemes import FLOAT
from ...network.fingerprint import tensor_digest
from ..bank import WeightBank
from ..encoded import OpaqueWeight
from ..rounder import NOTHING
from ..rows import channel_rows
from ..weights import encode_blocks, encode_weight, quantize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    if entry.family == GGML:
        return encode_blocks(weight, entry, layer)
    if entry.weight_scheme is not None:
        return encode_weight(weight, entry, layer)
    return OpaqueWeight(channel_rows(quantize(weight, entry, layer), layer))


def nearest_bank(layers: Sequence[Layer], formats: Sequence[Format], weight: Callable[[str], Tensor]) -> WeightBank:
    """A bank of nearest codes, which needs no data: each is made when it is asked for, and none is kept.

    Parameters
    ----------
    layers
        The layers.
    formats
        The formats; those that leave weights float are left out.
    weight
        From a layer's name to its float weight, in the layer's shape.

    Returns
    -------
    bank
        With the rounder ``"nearest"``.
    """
    stored = tuple(entry for entry in dict.fromkeys(formats) if entry.weights_only.name != FLOAT)
    digests = {layer.name: tensor_digest(weight(layer.name)) for layer in layers}
    return WeightBank(tuple(layers), stored, Nearest.name, "", digests, "", 0, (), _WhenAsked(weight))


@dataclass(frozen=True, eq=False)
class _WhenAsked:
    """A `Store` that rounds when it is read."""

    weight: Callable[[str], Tensor]

    def read(self, layer: Layer, entry: Format) -> StoredWeight:
        return nearest(self.weight(layer.name), entry.weights_only, layer).compact(entry)
