"""Policies in the form of the toolchains that run them: each artefact is read back and compared before it counts.

Weights are rounded by the room of rounding, never here: the codes of a bank or of a finished network are copied, and
nearest ones are made where there is none. The packages of a target are imported inside functions.
"""

from __future__ import annotations

from .auditing import Audit, audit
from .configurations.writing import ConfigurationOnly, configuration
from .contract import Exporter, ExportMismatch, Job, Stored
from .exporting import available, export
from .importing import read_policy
from .inventory import Contents, StoredLayer, contents
from .records import ExportReport, FileSize, LayerRecord
from .sizes.checking import FileTooLarge
from .sizes.weighing import with_file_size
from .writers.to_compressed_tensors import CompressedTensors
from .writers.to_gguf import Gguf
from .writers.to_huggingface import HuggingFace
from .writers.to_json import Json
from .writers.to_onnxruntime import OnnxRuntime
from .writers.to_onnxruntime_nbits import OnnxRuntimeNBits
from .writers.to_torchao import Torchao

__all__ = [
    "Audit",
    "CompressedTensors",
    "ConfigurationOnly",
    "Contents",
    "ExportMismatch",
    "ExportReport",
    "Exporter",
    "FileSize",
    "FileTooLarge",
    "Gguf",
    "HuggingFace",
    "Job",
    "Json",
    "LayerRecord",
    "OnnxRuntime",
    "OnnxRuntimeNBits",
    "Stored",
    "StoredLayer",
    "Torchao",
    "audit",
    "available",
    "configuration",
    "contents",
    "export",
    "read_policy",
    "with_file_size",
]
