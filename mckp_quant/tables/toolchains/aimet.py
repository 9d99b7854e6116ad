"""AIMET: accuracies of its mixed-precision search, with one group of quantisers at a candidate and all others float."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from .. import cells
from ..findings import Place
from ..raw import Cell, FormatFacts
from .contract import ToolReader, raw_table

if TYPE_CHECKING:
    from ..raw import RawTable
    from ..sizes import Sizes

_ENTRIES = 4  # the group, its candidate, the accuracy, and what bit operations become
_CANDIDATE = re.compile(r"\(\((\d+), .*?int.*?\), \((\d+), .*?int.*?\)\)|\(\((\d+), .*?int.*?\),?\)")


def _recognises(document: Any) -> bool:
    return isinstance(document, list) and bool(document) and all(map(_is_row, document))


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == _ENTRIES and isinstance(row[0], list) and isinstance(row[1], str)


def _read(source: str, document: Any, sizes: Sizes) -> RawTable:
    """Read ``accuracy_list.json``; a loss is how far an accuracy is below the best one of the file."""
    scores = [
        cells.number(row[2], Place(source, at, "accuracy"))
        for at, row in enumerate(document)
        if not cells.is_missing(row[2], ())
    ]
    best = max(scores, default=0.0)
    elements: dict[str, int | None] = {}
    formats: dict[str, FormatFacts] = {}
    found: list[Cell] = []
    for at, (group, candidate, score, _) in enumerate(document):
        place = Place(source, at, "accuracy")
        weights = [str(each[1]) for each in group if isinstance(each, list) and each[:1] == ["weight"]]
        if not weights:  # quantisers of activations alone have no weights to store
            continue
        given = [sizes.layer(name) for name in weights]
        name = "+".join(weights)
        elements[name] = sum(each.elements for each in given if each is not None) if all(given) else None
        entry, facts = _format(candidate, Place(source, at, "candidate"))
        formats[entry] = facts
        loss = score if cells.is_missing(score, ()) else best - cells.number(score, place)
        size = elements[name]
        stored = None if size is None or facts.weight_bits is None else facts.weight_bits * size
        found.append(Cell(name, entry, loss, place, None, stored, place))
    if not found:
        raise InvalidInput(f"{source} has accuracies of activations only: there is no weight to choose a format for")
    about = {"unit": "accuracy below the best of the file", "method": "AIMET"}
    return raw_table(source, elements, formats, found, about)


def _format(candidate: str, place: Place) -> tuple[str, FormatFacts]:
    """The name and the bits of a candidate, whose first half is about activations and whose second about weights."""
    match = _CANDIDATE.fullmatch(candidate)
    if match is None:
        raise InvalidInput(f"{place}: {candidate!r} is no candidate of integer bits for activations and weights")
    activations, weights = (match[1], match[2]) if match[2] else (match[3], None)
    if weights is None:
        raise InvalidInput(f"{place}: {candidate!r} says bits of activations only")
    return f"aimet_w{weights}a{activations}", FormatFacts(int(weights), int(activations))


AIMET = ToolReader(
    "AIMET",
    "quic/aimet, commit c51b284 of October 2024, aimet_common/amp/mixed_precision_algo.py",
    _recognises,
    _read,
)
