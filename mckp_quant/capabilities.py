"""Which formats each export target can run, as data: what a target cannot take is no choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import unknown

if TYPE_CHECKING:
    from .formats import Format
    from .layers import Layer

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")


@dataclass(frozen=True)
class Capability:
    """What a target takes.

    Attributes
    ----------
    kinds
        The kinds of layers that it quantises; the others stay as they are.
    weight_bits
        Bits of weights that it stores.
    activation_bits
        Bits of activations that it computes with; None stands for activations in floating point.
    """

    kinds: tuple[str, ...]
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int | None, ...] = (None,)

    def takes(self, layer: Layer, entry: Format) -> bool:
        """Whether the target can run the layer in the format; every target can leave it in floating point."""
        if entry.name == "float":
            return True
        known = entry.weight_bits in self.weight_bits and entry.activation_bits in self.activation_bits
        return known and layer.kind in self.kinds


TARGETS: dict[str, Capability] = {
    "torchao": Capability(("linear", "conv2d"), (2, 3, 4, 5, 6, 7, 8), (None, 8)),
    "onnxruntime_qdq": Capability((*_CONVOLUTIONS, "linear"), (4, 8, 16), (4, 8, 16)),
    "onnxruntime_nbits": Capability(("linear",), (2, 4, 8)),
    "openvino": Capability(("linear",), (2, 3, 4, 8)),
    "compressed_tensors": Capability(("linear",), (3, 4, 8), (None, 8)),
    "modelopt": Capability(("linear",), (1, 2, 3, 4, 5, 6, 7, 8), (None, 1, 2, 3, 4, 5, 6, 7, 8)),
    "gptqmodel": Capability(("linear",), (1, 2, 3, 4, 5, 6, 7, 8)),
    "coreml": Capability((*_CONVOLUTIONS, "linear"), (4, 8)),
}


def capability(target: str) -> Capability:
    """What the target of this name takes; raises InvalidInput, with the nearest name, where there is none."""
    if target not in TARGETS:
        raise unknown("target", target, TARGETS)
    return TARGETS[target]
