"""AMQ: Jensen-Shannon divergence of the network with one layer in two bits and all others in four."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import cells
from ..findings import Place
from ..raw import Cell, FormatFacts
from .contract import ToolReader, raw_table

if TYPE_CHECKING:
    from ..raw import RawTable
    from ..sizes import Sizes

_GROUP = 128  # weights that share a scale and a zero point of 16 bits each, as HQQ stores them and AMQ counts them
_LOW, _HIGH = 2, 4


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("loss"), dict) and "dataset" in document


def _read(source: str, document: Any, sizes: Sizes) -> RawTable:
    """Read the divergences; the least one of the file stands for the network with every layer in four bits.

    The file does not hold that network, and each of its numbers contains what all the others lose in four bits: what a
    layer loses in two bits is what its number exceeds the least one by.
    """
    model = str(document.get("model_name", ""))
    places = {name: Place(source, "loss", name) for name in document["loss"]}
    known = {name: raw for name, raw in document["loss"].items() if not cells.is_missing(raw, ())}
    least = min((cells.number(raw, places[name]) for name, raw in known.items()), default=0.0)
    found = []
    for name, raw in document["loss"].items():
        layer = sizes.layer(name, model)
        losses = {_LOW: cells.number(raw, places[name]) - least if name in known else raw, _HIGH: 0.0}
        for bits, loss in losses.items():
            stored = None if layer is None else bits * layer.elements + 32 * -(-layer.elements // _GROUP)
            found.append(Cell(name, _name(bits), loss, places[name], None, stored, places[name]))
    unit = f"Jensen-Shannon divergence on {document['dataset']}, above the least of the file"
    about = {"unit": unit, "method": "AMQ", "model": model}
    return raw_table(
        source,
        dict.fromkeys(document["loss"]),
        {_name(bits): FormatFacts(bits) for bits in (_LOW, _HIGH)},
        found,
        about,
    )


def _name(bits: int) -> str:
    return f"w{bits}g{_GROUP}z"


AMQ = ToolReader("AMQ", "dlwns147/amq, commit 1909fec of January 2026, amq/amq_sensitivity.py", _recognises, _read)
