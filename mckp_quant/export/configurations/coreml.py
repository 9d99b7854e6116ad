"""Core ML: the ``PostTrainingQuantizerConfig`` of coremltools for PyTorch networks, by names of modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from ...formats.format import FLOAT, Format
from ..naming import integer_format
from .contract import Configuration, on_network, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .contract import Row

_KEY = "module_name_configs"


def _write(rows: Sequence[Row]) -> dict[str, Any]:
    return {_KEY: {row.layer.name: None if row.format.name == FLOAT.name else _settings(row) for row in rows}}


def _settings(row: Row) -> dict[str, Any]:
    scheme = weights(row, "coreml")
    shared = {"channel": "per_channel", "tensor": "per_tensor", "group": "per_block"}[scheme.granularity]
    settings: dict[str, Any] = {
        "weight_dtype": f"int{scheme.bits}",
        "granularity": shared,
        "quantization_scheme": "symmetric" if scheme.symmetric else "affine",
    }
    return settings if scheme.group_size is None else {**settings, "block_size": scheme.group_size}


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get(_KEY), dict)


def _read(document: Any, names: Sequence[str]) -> dict[str, Format]:
    found = {name: FLOAT if entry is None else _format(entry) for name, entry in document[_KEY].items()}
    return on_network(found, names, "coreml")


def _format(entry: Any) -> Format:
    kind = str(entry.get("weight_dtype", "int8")).removeprefix("u")
    if kind == "float32":
        return FLOAT
    if not kind.startswith("int"):
        raise InvalidInput(f"coreml: the weight_dtype {entry['weight_dtype']!r} stands for no built-in format")
    shared = entry.get("granularity", "per_channel")
    group = int(entry["block_size"]) if shared == "per_block" else None
    affine = entry.get("quantization_scheme", "symmetric") == "affine"
    return integer_format(int(kind[3:]), group=group, tensor=shared == "per_tensor", zero_point=affine)


COREML = Configuration(
    "coreml",
    "post_training_quantizer.json",
    "coremltools 9.0, coremltools/optimize/torch/quantization/post_training_quantization.py",
    "coreml",
    _write,
    _recognises,
    _read,
)
