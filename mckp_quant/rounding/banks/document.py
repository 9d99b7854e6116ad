"""A weight bank in plain types, for the document that lies beside its codes."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from ...common.documents import entries, field, whole
from ...common.files import readable
from ...formats.format import format_document, format_from
from ...formats.ranges import ActivationRanges
from ...layers import Layer

if TYPE_CHECKING:
    from collections.abc import Mapping

KIND = "bank"
VERSION = 1
DOCUMENT = "bank.json"

# What a bank was made with, in the words of its refusal.
_MADE_WITH = {
    "rounder": "rounder",
    "target": "target",
    "data": "calibration data",
    "formats": "formats",
    "layers": "layers",
    "activation_ranges": "activation ranges",
}


def bank_document(bank: Mapping[str, Any], *, finished: bool) -> dict[str, Any]:
    """Describe a bank in plain types.

    Parameters
    ----------
    bank
        The fields of `WeightBank` by name.
    finished
        Whether the codes of all layers are there.

    Returns
    -------
    document
        Without the codes.
    """
    layers: tuple[Layer, ...] = bank["layers"]
    return {
        "rounder": bank["rounder"],
        "target": bank["target"],
        "data": bank["data"],
        "samples": bank["samples"],
        "finished": finished,
        "as_nearest": list(bank["as_nearest"]),
        **({} if bank["ranges"] is None else {"activation_ranges": bank["ranges"].document()}),
        "formats": [
            format_document(
                entry, {} if entry.built_in else {layer.name: entry.storage_bits(layer) for layer in layers}
            )
            for entry in bank["formats"]
        ],
        "layers": [
            {
                "layer": layer.name,
                "kind": layer.kind,
                "shape": list(layer.shape),
                "channels": layer.channels,
                "macs": layer.macs,
                "ties": list(layer.ties),
                "weight": bank["weights"][layer.name],
            }
            for layer in layers
        ],
    }


def bank_arguments(document: dict[str, Any], source: str) -> dict[str, Any]:
    """Read the fields of `WeightBank`, but for where its codes are, from what `bank_document` made.

    Parameters
    ----------
    document
        The content of the file.
    source
        Which file it is from, for errors.

    Returns
    -------
    fields
        By name.

    Raises
    ------
    InvalidInput
        When the content is damaged or does not fit together.
    """
    formats = tuple(format_from(entry, source) for entry in entries(document, "formats", source))
    rows = entries(document, "layers", source)
    ranges = document.get("activation_ranges")
    with readable(source):
        return dict(
            layers=tuple(_layer(row, source) for row in rows),
            formats=formats,
            rounder=str(field(document, "rounder", source)),
            target=str(field(document, "target", source)),
            weights={str(row["layer"]): str(row["weight"]) for row in rows},
            data=str(field(document, "data", source)),
            samples=whole(field(document, "samples", source), "samples", source),
            as_nearest=tuple(str(name) for name in entries(document, "as_nearest", source)),
            ranges=None if ranges is None else ActivationRanges.from_document(ranges, source),
        )


def _layer(row: Mapping[str, Any], source: str) -> Layer:
    def count(name: str) -> int | None:
        return None if row[name] is None else whole(row[name], name, source)

    shape = tuple(whole(size, "shape", source) for size in row["shape"])
    return Layer(row["layer"], row["kind"], shape, count("channels"), count("macs"), tuple(row["ties"]))


def difference(mine: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What the bank of another document was made with that this one is not, in words; empty where nothing differs."""
    plain = json.loads(json.dumps(dict(mine)))
    before = {row["layer"]: row["weight"] for row in other["layers"]}
    weights = {row["layer"]: row["weight"] for row in plain["layers"]}
    changed = next((name for name in weights if before.get(name, weights[name]) != weights[name]), None)
    if changed is not None:
        return f"it was rounded from other weights, those of layer {changed!r} differ"
    for name, what in _MADE_WITH.items():
        then, now = other.get(name), plain.get(name)
        if then == now:
            continue
        if name == "layers":
            return f"its layers are {_names(then, 'layer')}, and should be {_names(now, 'layer')}"
        if name == "formats":
            return f"its formats are {_names(then, 'name')}, and should be {_names(now, 'name')}"
        return f"its {what} differ" if name == "activation_ranges" else f"its {what} was {then!r}, and is {now!r}"
    return ""


def _names(rows: Any, key: str) -> str:
    shown = [row[key] for row in rows]
    return ", ".join(shown) if len(shown) <= 6 else f"{', '.join(shown[:5])}, ... ({len(shown)})"


def identity(document: Mapping[str, Any]) -> str:
    """Forty hexadecimal digits of all that the codes of every layer depend on, besides its own weight."""
    kept = {name: document.get(name) for name in _MADE_WITH if name != "layers"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:40]
