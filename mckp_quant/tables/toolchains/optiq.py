"""mlx-optiq: KL divergence of every layer in every width of MLX's affine quantisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import cells
from ..findings import Place
from ..raw import Cell, FormatFacts
from .contract import ToolReader, entry_of, raw_table

if TYPE_CHECKING:
    from ..raw import RawTable
    from ..sizes import Sizes

_GROUP = 64  # where the file, a checkpoint of a sweep, does not say it
_KEYS = {"layer_name", "sensitivities"}


def _recognises(document: Any) -> bool:
    rows = document.get("layers") if isinstance(document, dict) else document
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict) and set(rows[0]) >= _KEYS


def _read(source: str, document: Any, sizes: Sizes) -> RawTable:
    held: dict[str, Any] = document if isinstance(document, dict) else {"layers": document}
    group = cells.whole(held.get("group_size", _GROUP), Place(source, "of the file", "group_size"), least=1)
    elements: dict[str, int | None] = {}
    found: list[Cell] = []
    for row, entry in enumerate(held["layers"]):
        name = str(entry_of(entry, "layer_name", Place(source, row, "layer_name")))
        place = Place(source, row, "param_count")
        count = None if entry.get("param_count") is None else cells.whole(entry["param_count"], place, least=1)
        given = sizes.layer(name)
        elements[name] = count if given is None else given.elements
        for width, loss in entry_of(entry, "sensitivities", Place(source, row, "sensitivities")).items():
            where = Place(source, row, str(width))
            bits = cells.whole(width, where, least=1)
            # MLX stores a scale and a bias of 16 bits for each group.
            size = elements[name]
            stored = None if size is None else bits * size + 32 * -(-size // group)
            found.append(Cell(name, f"w{bits}g{group}z", loss, where, None, stored, where))
    widths = sorted({cell.format for cell in found}, key=lambda name: int(name[1 : name.index("g")]))
    formats = {name: FormatFacts(int(name[1 : name.index("g")])) for name in widths}
    about = {"unit": str(held.get("metric", "kl_divergence_vs_reference")), "method": "mlx-optiq"}
    return raw_table(source, elements, formats, found, about)


OPTIQ = ToolReader("mlx-optiq", "mlx-optiq 0.7.7, optiq/models/llm.py", _recognises, _read)
