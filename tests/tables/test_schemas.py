from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from mckp_quant import Activation, Constraints, Conversion, CostTable, InvalidInput, Request, allocate
from mckp_quant.tables import schema
from mckp_quant.tables.schemas import KINDS

from ..drawn_tables import OWN, make_table

if TYPE_CHECKING:
    from pathlib import Path

TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def complaints(rule: dict[str, Any], found: Any, path: str = "$") -> list[str]:
    """A reader of the part of JSON Schema that ours are written in; another keyword is a complaint too."""
    unread = set(rule) - {"$schema", "$id", "title", "description", "type", "const", "enum", "required", "properties"}
    unread -= {"additionalProperties", "items", "minItems", "minLength", "minimum", "maximum", "pattern"}
    wrong = [f"{path}: unknown keyword {name}" for name in unread]
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(
        isinstance(found, TYPES[kind]) and (kind == "boolean" or not isinstance(found, bool)) for kind in kinds
    ):
        return [f"{path}: {found!r} is no {kinds}"]
    if "const" in rule and found != rule["const"]:
        wrong.append(f"{path}: {found!r} is not {rule['const']!r}")
    if "enum" in rule and found not in rule["enum"]:
        wrong.append(f"{path}: {found!r} is none of {rule['enum']}")
    if "pattern" in rule and not re.search(rule["pattern"], found):
        wrong.append(f"{path}: {found!r} does not match {rule['pattern']!r}")
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        low, high = rule.get("minimum", found), rule.get("maximum", found)
        wrong += [f"{path}: {found} is not between {low} and {high}"] if not low <= found <= high else []
    if isinstance(found, list):
        wrong += [f"{path}: too short"] if len(found) < rule.get("minItems", 0) else []
        for at, entry in enumerate(found):
            wrong += complaints(rule.get("items", {}), entry, f"{path}[{at}]")
    if isinstance(found, dict):
        wrong += [f"{path}: lacks {name}" for name in rule.get("required", ()) if name not in found]
        properties, more = rule.get("properties", {}), rule.get("additionalProperties", {})
        for name, entry in found.items():
            if name not in properties and more is False:
                wrong.append(f"{path}: unknown entry {name}")
            wrong += complaints(properties.get(name, more or {}), entry, f"{path}.{name}")
    return wrong


def documents(folder: Path) -> dict[str, Any]:
    """One document of each kind, with everything in it that there can be."""
    table = make_table([[3.0, 2.0, 1.0], [float("nan"), 2.0, -1.0]])
    dataclasses.replace(table, likelihood="gaussian", rounder="nearest").save(folder / "table.json")
    mine = make_table([[3.0]], "w2")
    mine = type(mine)(mine.layers, (OWN,), mine.loss, mine.stderr, contributions=mine.loss[None], batch_sizes=[4.0])  # type: ignore[arg-type]
    mine.save(folder / "own.json")
    found = allocate(table, Request({"bits_per_weight": "90%"}, pinned={"a": "w4"}, at_least={"bops": "1%"}))
    found.policy.save(folder / "policy.json")
    request = Request(
        {"bops": 5, "weight_bytes": "9kB"},
        at_least={"bops": 0.5},
        pinned={"a": "w4"},
        tied=[["a", "b"]],
        tie_rules=["vllm"],
        costs=[CostTable("latency", "ns", ("a",), ("w2", "w4"), [[1, -1]])],  # type: ignore[arg-type]
        choices={"first": ["w2", "w4"]},
        target="vllm",
        constraints=Constraints(
            2, found.policy, 1, [["a", "b"]], [["b", "a"]], [Conversion("bops", [("a", "b")], {("w2", "w4"): 3})]
        ),
        activations=[Activation(5, 0, 1, ("a",))],
    )
    request.save(folder / "request.json")
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in ("table", "own", "policy", "request")}


def test_what_is_written_follows_the_published_schema(tmp_path: Path) -> None:
    written = documents(tmp_path)
    for name, kind in (("table", "table"), ("own", "table"), ("policy", "policy"), ("request", "request")):
        assert complaints(schema(kind), written[name]) == []
        # Nothing is written that the schema does not describe.
        assert set(written[name]) <= set(schema(kind)["properties"])
        assert set(schema(kind)["required"]) <= set(written[name])


@pytest.mark.parametrize(
    ("kind", "path", "entry"),
    [
        ("table", ["loss", 0, 0], "much"),
        ("table", ["layers", 0, "shape"], []),
        ("table", ["layers", 0, "channels"], 0),
        ("table", ["schema"], "mckp-quant/table/2"),
        ("table", ["formats", 0, "weight_bit"], 3),
        ("policy", ["ground"], "trust me"),
        ("policy", ["layers", 0, "stored_bits"], 1.5),
        ("policy", ["budgets", 0, "limit"], "90kB"),
        ("request", ["budgets", "bops"], None),
        ("request", ["budget"], {}),
        ("request", ["constraints", "max_format"], 2),
        ("request", ["constraints", "conversions", 0, "cost", 0, "before"], 4),
        ("request", ["costs", 0, "cost", 0, 0], 0.5),
        ("request", ["activations", 0, "elements"], 0),
    ],
)
def test_schema_refuses_what_the_reader_would_not_understand(
    tmp_path: Path, kind: str, path: list[Any], entry: Any
) -> None:
    document = documents(tmp_path)[kind]
    at = document
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = entry
    assert complaints(schema(kind), document)


def test_schemas_name_their_dialect_and_kind() -> None:
    for kind in KINDS:
        assert schema(kind)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema(kind)["properties"]["schema"]["const"] == f"mckp-quant/{kind}/1"
    with pytest.raises(InvalidInput, match="unknown kind of document 'tabel': did you mean 'table'"):
        schema("tabel")


@pytest.mark.parametrize(
    ("ground", "fits"),
    [
        ("dual gap closed", True),
        ("none", True),
        ("search exhausted (exact)", True),
        ("search exhausted", True),  # as files before had it
        ("search exhausted (", False),
        ("because", False),
    ],
)
def test_ground_of_a_policy_names_whose_search_it_was_or_is_of_an_older_file(ground: str, fits: bool) -> None:
    rule = schema("policy")["properties"]["ground"]
    assert (complaints(rule, ground) == []) is fits
