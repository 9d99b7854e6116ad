"""ModelOpt: the scores and costs that `auto_quantize` keeps of its groups of modules."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from .. import cells
from ..findings import Place
from ..raw import Cell, FormatFacts
from .contract import ToolReader, entry_of, raw_table

if TYPE_CHECKING:
    from ..raw import RawTable
    from ..sizes import Sizes

_FULL = 16  # bits of an uncompressed weight, which costs count as 1
_LISTS = ("formats", "scores", "costs")
_EFFECTIVE = re.compile(r"\(effective-bits: [\d.]+\)$")


def _recognises(document: Any) -> bool:
    held = _stats(document)
    return bool(held) and all(isinstance(stat, dict) and set(stat) >= set(_LISTS) for stat in held.values())


def _stats(document: Any) -> dict[str, Any]:
    held = document.get("candidate_stats", document) if isinstance(document, dict) else {}
    return held if isinstance(held, dict) else {}


def _read(source: str, document: Any, sizes: Sizes) -> RawTable:
    """Read the state as JSON, whose formats are the texts of the recipes: ``json.dump(state, file, default=str)``."""
    elements: dict[str, int | None] = {}
    found: list[Cell] = []
    for group, stat in _stats(document).items():
        name = group.removesuffix(".quant_recipe")
        place = Place(source, group, "costs")
        formats, scores, costs = (entry_of(stat, key, place) for key in _LISTS)
        if not len(formats) == len(scores) == len(costs):
            raise InvalidInput(
                f"{place}: {len(formats)} formats, {len(scores)} scores and {len(costs)} costs: give one each"
            )
        weight = cells.number(stat.get("cost_weight", 1.0), Place(source, group, "cost_weight"))
        whole = cells.number(stat.get("uncompressed_cost", max(costs, default=0)), place)
        given = sizes.layer(name)
        counted = round(whole / weight) if weight else 0
        elements[name] = given.elements if given is not None else counted or None
        for text, score, cost in zip(formats, scores, costs, strict=True):
            entry = _EFFECTIVE.sub("", str(text))
            where = Place(source, group, entry)
            bits = math.ceil(_FULL * cells.number(cost, where) - 1e-6)  # costs are whole bits but for their rounding
            found.append(Cell(name, entry, score, where, None, bits, where))
    names = dict.fromkeys(cell.format for cell in found)
    method = str(document.get("method", "")) if "candidate_stats" in document else ""
    about = {"unit": f"score of auto_quantize{f' ({method})' if method else ''}", "method": "ModelOpt"}
    return raw_table(source, elements, {name: FormatFacts() for name in names}, found, about)


MODELOPT = ToolReader(
    "ModelOpt",
    "NVIDIA/Model-Optimizer, commit a2fbac7 of August 2026, modelopt/torch/quantization/algorithms.py",
    _recognises,
    _read,
)
