"""Number formats: what a weight may be stored as, and the bits that takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import InvalidInput, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .layers import Layer

SCALE_BITS = 32  # one float32 scale per channel
FLOAT_BITS = 32  # what an activation counts that stays float
BUILT_IN = tuple(f"w{bits}" for bits in range(1, 9))

_NAME = re.compile(r"w([1-8])")


@dataclass(frozen=True)
class Format:
    """A number format for the weights of a layer.

    The built-in formats ``w1`` to ``w8`` are symmetric with one float32 scale per output channel: integers from
    -(2^(b-1) - 1) to 2^(b-1) - 1 (so ``w2`` is ternary), and ``w1`` stores the sign and the mean magnitude.
    A user's own format is ``Format(name, quantize=..., stored_bits=...)``, so that weights rounded by any other tool
    can be scored, not only round-to-nearest.

    Attributes
    ----------
    name
        How the format is called in tables and policies.
    weight_bits
        Bits per weight, without scales: what bit operations count.
    activation_bits
        Bits of the layer's input; None where it stays float (then bit operations count 32).
    quantize
        Of a user's own format: from a weight tensor to the tensor of the same shape that the format represents.
    stored_bits
        Of a user's own format: from a `Layer` to the bits that its weight takes, scales and all.
    """

    name: str
    weight_bits: int
    activation_bits: int | None = None
    quantize: Callable[[Any], Any] | None = None
    stored_bits: Callable[[Layer], int] | None = None

    def __post_init__(self) -> None:
        """Refuse bits that no format has."""
        if not 1 <= self.weight_bits <= FLOAT_BITS:
            raise InvalidInput(
                f"format {self.name!r} has weight_bits = {self.weight_bits}: it must lie between 1 and 32"
            )
        if self.stored_bits is None and self.name not in BUILT_IN:
            raise InvalidInput(
                f"format {self.name!r} is not built in ({BUILT_IN[0]} to {BUILT_IN[-1]}): say with stored_bits=... "
                "how many bits a layer takes in it"
            )

    @classmethod
    def named(cls, name: str) -> Format:
        """The built-in format of this name; raises InvalidInput, with the nearest name, where there is none."""
        if name == FLOAT.name:
            return FLOAT
        match = _NAME.fullmatch(name)
        if match is None:
            raise unknown("format", name, (*BUILT_IN, FLOAT.name))
        return cls(name, weight_bits=int(match.group(1)))

    @property
    def built_in(self) -> bool:
        """Whether the project itself knows how to quantise and to store it."""
        return self.stored_bits is None

    def storage_bits(self, layer: Layer) -> int:
        """Bits that the layer's weight takes in this format, scales counted.

        Parameters
        ----------
        layer
            The layer whose weight is stored.

        Returns
        -------
        bits
            A whole number of bits, before rounding up to bytes.

        Raises
        ------
        InvalidInput
            When a user's own `stored_bits` gives anything but a whole number that is at least 0.
        """
        if self.stored_bits is None:
            return self.weight_bits * layer.elements + SCALE_BITS * layer.channels
        bits: object = self.stored_bits(layer)
        if not isinstance(bits, int) or bits < 0:
            raise InvalidInput(
                f"stored_bits of format {self.name!r} gave {bits!r} for layer {layer.name!r}: "
                "it must be a whole number of bits, at least 0"
            )
        return bits

    def storage_bytes(self, layer: Layer) -> int:
        """Bytes that the layer's weight takes in this format: `storage_bits` rounded up."""
        return -(-self.storage_bits(layer) // 8)


def _unchanged(weight: Any) -> Any:
    return weight


def _float_bits(layer: Layer) -> int:
    return FLOAT_BITS * layer.elements


# "Leave it as it is" as a choice: no rounding, no scales.
FLOAT = Format("float", FLOAT_BITS, quantize=_unchanged, stored_bits=_float_bits)


def as_formats(formats: str | Iterable[str | Format]) -> tuple[Format, ...]:
    """Formats from names, objects, or one comma-separated string.

    Parameters
    ----------
    formats
        Such as ``"w2,w4"``, ``["w2", "w4"]`` or `Format` objects.

    Returns
    -------
    formats
        The formats in the order given.

    Raises
    ------
    InvalidInput
        When there is none, a name is unknown, or one stands twice.
    """
    entries: Sequence[str | Format] = (
        [part.strip() for part in formats.split(",") if part.strip()] if isinstance(formats, str) else list(formats)
    )
    found = tuple(entry if isinstance(entry, Format) else Format.named(entry) for entry in entries)
    if not found:
        raise InvalidInput("no formats given: name at least one, such as 'w2,w4,w8'")
    names = [entry.name for entry in found]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"format {name!r} is given twice: name each format once")
    return found


@dataclass(frozen=True)
class RecordedBits:
    """The stored bits of a user's own format, layer by layer, as they were when a file was written."""

    bits: tuple[tuple[str, int], ...]

    def __call__(self, layer: Layer) -> int:
        """Bits that were recorded for the layer; raises InvalidInput for a layer that the file did not hold."""
        recorded = dict(self.bits)
        if layer.name not in recorded:
            raise unknown("layer", layer.name, recorded)
        return recorded[layer.name]


def format_document(entry: Format, stored_bits: Mapping[str, int]) -> dict[str, Any]:
    """Describe a format in plain types, for a file.

    Parameters
    ----------
    entry
        The format.
    stored_bits
        From the name of a layer to the bits that it takes in this format; kept for a user's own format only, because
        the callable that computes them cannot be written down.

    Returns
    -------
    document
        The name alone for a built-in format.
    """
    if entry.built_in or entry == FLOAT:
        return {"name": entry.name}
    return {
        "name": entry.name,
        "weight_bits": entry.weight_bits,
        "activation_bits": entry.activation_bits,
        "stored_bits": dict(stored_bits),
    }


def format_from(document: Any, source: str) -> Format:
    """Read a format that `format_document` described.

    Parameters
    ----------
    document
        The entry of the file.
    source
        Which file it is from, for the error.

    Returns
    -------
    entry
        The same format; a user's own keeps its stored bits but not its quantizer.

    Raises
    ------
    InvalidInput
        When the entry is damaged, or gives a built-in name bits of its own.
    """
    try:
        name = document["name"]
        if "stored_bits" not in document:
            return Format.named(name)
        bits = tuple((layer, int(count)) for layer, count in document["stored_bits"].items())
        weight_bits, activation_bits = int(document["weight_bits"]), document.get("activation_bits")
    except InvalidInput:
        raise
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise InvalidInput(
            f"{source} has a format that cannot be read, {document!r} ({type(error).__name__}: {error}): "
            "it was edited by hand or is something else"
        ) from error
    if name in (*BUILT_IN, FLOAT.name):
        raise InvalidInput(f"{source}: format {name!r} is built in and cannot have stored bits of its own: rename it")
    return Format(name, weight_bits, activation_bits, stored_bits=RecordedBits(bits))
