"""How the weights and the inputs of a layer are stored: what the name of a built-in format stands for."""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from .blocks import GGML, GGML_FORMATS, block_of

if TYPE_CHECKING:
    from ..layers import Layer

FLOAT_BITS = 32  # what a weight or an activation takes that stays float
GROUP_SIZES = (16, 32, 64, 128, 256)
ACTIVATION_BITS = (2, 3, 4, 5, 6, 7, 8, 16)
FLOAT = "float"  # the format that leaves everything as it is
# One of each kind, for messages and for the table in the documentation.
EXAMPLES = (
    *(f"w{bits}" for bits in range(1, 9)),
    *(FLOAT, "w4g128", "w4z", "w8t", "w4a8", "w4g128a8sd", "a8", "fp8_e4m3", "fp8_e5m2a8", "mxfp4", "nvfp4"),
    *("q4_k", "q8_0", "iq4_nl"),
)

_SCALE_BITS = {"float32": 32, "float16": 16, "e8m0": 8, "e4m3": 8}
_INTEGER = re.compile(r"w([1-8])(t|g(\d+))?(z)?")
_FP8 = re.compile(r"fp8_(e4m3|e5m2)(t)?")
_ACTIVATION = re.compile(r"a([1-9]\d*)(s)?(d)?")
_SPLIT = re.compile(
    rf"(w\d+(?:t|g\d+)?z?|fp8_e4m3t?|fp8_e5m2t?|mxfp4|nvfp4|{'|'.join(GGML_FORMATS)})?(a(?:b?f16|\d+s?d?))?"
)
_ELSEWHERE = re.compile(r"(?:u?int|i|q|b)?_?(\d+)(?:[-_ ]?bits?)?")  # such as int4 and 4bit


