"""What keys and values of an attention can be stored as: integers with a scale and a least value, or small floats.

Keys have outliers in few channels, values have none: keys share a scale along tokens, values along channels (Liu et
al., 2024, *KIVI: A tuning-free asymmetric 2bit quantization for KV cache*).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidInput, unknown
from .format import Format

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..layers import Layer

TOKENS = 32  # of a channel of the keys that share a scale
_PAIR = 32  # bits of a scale and a least value, float16 each
_DIMENSIONS = 4  # of the shape of a cache


@dataclass(frozen=True)
class CacheScheme:
    """How a cache is stored.

    Attributes
    ----------
    bits
        Bits of a number, without scales.
    scaled
        Whether numbers have a scale and a least value; others are stored as they are, in a smaller type.
    """

    bits: int
    scaled: bool

    def stored_bits(self, layer: Layer) -> int:
        """The bits of all sequences, scales counted; for a layer that is no cache those of its numbers."""
        if not layer.is_cache or not self.scaled or len(layer.shape) != _DIMENSIONS:
            return self.bits * layer.elements
        sequences, context, heads, width = layer.shape
        each = width * math.ceil(context / TOKENS) if layer.kind == "keys" else context
        return self.bits * layer.elements + _PAIR * sequences * heads * each


CACHE_SCHEMES = {
    "kv16": CacheScheme(16, scaled=False),
    "kv8": CacheScheme(8, scaled=True),
    "kv4": CacheScheme(4, scaled=True),
    "kv2": CacheScheme(2, scaled=True),
    "kv_fp8": CacheScheme(8, scaled=False),
}


def cache_scheme(entry: Format) -> CacheScheme | None:
    """How a format stores a cache; None for a format of weights or inputs."""
    return None if entry.built_in else CACHE_SCHEMES.get(entry.name)


def cache_formats(names: str | Iterable[str | Format]) -> tuple[Format, ...]:
    """The formats of these names.

    Parameters
    ----------
    names
        Such as ``"kv16,kv8,kv4,kv2,kv_fp8"``: bfloat16, integers of 8, 4 and 2 bits, and the float8_e4m3 that vLLM
        stores without a scale.

    Returns
    -------
    formats
        In this order.

    Raises
    ------
    InvalidInput
        When there is no such format, or none is named.
    """
    given = names.split(",") if isinstance(names, str) else list(names)
    found = []
    for each in given:
        name = each.name if isinstance(each, Format) else each.strip()
        if name not in CACHE_SCHEMES:
            raise unknown("format of a KV cache", name, CACHE_SCHEMES)
        scheme = CACHE_SCHEMES[name]
        found.append(Format(name, scheme.bits, stored_bits=scheme.stored_bits))
    if not found:
        raise InvalidInput("formats is empty: name at least one, such as kv8,kv4")
    return tuple(found)
