"""GPTQModel: the ``dynamic`` of a ``quantize_config.json``, patterns of which the first that matches counts."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from ...formats.format import FLOAT, Format
from ..naming import integer_format
from .contract import Configuration, literal_of, need_names, on_network, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .contract import Row

_METHODS = {"gptq", "gptq_v2", "gptqmodel"}


def _write(rows: Sequence[Row]) -> dict[str, Any]:
    """Name every layer: those that stay float first, as GPTQModel itself sorts them."""
    settings = {row.layer.name: _settings(row) for row in rows if row.format.name != FLOAT.name}
    floats = [row.layer.name for row in rows if row.format.name == FLOAT.name]
    if not settings:
        raise InvalidInput("gptqmodel: every layer stays float, and there is nothing for it to quantise")
    base = dict(Counter(tuple(each.items()) for each in settings.values()).most_common(1)[0][0])
    dynamic: dict[str, Any] = {f"-:^{re.escape(name)}$": {} for name in floats}
    dynamic |= {f"+:^{re.escape(name)}$": each for name, each in settings.items()}
    return {**base, "desc_act": False, "quant_method": "gptq", "checkpoint_format": "gptq", "dynamic": dynamic}


def _settings(row: Row) -> dict[str, Any]:
    scheme = weights(row, "gptqmodel")
    return {"bits": scheme.bits, "group_size": scheme.group_size or -1, "sym": scheme.symmetric}


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and str(document.get("quant_method")) in _METHODS


def _read(document: Any, names: Sequence[str]) -> dict[str, Format]:
    rules = [
        (key.startswith("-:"), key.removeprefix("-:").removeprefix("+:"), entry) for key, entry in _rules(document)
    ]
    literal = {pattern: name for _, pattern, _ in rules if (name := literal_of(pattern)) is not None}
    if not names and len(literal) < len(rules):
        need_names(names, "gptqmodel", "its dynamic has patterns")
    if not names and not rules:
        need_names(names, "gptqmodel", "one format counts for every layer")
    if names:
        unmatched = [pattern for _, pattern, _ in rules if not any(re.match(pattern, name) for name in names)]
        if unmatched:
            on_network({literal.get(pattern, pattern): FLOAT for pattern in unmatched}, names, "gptqmodel")
    found = {}
    for name in names or literal.values():
        rule = next((rule for rule in rules if re.match(rule[1], name)), None)
        found[name] = FLOAT if rule is not None and rule[0] else _format({**document, **(rule[2] if rule else {})})
    return on_network(found, names, "gptqmodel")


def _rules(document: Any) -> list[tuple[str, Any]]:
    """The rules, negative ones first, as GPTQModel sorts them when it makes its configuration."""
    rules = [(str(key), entry or {}) for key, entry in (document.get("dynamic") or {}).items()]
    return sorted(rules, key=lambda rule: not rule[0].startswith("-"))


def _format(settings: Any) -> Format:
    size = int(settings.get("group_size", 128))
    symmetric = bool(settings.get("sym", True))
    return integer_format(int(settings["bits"]), group=None if size == -1 else size, zero_point=not symmetric)


GPTQMODEL = Configuration(
    "gptqmodel",
    "quantize_config.json",
    "GPTQModel 7.3.4, gptqmodel/quantization/config.py",
    "gptqmodel",
    _write,
    _recognises,
    _read,
)
