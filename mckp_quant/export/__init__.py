"""Export: policies in the form of the toolchains that run them, each read back and compared before it counts."""

from __future__ import annotations

from ._export import available, export
from .auditing import Audit, audit
from .contract import Exporter, ExportMismatch
from .importing import read_policy
from .records import ExportReport, LayerRecord
from .to_compressed_tensors import CompressedTensors
from .to_gguf import Gguf
from .to_huggingface import HuggingFace
from .to_json import Json
from .to_onnxruntime import OnnxRuntime
from .to_onnxruntime_nbits import OnnxRuntimeNBits
from .to_torchao import Torchao

__all__ = [
    "Audit",
    "CompressedTensors",
    "ExportMismatch",
    "ExportReport",
    "Exporter",
    "Gguf",
    "HuggingFace",
    "Json",
    "LayerRecord",
    "OnnxRuntime",
    "OnnxRuntimeNBits",
    "Torchao",
    "audit",
    "available",
    "export",
    "read_policy",
]
