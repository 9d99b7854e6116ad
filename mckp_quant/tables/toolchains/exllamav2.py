"""exllamav2: relative error of the output of each attention and each MLP, for the tool's own combinations of widths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import cells
from ..findings import Place
from ..raw import Cell, FormatFacts
from .contract import ToolReader, entry_of, raw_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..raw import RawTable
    from ..sizes import Sizes


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("measurement"), dict)


def _read(source: str, document: Any, sizes: Sizes) -> RawTable:
    """Read the options of every module; an option is named after its module's kind and its place in the file's list."""
    elements: dict[str, int | None] = {}
    found: list[Cell] = []
    for module, options in _modules(document["measurement"]):
        kind = module.rpartition(".")[2]
        given = sizes.layer(module)
        elements[module] = None if given is None else given.elements
        for at, option in enumerate(options):
            place = Place(source, module, str(at))
            raw = option.get("err") if isinstance(option, dict) else None
            if raw is None:
                raw = entry_of(option, "accuracy", place)
                raw = raw if cells.is_missing(raw, ()) else 1.0 - cells.number(raw, place)
            bits = entry_of(option, "total_bits", place)
            if elements[module] is None and "numel" in option:  # of older versions
                elements[module] = cells.whole(option["numel"], place, least=1)
            found.append(Cell(module, f"{kind}-{at}", raw, place, None, cells.whole(bits, place), place))
    names = dict.fromkeys(cell.format for cell in found)
    about = {"unit": "relative error of the module's output", "method": "exllamav2"}
    # Options that a module does not have are no choices of it, and nothing is odd about that.
    have = {(cell.layer, cell.format) for cell in found}
    nowhere = Place(source, "measurement", "")
    for module in elements:
        absent = (name for name in names if (module, name) not in have)
        found += [Cell(module, name, cells.NOT_ALLOWED, nowhere) for name in absent]
    return raw_table(source, elements, {name: FormatFacts() for name in names}, found, about)


def _modules(measured: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for module, options in measured.items():
        if isinstance(options, dict):  # decoders whose attention and MLP run side by side
            for kind, inner in options.items():
                yield f"{module}.{kind}", inner
        elif isinstance(options, list):  # modules without weights have none
            yield module, options


EXLLAMAV2 = ToolReader("exllamav2", "exllamav2 0.3.2, exllamav2/conversion/measure.py", _recognises, _read)
