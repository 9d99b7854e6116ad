"""Which formats each export target can run, and how it stores them; a format that it cannot run is never chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import InvalidInput, unknown
from .blocks import GGUF_BLOCKS
from .schemes import FLOAT, GROUP_SIZES
from .shards import refuses_shards
from .storage import (
    compressed_tensors_bytes,
    gguf_bytes,
    matmul_nbits_bytes,
    mlx_bytes,
    packed_bytes,
    torchao_bytes,
    whole_blocks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..layers import Layer
    from .format import Format

_MATRIX = 2  # dimensions of a weight that every target takes for one of a linear layer, where nothing says its kind
_SPREADING = ("vllm", "sglang")
_MOST_DEVICES = 1024
_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")


@dataclass(frozen=True)
class Capability:
    """What a target takes.

    Attributes
    ----------
    kinds
        The kinds of layers that it quantises; the others stay as they are.
    weight_bits
        Bits of integer weights that it stores.
    activation_bits
        Bits of activations that it computes with; None stands for activations in floating point.
    dynamic
        Whether ranges of activations are taken while the network runs (True), fixed before (False), or either (None).
    symmetric_activations
        Whether zero must be the middle of the range of integer activations.
    activation_kinds, activation_formats
        The kinds of layers, and the names of the formats, that may quantise activations; None for all.
    granularities
        What may share a scale of a weight: ``"tensor"``, ``"channel"``, ``"group"``.
    group_sizes
        How many weights a group may have; None for any number.
    group_kinds, group_bits
        The kinds of layers, and the bits of weights, that may have groups; None for all.
    divides
        Whether groups must divide the row of weights that makes one output.
    symmetric
        Whether zero must be the middle of the range of weights.
    zero_points
        Whether every scale of integers comes with a zero point.
    zero_point_bits
        The bits of weights that may have zero points; None for all.
    elements
        Small floating-point numbers that weights may be stored as, such as ``"e4m3"``.
    blocks
        Whether the types of GGUF files, such as ``"Q4_K"``, are formats; they too must divide the row.
    shared
        Whether it takes weights that several modules share.
    ties
        Rules of `find_ties` for layers that the target fuses: each set must have one format.
    expert_formats
        The names of the formats that experts may have, beside what the rest of the row says; None for all.
    holds_scales
        Whether the runtime holds the scales of integers in the network's own type, where inputs stay float: float16
        and bfloat16 networks then compute with scales that are rounded to it.
    stored_bytes
        From layer and format to the bytes that the target stores for the weight, scales and padding counted.
    tensor_parallel
        Over how many devices the runtime spreads layers, see `shards`.
    """

    kinds: tuple[str, ...]
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int | None, ...] = (None,)
    dynamic: bool | None = None
    symmetric_activations: bool = False
    activation_kinds: tuple[str, ...] | None = None
    activation_formats: tuple[str, ...] | None = None
    granularities: tuple[str, ...] = ("channel", "group")
    group_sizes: tuple[int, ...] | None = None
    group_kinds: tuple[str, ...] | None = None
    group_bits: tuple[int, ...] | None = None
    divides: bool = True
    symmetric: bool = False
    zero_points: bool = False
    zero_point_bits: tuple[int, ...] | None = None
    elements: tuple[str, ...] = ()
    blocks: bool = False
    shared: bool = True
    ties: tuple[str, ...] = ()
    expert_formats: tuple[str, ...] | None = None
    holds_scales: bool = False
    stored_bytes: Callable[[Layer, Format], int] = packed_bytes
    tensor_parallel: int = 1

    def takes(self, layer: Layer, entry: Format) -> bool:
        """Whether the target can run the layer in the format; every target can leave it in floating point."""
        return not self.refuses(layer, entry)

    def leaves_in_float(self, layer: Layer) -> bool:
        """Whether the target leaves the layer as it is whatever it was measured in; False where too little is known."""
        if not layer.kind:
            return False
        if layer.kind not in self.kinds or (layer.ties and not self.shared):
            return True
        grouped = self.granularities == ("group",) and self.divides and layer.channels is not None
        return grouped and all(layer.row % size for size in self.group_sizes or (1,))

    def refuses(self, layer: Layer, entry: Format) -> str:
        """Why the target cannot run the layer in the format.

        Parameters
        ----------
        layer
            The layer.
        entry
            The format.

        Returns
        -------
        reason
            A few words; empty where it can.
        """
        if entry.name == FLOAT:
            return ""
        if not layer.kind and len(layer.shape) != _MATRIX and not self.blocks:
            return "nothing says of which kind the layer is (a column 'kind')"
        if layer.kind and layer.kind not in self.kinds:
            return f"{layer.kind} layers stay in floating point"
        if layer.ties and not self.shared:
            return f"it shares its weight with {', '.join(layer.ties)}, which would be stored twice"
        if layer.kind == "experts" and self.expert_formats is not None and entry.name not in self.expert_formats:
            return f"experts only as {', '.join(self.expert_formats)}"
        if self.blocks and entry.name.upper() in GGUF_BLOCKS:
            return self._refuses_blocks(layer, entry)
        refused = self._refuses_weights(layer, entry) or self._refuses_activations(layer, entry)
        return refused or refuses_shards(layer, entry, self.tensor_parallel)

    def _refuses_blocks(self, layer: Layer, entry: Format) -> str:
        size, _ = GGUF_BLOCKS[entry.name.upper()]
        if layer.channels is None:
            whole = whole_blocks(layer, entry)
            return "" if whole else "nothing says how long its rows are (a column 'shape' or 'channels')"
        return f"rows of {layer.row} weights are no multiple of {size}" if layer.row % size else ""

    def _refuses_weights(self, layer: Layer, entry: Format) -> str:
        scheme = entry.weight_scheme
        if scheme is None:  # a user's own format says no more than its bits
            return "" if entry.weight_bits in self.weight_bits else f"no {entry.weight_bits}-bit weights"
        if scheme.family == "integer" and scheme.bits not in self.weight_bits:
            return f"no {scheme.bits}-bit weights"
        if scheme.family != "integer" and scheme.element not in self.elements:
            return f"no {scheme.element} weights"
        if self.symmetric and not scheme.symmetric:
            return "no zero points of weights"
        if self.zero_point_bits is not None and not scheme.symmetric and scheme.bits not in self.zero_point_bits:
            return f"no zero points of {scheme.bits}-bit weights"
        if self.zero_points and scheme.family == "integer" and scheme.symmetric:
            return "every scale of weights has a zero point there"
        if scheme.granularity not in self.granularities:
            return f"no scale for each {scheme.granularity}"
        if scheme.group_size is None:
            return ""
        if self.group_sizes is not None and scheme.group_size not in self.group_sizes:
            return f"no groups of {scheme.group_size}"
        if self.group_kinds is not None and layer.kind and layer.kind not in self.group_kinds:
            return f"no groups in {layer.kind} layers"
        if self.group_bits is not None and scheme.bits not in self.group_bits:
            return f"no groups of {scheme.bits}-bit weights"
        if self.divides and layer.channels is None:
            return "nothing says how long its rows are (a column 'shape' or 'channels')"
        if self.divides and layer.row % scheme.group_size:
            return f"rows of {layer.row} weights are no multiple of {scheme.group_size}"
        return ""

    def _refuses_activations(self, layer: Layer, entry: Format) -> str:
        if entry.activation_bits not in self.activation_bits:
            bits = "floating-point" if entry.activation_bits is None else f"{entry.activation_bits}-bit"
            return f"no {bits} activations"
        scheme = entry.activation_scheme
        if scheme is not None and not (scheme.dynamic or scheme.calibrated):
            return f"no {scheme.element} activations"
        if scheme is not None and self.symmetric_activations and not scheme.symmetric:
            return "no zero points of activations"
        if scheme is not None and layer.ties and not scheme.dynamic:
            return "no fixed ranges of activations where modules share a weight, as each has a range of its own"
        known = self.activation_kinds is None or not layer.kind or layer.kind in self.activation_kinds
        if scheme is not None and not known:
            return f"no quantised activations in {layer.kind} layers"
        if scheme is not None and self.activation_formats is not None and entry.name not in self.activation_formats:
            return f"quantised activations only as in {' and '.join(self.activation_formats)}"
        if scheme is None or self.dynamic is None or not entry.built_in or scheme.dynamic == self.dynamic:
            return ""
        return f"no {'dynamic' if scheme.dynamic else 'static'} ranges of activations"


# transformers unpacks the experts of a network as it loads them, all by one config group, in these forms.
_EXPERTS_BY_ONE_GROUP = r"(?P<part>.+\.experts\.(?:gate_up_proj|up_proj|down_proj))$"
_UNPACKED_EXPERTS = (
    *(f"w{bits}{size}" for bits in range(2, 9) for size in ("", *(f"g{size}" for size in GROUP_SIZES))),
    "fp8_e4m3",
)
_COMPRESSED_TENSORS = Capability(
    ("linear",),
    (2, 3, 4, 5, 6, 7, 8),
    (None, 8),
    dynamic=True,
    elements=("e4m3",),
    shared=False,
    stored_bytes=compressed_tensors_bytes,
)
# Groups are those of the Marlin kernels. Other widths than eight with rounded inputs are packed, and packed weights
# are loaded as if their inputs stayed float.
_MARLIN = replace(
    _COMPRESSED_TENSORS,
    kinds=("linear", "experts"),
    # The kernels for experts take four and eight bits without zero points.
    expert_formats=tuple(f"w{bits}{size}" for bits in (4, 8) for size in ("", "g32", "g64", "g128")),
    group_sizes=(32, 64, 128),
    activation_formats=("w8a8d", "w8a8sd", "fp8_e4m3a8d"),
    holds_scales=True,
)
_MODELOPT = Capability(
    ("linear",),
    (1, 2, 3, 4, 5, 6, 7, 8),
    (None, 2, 3, 4, 5, 6, 7, 8),
    symmetric_activations=True,
    granularities=("channel", "group", "tensor"),
    divides=False,
    symmetric=True,
    elements=("e4m3",),
)
_QDQ = Capability(
    (*_CONVOLUTIONS, "linear", "linear_transposed", "experts", "experts_transposed"),
    (4, 8),
    (None, 4, 8, 16),
    dynamic=False,
    activation_kinds=(*_CONVOLUTIONS, "linear", "linear_transposed"),
    granularities=("channel", "tensor"),
    symmetric=True,
)

TARGETS: dict[str, Capability] = {
    "torchao": Capability(
        ("linear", "conv2d", "experts"),
        (2, 3, 4, 5, 6, 7, 8),
        (None, 8),
        dynamic=True,
        # torchao's safetensors hold no other tensors with activations.
        activation_kinds=("linear",),
        activation_formats=("w8a8d", "w8a8sd"),
        group_kinds=("linear", "experts"),
        # The one tensor that can be taken apart by experts has eight bits and no zero points.
        expert_formats=("w8", *(f"w8g{size}" for size in GROUP_SIZES)),
        shared=False,
        stored_bytes=torchao_bytes,
    ),
    "onnxruntime": _QDQ,
    "onnxruntime_qdq": _QDQ,
    "onnxruntime_nbits": Capability(
        ("linear", "linear_transposed"),
        (2, 4, 8),
        granularities=("group",),
        group_sizes=(16, 32, 64, 128, 256),
        divides=False,
        shared=False,
        stored_bytes=matmul_nbits_bytes,
    ),
    "gguf": Capability(
        ("linear", "embedding", "experts"),
        (4, 5, 8),
        granularities=("group",),
        group_sizes=(32,),
        symmetric=True,
        blocks=True,
        stored_bytes=gguf_bytes,
    ),
    # NNCF 3.4 has no call that follows one of three bits, and two bits without zero points only.
    "openvino": Capability(("linear",), (2, 4, 8), group_bits=(2, 4), zero_point_bits=(4, 8)),
    # Hugging Face's loader takes every width, and refuses packed zero points.
    "compressed_tensors": replace(
        _COMPRESSED_TENSORS,
        kinds=("linear", "experts"),
        symmetric=True,
        ties=(_EXPERTS_BY_ONE_GROUP,),
        expert_formats=_UNPACKED_EXPERTS,
    ),
    # Older versions of vLLM have kernels for four and eight bits only; zero points are for these widths still.
    "vllm": replace(_MARLIN, zero_point_bits=(4, 8), ties=("vllm",)),
    # SGLang takes packed integers without zero points only.
    "sglang": replace(_MARLIN, weight_bits=(4, 8), symmetric=True, ties=("sglang",)),
    "modelopt": _MODELOPT,
    "tensorrt_llm": replace(_MODELOPT, ties=("tensorrt_llm",)),
    "gptqmodel": Capability(("linear",), (2, 3, 4, 5, 6, 7, 8), shared=False),
    # Checkpoints hold two, three, four and eight bits.
    "auto_round": Capability(("linear",), (2, 3, 4, 8), elements=("e2m1",), shared=False),
    "aimet": Capability(
        (*_CONVOLUTIONS, "linear"), (2, 3, 4, 5, 6, 7, 8), granularities=("channel", "group", "tensor")
    ),
    "mlx": Capability(
        ("linear", "embedding"),
        (2, 3, 4, 5, 6, 8),
        granularities=("group",),
        group_sizes=(32, 64, 128),
        zero_points=True,
        elements=("e2m1",),
        stored_bytes=mlx_bytes,
    ),
    # coremltools wants all modules of one configuration with zero points, or none.
    "coreml": Capability((*_CONVOLUTIONS, "linear"), (4, 8), symmetric=True),
}


def held_scales(target: str | None, entry: Format, dtype: str) -> str:
    """In what a target's runtime holds the scales of a format, beside what they are stored as.

    Parameters
    ----------
    target
        The export target, or None.
    entry
        The format.
    dtype
        The type of the layer's float weight, such as ``"bfloat16"``.

    Returns
    -------
    held
        ``"float16"`` or ``"bfloat16"``, see `WeightScheme.held`; empty where scales stay as they are stored.
    """
    scheme = entry.weight_scheme
    packed = scheme is not None and scheme.family == "integer" and entry.activation_scheme is None
    half = dtype in ("float16", "bfloat16")
    return dtype if target is not None and capability(target).holds_scales and packed and half else ""


def capability(target: str) -> Capability:
    """What the target of this name takes.

    Parameters
    ----------
    target
        A name of `TARGETS`; of vLLM and SGLang also with the number of devices that share the network by tensor
        parallelism, ``"vllm:tp8"``.

    Returns
    -------
    capability
        What it takes.

    Raises
    ------
    InvalidInput
        When there is no such target, with the nearest name, or it does not spread layers, or not over so many devices.
    """
    name, separator, devices = target.partition(":tp")
    if name not in TARGETS:
        raise unknown("target", target, TARGETS)
    if not separator:
        return TARGETS[name]
    if name not in _SPREADING or not devices.isdecimal() or not 1 <= int(devices) <= _MOST_DEVICES:
        raise InvalidInput(
            f"target {target!r}: {' and '.join(_SPREADING)} spread layers over 1 to {_MOST_DEVICES} devices, written "
            "as vllm:tp8; other targets have no such part"
        )
    return replace(TARGETS[name], tensor_parallel=int(devices))
