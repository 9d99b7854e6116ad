"""llm-compressor: a recipe with one config group for each format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...formats.format import FLOAT, Format
from ..readers.from_compressed_tensors import format_of, group_of
from .contract import Configuration, need_names, on_network, weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .contract import Row

_STAGE, _MODIFIERS, _MODIFIER = "quant_stage", "quant_modifiers", "QuantizationModifier"


def _write(rows: Sequence[Row]) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.format.name != FLOAT.name:
            groups.setdefault(row.format.name, _group(row))["targets"].append(row.layer.name)
    ignored = [row.layer.name for row in rows if row.format.name == FLOAT.name]
    return {_STAGE: {_MODIFIERS: {_MODIFIER: {"ignore": ignored, "config_groups": groups}}}}


def _group(row: Row) -> dict[str, Any]:
    scheme, inputs = weights(row, "llm_compressor"), row.format.activation_scheme
    kind = "int" if scheme.family == "integer" else "float"
    held: dict[str, Any] = {
        "num_bits": scheme.bits,
        "type": kind,
        "symmetric": scheme.symmetric,
        "strategy": scheme.granularity,
        **({} if scheme.group_size is None else {"group_size": scheme.group_size}),
    }
    group: dict[str, Any] = {"targets": [], "weights": held}
    if inputs is not None:
        kind = "int" if inputs.family == "integer" else "float"
        how = {"strategy": "token", "dynamic": True} if inputs.dynamic else {"strategy": "tensor", "dynamic": False}
        group["input_activations"] = {"num_bits": inputs.bits, "type": kind, "symmetric": inputs.symmetric, **how}
    return group


def _modifier(document: Any) -> Any:
    for stage in document.values() if isinstance(document, dict) else ():
        for modifiers in stage.values() if isinstance(stage, dict) else ():
            for modifier in modifiers.values() if isinstance(modifiers, dict) else ():
                if isinstance(modifier, dict) and "config_groups" in modifier:
                    return modifier
    return None


def _recognises(document: Any) -> bool:
    return _modifier(document) is not None


def _read(document: Any, names: Sequence[str]) -> dict[str, Format]:
    config: Mapping[str, Any] = _modifier(document)
    named = {name for group in config["config_groups"].values() for name in group["targets"]}
    ignored = set(config.get("ignore") or ())
    rules = {name for name in named | ignored if name.startswith("re:") or name in ("Linear", "Embedding")}
    if rules and not names:
        need_names(names, "llm_compressor", "its groups are for classes or patterns")
    plain = [name for name in (*named, *ignored) if name not in rules]
    on_network(dict.fromkeys(plain, FLOAT), names, "llm_compressor")
    found = {name: format_of(group_of(config, name)) for name in names or sorted(plain)}
    return on_network(found, names, "llm_compressor")


LLM_COMPRESSOR = Configuration(
    "llm_compressor",
    "recipe.json",
    "llm-compressor, commit ab1ba3e of August 2026, recipe/recipe.py and modifiers/quantization/quantization/mixin.py",
    "compressed_tensors",
    _write,
    _recognises,
    _read,
)