@dataclass(frozen=True)
class WeightScheme:
    """How a weight is stored.

    A *row* is what makes one output channel (or one entry of an embedding), in the order in which the weight lies in
    memory. Groups never cross a row: where the group size does not divide it, the last group of each row is shorter and
    has a scale of its own; nothing is padded.

    Attributes
    ----------
    bits
        Bits per weight, without scales.
    family
        ``"integer"``; ``"float"`` for small floating-point numbers with a scale per channel or tensor; ``"block"`` for
        small floating-point numbers whose short groups have scales of a few bits; ``"ggml"`` for the blocks of GGUF
        files, whose scales, and scales of scales, lie among the codes.
    element
        What a weight is stored as: ``"int"``, ``"e4m3"``, ``"e5m2"``, ``"e2m1"``, or the name of a type of ggml.
    granularity
        What shares a scale: ``"tensor"``, ``"channel"`` or ``"group"``.
    group_size
        Weights in a group; None for the other granularities.
    symmetric
        Whether zero is the middle of the range; otherwise every scale comes with a zero point of as many bits as a
        weight.
    scale
        How a scale is stored: ``"float32"``, ``"float16"``, ``"e8m0"`` (a power of two) or ``"e4m3"``.
    tensor_scale
        Whether one float32 scale of the whole weight stands above those of its groups.
    held
        What a runtime turns scales into when it loads them, ``"float16"`` or ``"bfloat16"``: then scales are rounded so
        that they are numbers of both types. Empty where it takes them as they are stored.
    """

    bits: int
    family: str = "integer"
    element: str = "int"
    granularity: str = "channel"
    group_size: int | None = None
    symmetric: bool = True
    scale: str = "float32"
    tensor_scale: bool = False
    held: str = ""

    def scales(self, layer: Layer) -> int:
        """How many scales the layer's weight has, not counting that of the whole tensor above them; of ggml, blocks."""
        if self.granularity == "tensor":
            return 1
        if self.group_size is None:
            return layer.known_channels
        row = -(-layer.elements // layer.known_channels)
        return layer.known_channels * -(-row // self.group_size)

    def storage_bits(self, layer: Layer) -> int:
        """Bits that the layer's weight takes, scales and zero points counted; blocks of ggml are whole ones."""
        if self.family == GGML:
            return 8 * self.scales(layer) * block_of(self.element)[1]
        zero_point = 0 if self.symmetric else self.bits
        scales = self.scales(layer) * (_SCALE_BITS[self.scale] + zero_point)
        return self.bits * layer.elements + scales + FLOAT_BITS * self.tensor_scale


@dataclass(frozen=True)
class ActivationScheme:
    """How the input of a layer is stored while it computes; one scale for the whole input, or one a token.

    Attributes
    ----------
    bits
        Bits per number.
    family
        ``"integer"`` or ``"float"``.
    element
        What a number is stored as: ``"int"``, ``"e4m3"``, ``"e5m2"``, ``"float16"`` or ``"bfloat16"``.
    symmetric
        Of integers, whether zero is the middle of the range; otherwise there is a zero point. True for ``"float"``.
    dynamic
        Whether the range is taken from the input itself while the network runs, one for each token (row of the last
        dimension; sample, for convolutions), and not fixed before.
    """

    bits: int
    family: str = "integer"
    element: str = "int"
    symmetric: bool = False
    dynamic: bool = False

    @property
    def name(self) -> str:
        """Its part of a format's name, such as ``"a8s"``; of fp8 ``"afp8_e4m3"``, which formats write as ``a8``."""
        if self.family == "float" and self.bits == 16:
            return {"float16": "af16", "bfloat16": "abf16"}[self.element]
        kind = f"a{self.bits}{'s' * self.symmetric}" if self.family == "integer" else f"afp8_{self.element}"
        return kind + "d" * self.dynamic

    @property
    def calibrated(self) -> bool:
        """Whether a range has to be fixed before the network runs."""
        return not self.dynamic and self.element not in {"float16", "bfloat16"}


@dataclass(frozen=True)
class Scheme:
    """Both halves of a built-in format; None stands for what stays float."""

    weights: WeightScheme | None
    activations: ActivationScheme | None


_BLOCKS = {
    "mxfp4": WeightScheme(4, "block", "e2m1", "group", 32, scale="e8m0"),
    "nvfp4": WeightScheme(4, "block", "e2m1", "group", 16, scale="e4m3", tensor_scale=True),
    **{
        name: WeightScheme(bits, GGML, name, "group", block_of(name)[0], scale="float16")
        for name, bits in GGML_FORMATS.items()
    },
}


def is_built_in(name: str) -> bool:
    """Whether this is the name of a built-in format."""
    return isinstance(_parsed(name), Scheme)


def scheme_of(name: str) -> Scheme:
    """What the name of a built-in format stands for.

    A name is a weight part, an activation part, or both. Weights: ``w<bits>`` for 1 to 8 bits, then ``t`` for one scale
    a tensor or ``g<size>`` for one a group instead of one a channel, then ``z`` for zero points; or ``fp8_e4m3``,
    ``fp8_e5m2`` (then ``t``), ``mxfp4``, ``nvfp4``; or a type of llama.cpp: ``q2_k`` to ``q6_k``, ``q4_0``, ``q4_1``,
    ``q5_0``, ``q5_1``, ``q8_0``, ``iq4_nl``, ``iq4_xs``. Activations: ``a<bits>`` for 2 to 8 or 16 bits, then ``s`` for
    a symmetric range, then ``d`` for a dynamic one; or ``af16``, ``abf16``. ``float`` leaves both as they are.

    Parameters
    ----------
    name
        Such as ``"w4g128za8"``.

    Returns
    -------
    scheme
        Both halves.

    Raises
    ------
    InvalidInput
        When there is no such format: the message says what is wrong with the name, and gives the nearest one.
    """
    found = _parsed(name)
    if isinstance(found, Scheme):
        return found
    near = _nearest(name)
    hint = f"did you mean {near!r}? " if near else ""
    raise InvalidInput(
        f"unknown format {name!r}: {found}{hint}known are: {', '.join(EXAMPLES)}, and their combinations"
    )


def _nearest(name: str) -> str | None:
    """The name that the user may have meant: its halves are matched one by one, so that only the wrong one changes."""
    weights, activations = _halves()
    bits = _ELSEWHERE.fullmatch(name.strip().lower())
    if bits is not None and is_built_in(f"w{bits[1]}"):
        return f"w{bits[1]}"
    parts = _SPLIT.fullmatch(name.strip().lower())
    if parts is None:
        return next(iter(difflib.get_close_matches(name.lower(), [*weights, *activations], n=1)), None)
    halves = [(part, known) for part, known in ((parts[1], weights), (parts[2], activations)) if part]
    near = [difflib.get_close_matches(part, known, n=1, cutoff=0.75) for part, known in halves]
    joined = "".join(found[0] for found in near if found)
    return joined if near and all(near) and is_built_in(joined) else None


@functools.lru_cache(maxsize=4096)
def _parsed(name: str) -> Scheme | str:
    """Both halves, or what is wrong with the name, which may be empty."""
    if name == FLOAT:
        return Scheme(None, None)
    parts = _SPLIT.fullmatch(name)
    if not name or parts is None:
        return ""
    weights = None if parts[1] is None else _weights(parts[1])
    if isinstance(weights, str):
        return weights
    activations = None if parts[2] is None else _activations(parts[2], weights)
    return activations if isinstance(activations, str) else Scheme(weights, activations)


def _weights(part: str) -> WeightScheme | str:
    if part in _BLOCKS:
        return _BLOCKS[part]
    if fp8 := _FP8.fullmatch(part):
        return WeightScheme(8, "float", fp8[1], "tensor" if fp8[2] else "channel")
    integer = _INTEGER.fullmatch(part)
    if integer is None:
        return "weights have 1 to 8 bits; "
    scheme = WeightScheme(int(integer[1]), symmetric=integer[4] is None)
    if scheme.bits == 1 and not scheme.symmetric:
        return "one bit leaves no room for a zero point; "
    if integer[3]:
        if integer[3] not in {str(size) for size in GROUP_SIZES}:
            return f"groups have {', '.join(map(str, GROUP_SIZES))} weights; "
        return replace(scheme, granularity="group", group_size=int(integer[3]), scale="float16")
    return replace(scheme, granularity="tensor") if integer[2] else scheme


def _activations(part: str, weights: WeightScheme | None) -> ActivationScheme | str:
    if part in {"af16", "abf16"}:
        return ActivationScheme(16, "float", "float16" if part == "af16" else "bfloat16", symmetric=True)
    match = _ACTIVATION.fullmatch(part)
    if match is None or int(match[1]) not in ACTIVATION_BITS:
        return "activations have 2 to 8 or 16 bits; "
    bits, symmetric, dynamic = int(match[1]), match[2] is not None, match[3] is not None
    if weights is None or weights.family == "integer":
        return ActivationScheme(bits, symmetric=symmetric, dynamic=dynamic)
    if weights.family in ("block", GGML):
        return "beside block formats, activations stay float or are af16 or abf16; "
    if bits != 8 or symmetric:
        return "beside fp8 weights, activations are a8 or a8d, in the same fp8; "
    return ActivationScheme(8, "float", weights.element, symmetric=True, dynamic=dynamic)


def weights_name(name: str) -> str:
    """The name of the format that stores weights as this built-in one does, and leaves activations float."""
    parts = _SPLIT.fullmatch(name)
    return FLOAT if parts is None or parts[1] is None else parts[1]


@functools.cache
def _halves() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every weight part and every activation part that there is."""
    shared = ("", "t", *(f"g{size}" for size in GROUP_SIZES))
    integers = [f"w{bits}{each}{zero}" for bits in range(1, 9) for each in shared for zero in ("", "z")]
    weights = [*integers, "fp8_e4m3", "fp8_e4m3t", "fp8_e5m2", "fp8_e5m2t", *_BLOCKS, FLOAT]
    activations = [f"a{bits}{end}" for bits in ACTIVATION_BITS for end in ("", "s", "d", "sd")]
    return tuple(filter(is_built_in, weights)), (*activations, "af16", "abf16")
