"""ModelOpt: the ``quant_cfg`` that it takes, and the ``quantized_layers`` of the checkpoints that it writes."""

from __future__ import annotations

import fnmatch
import glob
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput, unknown
from ...formats.format import FLOAT, Format
from ..naming import integer_format
from .contract import BitsAs, Configuration, need_names, on_network, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .contract import Row

_WEIGHTS, _INPUTS = ".weight_quantizer", ".input_quantizer"
_E4M3 = [4, 3]
_LAST = -1  # the dimension that groups divide; ModelOpt takes it as a number only, which JSON cannot write


def _write(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything off, then full names on: the last entry that matches counts."""
    entries: list[dict[str, Any]] = [{"quantizer_name": "*", "enable": False}]
    for row in rows:
        if row.format.name == FLOAT.name:
            continue
        name = glob.escape(row.layer.name)
        inputs = row.format.activation_scheme
        if row.format.weights_only.name != FLOAT.name:
            entries.append({"quantizer_name": name + _WEIGHTS, "cfg": _weights(row)})
        if inputs is not None:
            bits: Any = inputs.bits if inputs.family == "integer" else _E4M3
            # A scale for each token while it runs, or a fixed one for the tensor.
            how = {"type": "dynamic", "block_sizes": {_LAST: None}} if inputs.dynamic else {"axis": None}
            entries.append({"quantizer_name": name + _INPUTS, "cfg": {"num_bits": bits, **how}})
    return {"quant_cfg": entries, "algorithm": "max"}


def _weights(row: Row) -> dict[str, Any]:
    scheme = weights(row, "modelopt", symmetric=True)
    bits: Any = scheme.bits if scheme.family == "integer" else _E4M3
    if scheme.group_size is not None:
        return {"num_bits": bits, "block_sizes": {_LAST: scheme.group_size}}
    return {"num_bits": bits, "axis": None if scheme.granularity == "tensor" else 0}


def _recognises(document: Any) -> bool:
    if not isinstance(document, dict):
        return False
    said = document.get("quantization", document)
    return isinstance(document.get("quant_cfg"), list) or (isinstance(said, dict) and "quant_algo" in said)


def _read(document: Any, names: Sequence[str]) -> dict[str, Format]:
    if isinstance(document.get("quant_cfg"), list):
        return _of_entries(document["quant_cfg"], names)
    return _of_checkpoint(document.get("quantization", document), names)


def _of_entries(entries: list[Any], names: Sequence[str]) -> dict[str, Format]:
    on = [entry for entry in entries if entry.get("enable", True)]
    plain = {
        _unescaped(entry["quantizer_name"].removesuffix(_WEIGHTS).removesuffix(_INPUTS)): FLOAT
        for entry in on
        if not _is_pattern(entry["quantizer_name"])
    }
    if not names and len(plain) < len({entry["quantizer_name"].rpartition(".")[0] for entry in on}):
        need_names(names, "modelopt", "its quant_cfg has patterns")
    on_network(plain, names, "modelopt")
    found = {}
    for name in names or plain:
        held, inputs = _last(entries, name + _WEIGHTS), _last(entries, name + _INPUTS)
        tail = "" if inputs is None else _activations(inputs)
        found[name] = Format.named(tail) if held is None and tail else FLOAT if held is None else _format(held, tail)
    return on_network(found, names, "modelopt")


def _is_pattern(text: str) -> bool:
    return _unescaped(text) == text and any(sign in text for sign in "*?[")


def _unescaped(text: str) -> str:
    for sign in "*?[":
        text = text.replace(f"[{sign}]", sign)
    return text


def _last(entries: list[Any], quantizer: str) -> Any:
    matching = [entry for entry in entries if fnmatch.fnmatchcase(quantizer, str(entry["quantizer_name"]))]
    return matching[-1].get("cfg") or {} if matching and matching[-1].get("enable", True) else None


def _activations(cfg: Any) -> str:
    dynamic = "d" if cfg.get("type") == "dynamic" else ""
    return f"a8{dynamic}" if isinstance(cfg.get("num_bits"), (list, tuple)) else f"a{cfg['num_bits']}s{dynamic}"


def _format(cfg: Any, tail: str) -> Format:
    bits, sizes = cfg.get("num_bits", 8), cfg.get("block_sizes") or {}
    group = sizes.get(str(_LAST), sizes.get(_LAST))
    if isinstance(bits, (list, tuple)):
        if list(bits) != _E4M3 or group is not None:
            raise InvalidInput(f"modelopt: the weights {dict(cfg)} stand for no built-in format")
        return Format.named(f"fp8_e4m3{'t' if cfg.get('axis') is None else ''}{tail}")
    return integer_format(int(bits), group=group, tensor=group is None and cfg.get("axis") is None, activations=tail)


def _of_checkpoint(said: Any, names: Sequence[str]) -> dict[str, Format]:
    layers = said.get("quantized_layers") or {}
    if layers:
        return on_network({name: _of_algorithm(entry) for name, entry in layers.items()}, names, "modelopt")
    need_names(names, "modelopt", "one format counts for every layer")
    left = said.get("exclude_modules") or said.get("ignore") or ()
    return {
        name: FLOAT if any(fnmatch.fnmatchcase(name, pattern) for pattern in left) else _of_algorithm(said)
        for name in names
    }


def _of_algorithm(entry: Any) -> Format:
    """The format of an algorithm; one whose activations have no built-in format here keeps the name of the tool."""
    kind, size = str(entry["quant_algo"]), int(entry.get("group_size") or 0)
    plain = {
        "FP8": "fp8_e4m3ta8",
        "FP8_PER_CHANNEL_PER_TOKEN": "fp8_e4m3a8d",
        "W8A16": "w8",
        "W8A8_SQ_PER_CHANNEL": "w8a8s",
        "W4A16_AWQ": f"w4g{size or 128}",
        "W4A16_NVFP4": "nvfp4",
    }
    own = {
        "NVFP4": ("nvfp4", 4, 4),
        "NVFP4_AWQ": ("nvfp4", 4, 4),
        "W4A8_AWQ": (f"w4g{size or 128}", 4, 8),
        "W4A8_NVFP4_FP8": ("nvfp4", 4, 8),
        "W4A8_MXFP4_FP8": ("mxfp4", 4, 8),
    }
    if kind in plain:
        return Format.named(plain[kind])
    if kind in own:
        stored, bits, inputs = own[kind]
        return Format(kind, bits, inputs, stored_bits=BitsAs(stored))
    raise unknown("quant_algo of ModelOpt", kind, (*plain, *own))


_SOURCE = "ModelOpt, commit a2fbac7 of August 2026, modelopt/torch/quantization/config.py and export/quant_utils.py"
_NOTE = (
    'block_sizes have the key "-1" in JSON, which ModelOpt wants as a number: load the file with '
    "object_hook=lambda held: {-1 if key == '-1' else key: entry for key, entry in held.items()}"
)
MODELOPT = Configuration("modelopt", "quant_cfg.json", _SOURCE, "modelopt", _write, _recognises, _read, _NOTE)
TENSORRT_LLM = Configuration(
    "tensorrt_llm", "quant_cfg.json", _SOURCE, "tensorrt_llm", _write, _recognises, _read, _NOTE
)
