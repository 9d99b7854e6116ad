"""AutoRound: the ``layer_config`` that it takes, and the ``extra_config`` of the checkpoints that it writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from ...formats.format import FLOAT, Format
from ..naming import integer_format
from .contract import Configuration, need_names, on_network, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .contract import Row

_METHODS = ("auto-round", "intel/auto-round")
_BASE = ("bits", "group_size", "sym", "data_type", "act_bits")
_FULL = 16  # bits from which on a layer is left alone
_FLOATS = {"mx_fp": "mxfp4", "nv_fp": "nvfp4"}


def _write(rows: Sequence[Row]) -> dict[str, Any]:
    return {row.layer.name: _settings(row) for row in rows}


def _settings(row: Row) -> dict[str, Any]:
    if row.format.name == FLOAT.name:
        return {"bits": _FULL, "act_bits": _FULL}
    scheme = weights(row, "auto_round")
    kind = next((key for key, name in _FLOATS.items() if name == row.format.name), "int")
    size = scheme.group_size or -1
    return {"bits": scheme.bits, "group_size": size, "sym": scheme.symmetric, "data_type": kind, "act_bits": _FULL}


def _recognises(document: Any) -> bool:
    if not isinstance(document, dict):
        return False
    if document.get("quant_method") in _METHODS:
        return True
    rows = list(document.values())
    return bool(rows) and all(isinstance(row, dict) and "bits" in row and set(row) <= set(_BASE) for row in rows)


def _read(document: Any, names: Sequence[str]) -> dict[str, Format]:
    if document.get("quant_method") not in _METHODS:
        return on_network({name: _format(row) for name, row in document.items()}, names, "auto_round")
    need_names(names, "auto_round", "its checkpoints name only the layers that differ from the others")
    base = {key: document.get(key) for key in _BASE if document.get(key) is not None}
    extra: dict[str, Any] = document.get("extra_config") or {}
    blocks = document.get("block_name_to_quantize") or ""
    prefixes = (
        [each.strip() for each in blocks.split(",")] if isinstance(blocks, str) else [str(each) for each in blocks]
    )
    known = set(names)
    patterns = [key for key in extra if key not in known]
    on_network({key: FLOAT for key in patterns if not any(re.search(key, name) for name in names)}, names, "auto_round")
    found = {}
    for name in names:
        key = name if name in extra else next((each for each in patterns if re.search(each, name)), None)
        if key is None and not any(name.startswith(prefix) for prefix in prefixes):
            continue  # outside of the blocks, such as the head
        found[name] = _format({**base, **(extra[key] if key is not None else {})})
    return on_network(found, names, "auto_round")


def _format(settings: Any) -> Format:
    bits, inputs = int(settings.get("bits", _FULL)), settings.get("act_bits")
    if bits >= _FULL:
        return FLOAT
    if inputs is not None and int(inputs) < _FULL:
        raise InvalidInput(
            f"auto_round: activations of {inputs} bits, in {dict(settings)}, stand for no built-in format"
        )
    kind = str(settings.get("data_type") or "int").removesuffix(str(bits))
    if kind in _FLOATS:
        return Format.named(_FLOATS[kind])
    if not kind.startswith("int"):
        raise InvalidInput(f"auto_round: the data type {settings['data_type']!r} stands for no built-in format")
    size, symmetric = int(settings.get("group_size", 128)), bool(settings.get("sym", True))
    return integer_format(bits, group=None if size == -1 else size, zero_point=not symmetric)


AUTO_ROUND = Configuration(
    "auto_round",
    "layer_config.json",
    "auto-round 0.15.0, auto_round/schemes.py, export/export_to_autoround/export.py and inference/convert_model.py",
    "auto_round",
    _write,
    _recognises,
    _read,
    "AutoRound gives layers that its layer_config does not name the scheme that it is called with",
)
