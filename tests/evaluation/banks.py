"""Banks of the small network of the searches, by rounders so simple that a user's own format does the same."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import mckp_quant as mq
from mckp_quant.formats.format import as_formats
from mckp_quant.rounding.encoded import OpaqueWeight
from mckp_quant.rounding.rows import channel_rows

from ..search import small

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mckp_quant.rounding import WeightBank
    from mckp_quant.rounding.encoded import StoredWeight
    from mckp_quant.rounding.rounder import InputStatistics


def truncate(weight: Tensor, bits: int) -> Tensor:
    """Cut towards zero on one scale: another network than round-to-nearest gives."""
    step = weight.abs().max() / 2 ** (bits - 1)
    cut: Tensor = (weight / step).trunc() * step
    return cut


@dataclass(frozen=True)
class Truncation:
    name: ClassVar[str] = "truncation"
    reference: ClassVar[str] = "none"
    needs: ClassVar[str] = "nothing"

    def encode(
        self, weight: Tensor, layer: mq.Layer, formats: Sequence[mq.Format], inputs: InputStatistics | None
    ) -> list[StoredWeight]:
        return [OpaqueWeight(channel_rows(truncate(weight, entry.weight_bits), layer)) for entry in formats]


def own_format(name: str) -> mq.Format:
    """A user's own format that stores what the built-in one does and rounds as the toy rounder."""
    built_in = mq.Format.named(name)
    bits = built_in.weight_bits
    return mq.Format(name, bits, quantize=lambda weight: truncate(weight, bits), stored_bits=built_in.storage_bits)


OWN = tuple(own_format(entry.name) for entry in as_formats(small.FORMATS))


@functools.cache
def bank(rounder: str = "truncation", formats: str = small.FORMATS) -> WeightBank:
    chosen = Truncation() if rounder == "truncation" else rounder
    return mq.round_weights(small.network(), small.data(), formats, rounder=chosen)


@functools.cache
def table(rounder: str = "truncation") -> mq.SensitivityTable:
    return mq.measure(small.network(), small.data(), formats=small.FORMATS, bank=bank(rounder))


@functools.cache
def own_table() -> mq.SensitivityTable:
    """What a user has without banks: the toy rounder as formats of their own."""
    return mq.measure(small.network(), small.data(), formats=OWN)
