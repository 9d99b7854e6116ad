"""Writes a recipe as a person reads it: every key with what it says, those that are left out as comments."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from .keys import REQUEST, SECTIONS, TOP, keys_of
from .toml_values import toml_key, toml_value

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIDTH = 100
_DATA = "data.NAME"
_HEAD = (
    "A recipe of mckp-quant: `mckp-quant run` goes from the network to a checked result. Keys behind a # are left out, "
    "and hold what stands there where that is a value. Files are named from the folder of this one on."
)
_SAYS = {
    "network": "The network.",
    "outputs": "What its outputs mean.",
    _DATA: "Calibration data: one section a set, of any name.",
    "held_out": "What only judges: a share of the data, or data of its own.",
    "round": "Round every layer to every format.",
    "measure": "Measure what each rounding costs.",
    "allocate": "Choose a format for every layer.",
    "confirm": "Measure the cells that decide, and choose again.",
    "refine": "Improve that by running the network.",
    "finish": "Make the best network of the policy.",
    "export": "Write it for toolchains.",
}
# What a request may hold beside budgets, as examples.
_REQUEST = (
    ("at_least", "The least of a resource.", {"bops": "20%"}),
    ("pinned", "Layers that must have a format.", {"head": "w8"}),
    ("tied", "Sets of layers that must share one format.", [["a", "b"]]),
    ("tie_rules", "Rules by which layers are tied.", ["qkv"]),
    ("choices", "The only formats of a layer, a pattern, kind:linear, first or last.", {"kind:linear": ["w4", "w8"]}),
    ("target", "Only formats that this export target takes.", "torchao"),
    ("costs", "Files of measured costs, whose names may then stand in budgets.", ["latency.csv"]),
    ("constraints", "Constraints on the whole policy.", {"max_formats": 2}),
    ("activations", "A file of activation tensors, for limits on peak memory.", "tensors.json"),
)


def recipe_text(document: Mapping[str, Any]) -> str:
    """Write a recipe.

    Parameters
    ----------
    document
        What `Recipe.document` gives.

    Returns
    -------
    text
        TOML. Reading it gives the same document.
    """
    lines = [*_comment(_HEAD), "", f"schema = {toml_value(document['schema'])}"]
    lines += _keys(TOP, document)
    for section in SECTIONS:
        if section == TOP:
            continue
        named = {f"data.{toml_key(name)}": each for name, each in document["data"].items()} if section == _DATA else {}
        for title, entries in (named or {section: document.get(section, {})}).items():
            lines += ["", *_comment(_SAYS[section]), f"[{title}]", *_keys(section, entries)]
        if section == "held_out":
            lines += _request(document[REQUEST])
    return "\n".join(lines) + "\n"


def _keys(section: str, entries: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, key in keys_of(section).items():
        lines += _comment(key.says)
        if name in entries:
            lines.append(f"{name} = {toml_value(entries[name], key.path)}")
        else:
            lines.append(f"# {name} = {'' if key.default is None else toml_value(key.default)}".rstrip())
    return lines


def _request(entries: Mapping[str, Any]) -> list[str]:
    lines = ["", *_comment("What is asked of the policy: every key of a request, see the page of budgets.")]
    lines.append(f"[{REQUEST}]")
    if "file" in entries:
        return [*lines, *_comment("The file that says it."), f"file = {toml_value(entries['file'])}"]
    lines += _comment("The most of each resource: a number, or such as '90kB' or '25%'.")
    lines.append(f"budgets = {toml_value(entries['budgets'], 'request.budgets')}")
    for name, says, example in _REQUEST:
        lines += _comment(says)
        given = name in entries
        lines.append(f"{'' if given else '# '}{name} = {toml_value(entries[name] if given else example)}")
    return lines


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]
