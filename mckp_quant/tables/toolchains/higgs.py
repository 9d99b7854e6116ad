"""HIGGS: one factor a layer, times the relative squared error of a format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from .. import cells
from ..findings import Place
from ..raw import Cell, FormatFacts
from .contract import ToolReader, raw_table

if TYPE_CHECKING:
    from ..raw import RawTable
    from ..sizes import Sizes

_FACTORS = ("alphas", "alpha")


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and any(isinstance(document.get(key), dict) for key in _FACTORS)


def _read(source: str, document: Any, sizes: Sizes) -> RawTable:
    """Multiply the factors and the errors.

    The linearity theorem: the loss is the sum over layers of ``alpha * t**2``, with ``t**2`` the squared error of the
    weights over their squares. ``errors`` holds it by format, or by layer and format.
    """
    factors = next(document[key] for key in _FACTORS if isinstance(document.get(key), dict))
    errors = document.get("errors")
    if not isinstance(errors, dict) or not errors:
        raise InvalidInput(
            f"{source} has factors of HIGGS, but no relative squared errors to multiply them by: add 'errors', from "
            'formats to numbers, {"w2g64": 0.117, ...}, or from layers to these'
        )
    own = all(isinstance(each, dict) for each in errors.values())
    found: list[Cell] = []
    for name, factor in factors.items():
        alpha = cells.number(factor, Place(source, "alphas", name))
        for entry, error in (errors.get(name, {}) if own else errors).items():
            place = Place(source, f"errors of {name}" if own else "errors", entry)
            loss = error if cells.is_missing(error, ()) else alpha * cells.number(error, place)
            found.append(Cell(name, entry, loss, place))
    names = dict.fromkeys(cell.format for cell in found)
    about = {"unit": str(document.get("unit", "")), "method": "HIGGS"}
    return raw_table(source, dict.fromkeys(factors), {name: FormatFacts() for name in names}, found, about)


HIGGS = ToolReader(
    "HIGGS",
    "Malinovskii et al. 2025, Pushing the limits of large language model quantization via the linearity theorem",
    _recognises,
    _read,
)
