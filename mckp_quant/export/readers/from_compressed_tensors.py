"""Reads what compressed-tensors writes: the ``quantization_config`` of a ``config.json``, and packed safetensors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...common.files import read_json
from ...common.packages import require
from ...common.tensor_files import read_safetensors
from ...errors import InvalidInput
from ...formats.format import Format
from ..contract import Stored
from ..naming import integer_format

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from ...rounding.encoded import EncodedWeight

CONFIG = "config.json"
STATE = "model.safetensors"
EXTRA = "compressed_tensors"
CLASSES = ("Linear", "Embedding")  # targets that name a class instead of a layer

_FLOAT = Format.named("float")


def group_of(config: Mapping[str, Any], layer: str) -> Mapping[str, Any] | None:
    """The config group of a quantised layer: a full name counts before a pattern, a pattern before a class.

    Parameters
    ----------
    config
        The ``quantization_config``.
    layer
        The name of a layer that the checkpoint stores quantised.

    Returns
    -------
    group
        None where the layer is ignored or nothing matches.
    """
    if any(_matches(target, layer) for target in config.get("ignore") or ()):
        return None
    groups: list[Mapping[str, Any]] = list(config["config_groups"].values())
    for matches in (str.__eq__, _matches):
        for group in groups:
            if any(matches(target, layer) for target in group["targets"]):
                return group
    return next((group for group in groups if set(group["targets"]) & set(CLASSES)), None)


def _matches(target: str, layer: str) -> bool:
    return bool(re.match(target[3:], layer)) if target.startswith("re:") else target == layer


def format_of(group: Mapping[str, Any] | None) -> Format:
    """The format that a config group describes; raises InvalidInput where none is built in."""
    weights = None if group is None else group.get("weights")
    if group is None or weights is None:
        return _FLOAT
    inputs, bits = group.get("input_activations"), int(weights["num_bits"])
    strategy, size = weights.get("strategy"), weights.get("group_size")
    if weights.get("type", "int") == "int":
        grouped = int(size) if strategy == "group" else None
        tail = _activations(inputs)
        return integer_format(
            bits, group=grouped, tensor=strategy == "tensor", zero_point=not weights["symmetric"], activations=tail
        )
    if bits == 8 and strategy in ("channel", "tensor"):
        static = "" if inputs is None else "a8d" if inputs.get("dynamic") else "a8"
        return Format.named(f"fp8_e4m3{'t' if strategy == 'tensor' else ''}{static}")
    raise InvalidInput(f"the compressed-tensors weights {dict(weights)} stand for no built-in format")


def _activations(inputs: Mapping[str, Any] | None) -> str:
    if inputs is None:
        return ""
    if inputs.get("type", "int") != "int" or inputs.get("strategy") not in ("token", "tensor"):
        raise InvalidInput(f"the compressed-tensors activations {dict(inputs)} stand for no built-in format")
    return f"a{inputs['num_bits']}{'s' if inputs['symmetric'] else ''}{'d' if inputs.get('dynamic') else ''}"


def read_config(path: Path) -> Mapping[str, Any]:
    """The ``quantization_config`` of a ``config.json``; raises InvalidInput where there is none of this kind."""
    document = read_json(path, "configuration")
    config = document.get("quantization_config") if isinstance(document, dict) else None
    if not isinstance(config, dict) or config.get("quant_method") != "compressed-tensors":
        raise InvalidInput(f"{str(path)!r} has no quantization_config of the method 'compressed-tensors'")
    return config


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by their names; raises InvalidInput where it cannot be read."""
    return read_safetensors(path, "checkpoint", require("safetensors", EXTRA))[0]


def stored_layers(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Stored]:
    """What a checkpoint says of every weight of at least two dimensions, packed or not.

    Parameters
    ----------
    state
        As `read_state` gives it.
    config
        As `read_config` gives it.

    Returns
    -------
    stored
        By the names of the modules.
    """
    names = dict.fromkeys(
        name.rpartition(".")[0]
        for name, tensor in state.items()
        if name.endswith(".weight_packed") or (name.endswith(".weight") and tensor.ndim > 1)
    )
    return {name: _stored(name, state, config) for name in names}


def _stored(name: str, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Stored:
    parts = {key.removeprefix(f"{name}."): tensor for key, tensor in state.items() if key.startswith(f"{name}.weight")}
    size = sum(tensor.numel() * tensor.element_size() for tensor in parts.values())
    if "weight_scale" not in parts:
        return Stored(_FLOAT, size, f"{name}.weight", parts["weight"])
    group = group_of(config, name)
    if group is None:
        raise InvalidInput(f"layer {name!r} is stored quantised, but no config group of the checkpoint names it")
    place = f"{name}.weight_packed" if "weight_packed" in parts else f"{name}.weight"
    entry = format_of(group)
    return Stored(entry, size, place, _decompressed(parts, group), _codes(parts, entry))


def _codes(parts: Mapping[str, Tensor], entry: Format) -> EncodedWeight:
    """The codes as compressed-tensors unpacks them."""
    from ..codes import as_encoded

    scales = parts["weight_scale"]
    if "weight_packed" not in parts:
        held = parts["weight"]
        return as_encoded(held.float() if held.is_floating_point() else held, scales, None, entry.weight_bits)
    helpers = require("compressed_tensors.compressors.pack_quantized.helpers", EXTRA)
    rows, columns = (int(size) for size in parts["weight_shape"])
    integers = helpers.unpack_from_int32(parts["weight_packed"], entry.weight_bits, (rows, columns))
    if entry.symmetric:
        return as_encoded(integers, scales, None, entry.weight_bits)
    packed = parts["weight_zero_point"]
    zeros = helpers.unpack_from_int32(packed, entry.weight_bits, tuple(scales.shape), packed_dim=0)
    return as_encoded(integers, scales, zeros, entry.weight_bits)


def _decompressed(parts: Mapping[str, Tensor], group: Mapping[str, Any]) -> Tensor:
    import torch

    quantization = require("compressed_tensors.quantization", EXTRA)
    registry = require("compressed_tensors.compressors", EXTRA).BaseCompressor
    scheme = quantization.QuantizationScheme(**group)
    widened = dict(parts)
    if widened["weight_scale"].dtype == torch.float16:  # as runtimes do, which load scales in the network's type
        widened["weight_scale"] = widened["weight_scale"].to(torch.float32)
    made: Tensor = registry.get_value_from_registry(group["format"]).decompress(widened, scheme)["weight"]
    return made
