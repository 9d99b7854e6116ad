"""Reads what torchao writes: its configuration as JSON, and states as safetensors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...common.files import read_json, readable
from ...common.packages import require
from ...common.tensor_files import read_safetensors
from ...errors import InvalidInput
from ...formats.format import Format
from ..contract import Stored
from ..naming import integer_format

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CONFIG = "torchao_config.json"
STATE = "model.safetensors"
EXTRA = "torchao"

_FLOAT = Format.named("float")
_TENSORS = ("IntxUnpackedToInt8Tensor", "Int8Tensor")
_OF_EXPERTS = 3  # dimensions


def formats_of(config: Mapping[str, Any], layers: Iterable[str]) -> dict[str, Format]:
    """The formats that a `FqnToConfig` gives to layers, by torchao's own rules of precedence.

    Parameters
    ----------
    config
        What ``torchao.core.config.config_to_dict`` gave, as JSON: ``_type``, ``_data``.
    layers
        The names of the layers.

    Returns
    -------
    formats
        One for each name; float where nothing matches.

    Raises
    ------
    InvalidInput
        When the configuration is of another type, or describes a format that is not built in.
    """
    if config.get("_type") not in ("FqnToConfig", "ModuleFqnToConfig"):
        raise InvalidInput(f"the torchao configuration is a {config.get('_type')!r}: expected a FqnToConfig")
    rules: dict[str, Any] = config["_data"].get("fqn_to_config") or config["_data"].get("module_fqn_to_config", {})
    return {layer: _format(layer, _rule(rules, layer)) for layer in layers}


def _rule(rules: Mapping[str, Any], layer: str) -> Mapping[str, Any] | None:
    """Full names come first, of the parameter before those of the module; then patterns, in order; then the default."""
    for name in (f"{layer}.weight", layer):
        if name in rules:
            return rules[name]  # type: ignore[no-any-return]
    for name in (f"{layer}.weight", layer):
        for pattern, rule in rules.items():
            if pattern.startswith("re:") and re.fullmatch(pattern.removeprefix("re:"), name):
                return rule  # type: ignore[no-any-return]
    return rules.get("_default")


def _format(layer: str, rule: Mapping[str, Any] | None) -> Format:
    if rule is None:
        return _FLOAT
    kind, data = rule["_type"], rule["_data"]
    if kind == "Int8WeightOnlyConfig":
        group = data.get("group_size") or (data.get("granularity") or {}).get("_data", {}).get("group_size")
        return integer_format(8, group=group)
    if kind == "Int8DynamicActivationInt8WeightConfig":
        return integer_format(8, activations=_dynamic(data["act_mapping_type"]["_data"]))
    if kind not in ("IntxWeightOnlyConfig", "Int8DynamicActivationIntxWeightConfig"):
        raise InvalidInput(
            f"layer {layer!r} has the torchao configuration {kind!r}, which stands for no built-in format"
        )
    prefix = "" if kind == "IntxWeightOnlyConfig" else "weight_"
    return integer_format(
        _bits(data["weight_dtype"]),
        group=data[f"{prefix}granularity"]["_data"].get("group_size"),
        zero_point=data[f"{prefix}mapping_type"]["_data"] == "ASYMMETRIC",
        activations=_dynamic(data["act_mapping_type"]["_data"]) if prefix else "",
    )


def _bits(dtype: Mapping[str, Any]) -> int:
    return int(str(dtype["_data"]).removeprefix("int"))


def _dynamic(mapping: str) -> str:
    return "a8d" if mapping == "ASYMMETRIC" else "a8sd"


def read_config(path: Path) -> Mapping[str, Any]:
    """Read the configuration; raises InvalidInput where the file is missing or no JSON object."""
    document = read_json(path, "torchao configuration")
    if not isinstance(document, dict):
        raise InvalidInput(f"{str(path)!r} is no torchao configuration: expected a JSON object")
    return document


def read_state(path: Path) -> dict[str, Any]:
    """The tensors of a state that was written as safetensors; quantised ones in torchao's own classes.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    state
        From the names of parameters and buffers to tensors, as ``load_state_dict(state, assign=True)`` takes them.

    Raises
    ------
    InvalidInput
        When the file cannot be read or is not torchao's.
    """
    safetensors = require("safetensors", EXTRA)
    support = require("torchao.prototype.safetensors.safetensors_support", EXTRA)
    tensors, metadata = read_safetensors(path, "torchao state", safetensors)
    if "tensor_names" not in metadata:
        raise InvalidInput(f"{str(path)!r} holds no torchao tensors: its metadata lack 'tensor_names'")
    with readable(f"the torchao state {str(path)!r}"):
        state, others = support.unflatten_tensor_state_dict(tensors, metadata)
    return {**state, **others}


def stored_layers(state: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Stored]:
    """What a state says of every weight of at least two dimensions.

    Parameters
    ----------
    state
        As `read_state` gives it.
    config
        The configuration beside it, which alone tells whether zero points are meant to be zero.

    Returns
    -------
    stored
        By the names of the modules.
    """
    places = {
        name.removesuffix(".weight"): name
        for name, tensor in state.items()
        if (name.endswith(".weight") and tensor.ndim > 1) or type(tensor).__name__ in _TENSORS
    }
    said = formats_of(config, places)
    return {name: _stored(place, state[place], said[name]) for name, place in places.items()}


def _stored(place: str, tensor: Any, said: Format) -> Stored:
    from ..codes import as_encoded

    kind = type(tensor).__name__
    if kind not in _TENSORS:
        return Stored(_FLOAT, tensor.numel() * tensor.element_size(), place, tensor)
    parts = [part for part in (tensor.qdata, tensor.scale, tensor.zero_point) if part is not None]
    size = sum(part.numel() * part.element_size() for part in parts)
    if kind == "Int8Tensor":
        inputs = "" if tensor.act_quant_kwargs is None else _dynamic(tensor.act_quant_kwargs.mapping_type.name)
        codes = as_encoded(_rows(tensor.qdata), _rows(tensor.scale), None, 8)
        entry = integer_format(8, group=said.group_size, activations=inputs)
        return Stored(entry, size, place, tensor.dequantize(), codes)
    bits = int(str(tensor.target_dtype).removeprefix("torch.int"))
    row = tensor.numel() // tensor.shape[0]
    shared = tensor.numel() // tensor.scale.numel()
    entry = integer_format(
        bits,
        group=None if shared == row != said.group_size else shared,
        zero_point=bool(tensor.zero_point.any()) or bool(said.symmetric is False),
        activations="" if tensor.activation_quantization is None else "a8d",
    )
    zeros = None if entry.symmetric else _rows(tensor.zero_point)
    codes = as_encoded(_rows(tensor.qdata), _rows(tensor.scale), zeros, bits)
    return Stored(entry, size, place, tensor.dequantize(), codes)


def _rows(tensor: Any) -> Any:
    """One row for each output channel; of three dimensions, which experts have, for each of every expert."""
    return tensor.reshape(-1, tensor.shape[-1]) if tensor.ndim == _OF_EXPERTS else tensor.reshape(tensor.shape[0], -1)
