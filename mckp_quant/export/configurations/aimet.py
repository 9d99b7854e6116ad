"""AIMET: encodings of parameters, version 1.0.0, with the scales and offsets of the rounded weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from ...formats.format import FLOAT, Format
from ..naming import integer_format
from .contract import Configuration, on_network, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .contract import Row

_KEY, _VERSION, _WEIGHT = "param_encodings", "1.0.0", ".weight"
_KINDS = {"tensor": "PER_TENSOR", "channel": "PER_CHANNEL", "group": "PER_BLOCK"}


def _write(rows: Sequence[Row]) -> dict[str, Any]:
    encodings = [_encoding(row) for row in rows if row.format.name != FLOAT.name]
    return {
        "version": _VERSION,
        "activation_encodings": [],
        _KEY: encodings,
        "excluded_layers": [],
        "producer": "mckp-quant",
    }


def _encoding(row: Row) -> dict[str, Any]:
    scheme = weights(row, "aimet")
    if row.scales is None:
        raise InvalidInput(
            f"aimet: encodings hold the scales of layer {row.layer.name!r}, and there are no weights to take them "
            "from: export with the network, model=..."
        )
    scales, zero_points = row.scales()
    half = 2 ** (scheme.bits - 1)  # AIMET counts codes from 0, and adds the offset
    found: dict[str, Any] = {
        "name": row.layer.name + _WEIGHT,
        "enc_type": _KINDS[scheme.granularity],
        "dtype": "INT",
        "bw": scheme.bits,
        "is_sym": scheme.symmetric,
        "scale": [each for channel in scales for each in channel],
        "offset": [-half - each for channel in zero_points for each in channel],
    }
    return found if scheme.group_size is None else {**found, "block_size": scheme.group_size}


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get(_KEY), list)


def _read(document: Any, names: Sequence[str]) -> dict[str, Format]:
    found = {str(entry["name"]).removesuffix(_WEIGHT): _format(entry) for entry in document[_KEY]}
    return on_network(found, names, "aimet")


def _format(entry: Any) -> Format:
    if entry["dtype"] != "INT":
        return FLOAT
    kind = entry["enc_type"]
    if kind not in _KINDS.values():
        raise InvalidInput(f"aimet: the enc_type {kind!r} of {entry['name']!r} stands for no built-in format")
    group = int(entry["block_size"]) if kind == _KINDS["group"] else None
    return integer_format(
        int(entry["bw"]), group=group, tensor=kind == _KINDS["tensor"], zero_point=not entry["is_sym"]
    )


AIMET = Configuration(
    "aimet",
    "model.encodings.json",
    "aimet_onnx, commit c51b284 of October 2024, qc_quantize_op.py and quantsim.py",
    "aimet",
    _write,
    _recognises,
    _read,
)
