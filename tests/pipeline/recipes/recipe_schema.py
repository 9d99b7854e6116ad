"""The JSON Schema of a recipe, as its keys say it."""

from __future__ import annotations

from typing import Any

from mckp_quant.pipeline.recipes.keys import REQUEST, SECTIONS, TOP, keys_of
from mckp_quant.tables import schema

FILE = {"description": "A .toml or .json with the request, in the place of all else here.", "type": "string"}


def built() -> dict[str, Any]:
    """What `mckp_quant/tables/schemas/recipe-1.json` has to hold."""
    request = schema("request")["properties"]
    sections = {name: _section(name) for name in SECTIONS if name not in (TOP, "data.NAME")}
    asked = {"file": FILE, **{name: rule for name, rule in request.items() if name != "schema"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:mckp-quant:recipe:1",
        "title": "All that a run from a network to a checked result is asked",
        "type": "object",
        "required": ["network", "data", REQUEST],
        "properties": {
            "schema": {"const": "mckp-quant/recipe/1"},
            **_section(TOP)["properties"],
            "data": {"type": "object", "additionalProperties": _section("data.NAME")},
            **sections,
            REQUEST: {"type": "object", "properties": asked, "additionalProperties": False},
        },
        "additionalProperties": False,
    }


def _section(name: str) -> dict[str, Any]:
    keys = keys_of(name)
    rules = {each.name: {"description": each.says, "type": each.kind} for each in keys.values()}
    needed = [each.name for each in keys.values() if each.needed]
    return {
        "type": "object",
        **({"required": needed} if needed else {}),
        "properties": rules,
        "additionalProperties": False,
    }
