"""A network that is only an ONNX file: its weights as layers, and a torch.nn.Module that ONNX Runtime computes.

What runs a network runs this one too, as far as it changes weights alone and needs no gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .inputs import read_inputs
    from .judging import judged, without_guesses
    from .network import OnnxNetwork, load_onnx

__all__ = ["OnnxNetwork", "judged", "load_onnx", "read_inputs", "without_guesses"]

__getattr__ = lazy_names(
    __name__,
    {
        "OnnxNetwork": ".network",
        "judged": ".judging",
        "load_onnx": ".network",
        "read_inputs": ".inputs",
        "without_guesses": ".judging",
    },
    {},
)
