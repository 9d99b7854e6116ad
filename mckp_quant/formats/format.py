"""Number formats: how weights and inputs may be stored, and how many bits that takes."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

from ..common.checks import check_count
from ..common.renamed import RenamedAttribute
from ..errors import InvalidInput, unknown
from .schemes import EXAMPLES, FLOAT_BITS, ActivationScheme, is_built_in, scheme_of, weights_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..layers import Layer
    from .schemes import WeightScheme

BUILT_IN = tuple(f"w{bits}" for bits in range(1, 9))  # the plainest ones; `schemes.scheme_of` says what else there is


@dataclass(frozen=True)
class Format:
    """A number format for the weights of a layer, for its input, or for both.

    The name of a built-in format says all of it, see `schemes.scheme_of`: ``w4`` has four-bit weights with one float32
    scale per output channel, ``w4g128`` with one float16 scale for 128 weights, ``w4a8`` also stores the layer's input
    in eight bits, ``a8`` only that. A user's own format is ``Format(name, bits, quantize=..., stored_bits=...)``, so
    that weights rounded by any other tool can be scored, not only round-to-nearest.

    Attributes
    ----------
    name
        What the format is called in tables and policies.
    weight_bits
        Bits per weight, without scales: what bit operations count. 32 where weights stay float.
    activation_bits
        Bits of the layer's input; None where it stays float (then bit operations count 32).
    quantize
        Of a user's own format: from a weight tensor to the tensor of the same shape that the format represents.
    stored_bits
        Of a user's own format: from a `Layer` to the bits that its weight takes, scales and all.
    held
        Of a built-in format: in what a runtime holds its scales, see `WeightScheme.held`.
    """

    name: str
    weight_bits: int
    activation_bits: int | None = None
    quantize: Callable[[Any], Any] | None = None
    stored_bits: Callable[[Layer], int] | None = None
    held: str = ""

    weights = RenamedAttribute("weight_scheme")
    activations = RenamedAttribute("activation_scheme")

    def __post_init__(self) -> None:
        """Refuse bits that no format has, and names that stand for something else."""
        for what in ("weight_bits", "activation_bits"):
            count = getattr(self, what)
            if what == "weight_bits" or count is not None:
                checked = check_count(f"{what} of format {self.name!r}", count, 1, FLOAT_BITS)
                object.__setattr__(self, what, checked)
        if self.stored_bits is not None:
            return
        if not is_built_in(self.name):
            raise InvalidInput(
                f"format {self.name!r} is not built in, as {', '.join(EXAMPLES)} are: say with stored_bits=... how "
                "many bits a layer takes in it"
            )
        scheme = scheme_of(self.name)
        bits = (
            FLOAT_BITS if scheme.weights is None else scheme.weights.bits,
            None if scheme.activations is None else scheme.activations.bits,
        )
        if self.quantize is not None or bits != (self.weight_bits, self.activation_bits):
            raise InvalidInput(
                f"format {self.name!r} is built in, with weight_bits = {bits[0]} and activation_bits = {bits[1]}, and "
                f"cannot be changed: use Format.named({self.name!r}), or another name and stored_bits=..."
            )

    @classmethod
    def named(cls, name: str) -> Format:
        """The built-in format of this name; raises InvalidInput, with the nearest name, where there is none."""
        scheme = scheme_of(name)
        return cls(
            name,
            FLOAT_BITS if scheme.weights is None else scheme.weights.bits,
            None if scheme.activations is None else scheme.activations.bits,
        )

    @property
    def built_in(self) -> bool:
        """Whether the project itself knows how to quantise and to store it."""
        return self.stored_bits is None

    @property
    def weight_scheme(self) -> WeightScheme | None:
        """How a built-in format stores weights; None where they stay float, and of a user's own format."""
        scheme = scheme_of(self.name).weights if self.built_in else None
        return scheme if scheme is None or not self.held else replace(scheme, held=self.held)

    @property
    def activation_scheme(self) -> ActivationScheme | None:
        """How the layer's input is stored; None where it stays float.

        A user's own format stores integers with a zero point, in a range that is fixed before the network runs.
        """
        if self.built_in:
            return scheme_of(self.name).activations
        return None if self.activation_bits in {None, FLOAT_BITS} else ActivationScheme(self.activation_bits or 0)

    @property
    def weights_only(self) -> Format:
        """The format that stores weights as this one does and leaves activations float; a user's own stays itself."""
        return replace(Format.named(weights_name(self.name)), held=self.held) if self.built_in else self

    @property
    def family(self) -> str | None:
        """Of weights: ``"integer"``, ``"float"`` or ``"block"``; None where they stay float or are a user's own."""
        return None if self.weight_scheme is None else self.weight_scheme.family

    @property
    def granularity(self) -> str | None:
        """What shares a scale: ``"tensor"``, ``"channel"`` or ``"group"``; None as for `family`."""
        return None if self.weight_scheme is None else self.weight_scheme.granularity

    @property
    def group_size(self) -> int | None:
        """Weights that share a scale, where groups do."""
        return None if self.weight_scheme is None else self.weight_scheme.group_size

    @property
    def symmetric(self) -> bool | None:
        """Whether scales of weights come without zero points; None as for `family`."""
        return None if self.weight_scheme is None else self.weight_scheme.symmetric

    def storage_bits(self, layer: Layer) -> int:
        """Bits that the layer's weight takes in this format, scales and zero points counted.

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
            return FLOAT_BITS * layer.elements if self.weight_scheme is None else self.weight_scheme.storage_bits(layer)
        return check_count(f"stored_bits of format {self.name!r} for layer {layer.name!r}", self.stored_bits(layer), 0)

    def storage_bytes(self, layer: Layer) -> int:
        """Bytes that the layer's weight takes in this format: `storage_bits` rounded up."""
        return -(-self.storage_bits(layer) // 8)


# "Leave it as it is" as a choice: no rounding, no scales.
FLOAT = Format.named("float")


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
        if layer.name not in self._recorded:
            raise unknown("layer", layer.name, self._recorded)
        return self._recorded[layer.name]

    @functools.cached_property
    def _recorded(self) -> dict[str, int]:
        return dict(self.bits)


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
    if entry.built_in:
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
        bits = tuple((layer, _whole(count)) for layer, count in document["stored_bits"].items())
        weight_bits, activation_bits = document["weight_bits"], document.get("activation_bits")
        # Names that were a user's own before the project knew them stay readable: their stored bits say what they are.
        if name in (*BUILT_IN, FLOAT.name):
            raise InvalidInput(
                f"{source}: format {name!r} is built in and cannot have stored bits of its own: rename it"
            )
        return Format(name, weight_bits, activation_bits, stored_bits=RecordedBits(bits))
    except InvalidInput as error:
        raise error if source in str(error) else InvalidInput(f"{source}: {error}") from error
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise InvalidInput(
            f"{source} has a format that cannot be read, {document!r} ({type(error).__name__}: {error}): "
            "it was edited by hand or is something else"
        ) from error


def _whole(count: object) -> int:
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise ValueError(f"{count!r} is no whole number of bits")
    return int(count)
