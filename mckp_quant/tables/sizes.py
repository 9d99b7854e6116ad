"""How large layers are, where a table does not say it: shapes, and bytes by format, from a file of the user's."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.files import opened, parse_json, read_json, read_text, readable
from ..errors import InvalidInput, unknown
from ..formats.blocks import GGUF_BLOCKS
from ..formats.schemes import is_built_in
from ..layers import Layer
from . import cells
from .findings import Place
from .readers.csv_files import read_csv

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from .raw import Cell, RawTable

_MAP = re.compile(
    r"[^:]+:[0-9a-fA-F]+:(?P<tensor>[^:]+):shape=\((?P<shape>[\d, ]+)\):dtype=(?P<type>[^:]+):"
    r"elements=(?P<elements>\d+):bytes=(?P<bytes>\d+)"
)
_WEIGHT = ".weight"
_LAYERS = 1_000_000  # that blocks may stand for
_HEADER = 100_000_000  # bytes that the header of a safetensors file may have


@dataclass(frozen=True)
class Sizes:
    """How large layers are.

    Attributes
    ----------
    models
        By the name of the model (empty where the file is about one), from names of layers to layers.
    bits
        From a layer and a format, in small letters, to the bits that are stored.
    """

    models: Mapping[str, Mapping[str, Layer]] = field(default_factory=dict)
    bits: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all layers, as modules have them."""
        return tuple(name.removesuffix(_WEIGHT) for held in self.models.values() for name in held)

    def layer(self, name: str, model: str = "") -> Layer | None:
        """The layer of this name, or all that is below a module of this name as one; None where there is none.

        Raises
        ------
        InvalidInput
            When the file is about several models, and `model` is none of them.
        """
        if "" not in self.models and self.models and model not in self.models:
            raise unknown("model in the shapes", model, self.models)
        held = self.models.get(model, self.models.get("", {}))
        for each in (name, f"{name}{_WEIGHT}", name.removesuffix(_WEIGHT)):
            if each in held:
                return replace(held[each], name=name)
        below = sum(layer.elements for each, layer in held.items() if each.startswith(f"{name}."))
        return Layer(name, "", (below,), None, None) if below else None


def read_sizes(path: str | os.PathLike[str]) -> Sizes:
    """Read how large layers are.

    Parameters
    ----------
    path
        JSON from names of layers to shapes; the ``configs`` of AMQ; a table (CSV or JSON) that has shapes, elements or
        bytes; ``.safetensors``; a ``.map`` of GGUF-Tool-Suite; or a folder of these two.

    Returns
    -------
    sizes
        Shapes are those of PyTorch: outputs come first.

    Raises
    ------
    InvalidInput
        When the file cannot be read, or says nothing of sizes.
    """
    place = Path(path)
    with readable(str(place)):
        if place.is_dir():
            files = sorted([*place.glob("*.map"), *place.glob("*.safetensors")])
            if not files:
                raise InvalidInput(
                    f"the folder {str(place)!r} has neither .map nor .safetensors files to take shapes from"
                )
            return _joined([_of_file(file) for file in files])
        return _of_file(place)


def _of_file(place: Path) -> Sizes:
    kind = place.suffix.casefold()
    if kind == ".map":
        return _of_map(place)
    if kind == ".safetensors":
        return Sizes({"": _of_header(place)})
    if kind == ".csv":
        return _of_csv(place)
    if kind == ".json":
        return _of_json(place)
    raise unknown("kind of file with shapes", kind or str(place), (".json", ".csv", ".map", ".safetensors"))


def _joined(parts: list[Sizes]) -> Sizes:
    layers: dict[str, Layer] = {}
    bits: dict[tuple[str, str], int] = {}
    for part in parts:
        layers |= part.models[""]
        bits |= part.bits
    return Sizes({"": layers}, bits)


def _of_map(place: Path) -> Sizes:
    layers: dict[str, Layer] = {}
    bits: dict[tuple[str, str], int] = {}
    for line, text in enumerate(read_text(place, "shapes").splitlines(), 1):
        match = _MAP.fullmatch(text.strip())
        if match is None:
            if text.strip():
                raise InvalidInput(f"{place}, row {line}: {text[:80]!r} is no line of a .map of GGUF-Tool-Suite")
            continue
        name = match["tensor"]
        shape = tuple(int(size) for size in match["shape"].split(",") if size.strip())[::-1]  # ggml names rows first
        layers[name] = _layer(name, shape)
        bits[name, match["type"].casefold()] = 8 * int(match["bytes"])
    return Sizes({"": layers}, bits)


def _layer(name: str, shape: tuple[int, ...]) -> Layer:
    return Layer(name, "", shape, math.prod(shape[:-1]), None)


def _of_header(place: Path) -> dict[str, Layer]:
    """The shapes in the header of a safetensors file, which is read without the package."""
    with opened(place, "checkpoint") as file:
        count = int.from_bytes(file.read(8), "little")
        text = file.read(count) if count <= _HEADER else b""
    try:
        header = parse_json(text.decode("utf-8"), repr(str(place)), "checkpoint")
        shapes = {name: list(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(f"{str(place)!r} is no safetensors file ({type(error).__name__}: {error})") from error
    return {name: _of_torch(name, _shape(place, name, each)) for name, each in shapes.items() if each and 0 not in each}


def _of_torch(name: str, shape: tuple[int, ...]) -> Layer:
    return Layer(name, "", shape, shape[0], None)


def _of_csv(place: Path) -> Sizes:
    raw = read_csv(place)
    layers = {}
    for name, facts in raw.layers.items():
        shape, elements = facts.facts.get("shape"), facts.facts.get("elements")
        if shape is not None:
            layers[name] = _of_torch(name, cells.shape(shape, facts.place("shape")))
        elif elements is not None:
            count = cells.whole(elements, facts.place("elements"), least=1)
            layers[name] = Layer(name, "", (count,), None, None)
    if not layers:
        raise InvalidInput(f"{place} has neither a column 'shape' nor a column 'elements' to take sizes from")
    held = (cell for cell in raw.cells if cell.bits_place is not None and not cells.is_blank(cell.bits))
    return Sizes(
        {"": layers},
        {
            (cell.layer, cell.format.casefold()): cells.whole(cell.bits, cell.bits_place)
            for cell in held
            if cell.bits_place
        },
    )


def _of_json(place: Path) -> Sizes:
    document = read_json(place, "shapes")
    if isinstance(document, dict) and isinstance(document.get("layers"), list):  # a table of ours
        rows = [row for row in document["layers"] if isinstance(row, dict) and {"name", "shape"} <= set(row)]
        document = {str(row["name"]): row["shape"] for row in rows}
    if not isinstance(document, dict) or not document:
        raise InvalidInput(f"{place} holds no object from names of layers to shapes")
    if all(isinstance(entry, dict) for entry in document.values()):
        return Sizes({model: _of_blocks(place, model, entry) for model, entry in document.items()})
    return Sizes({"": {name: _of_torch(name, _shape(place, name, shape)) for name, shape in document.items()}})


def _of_blocks(place: Path, model: str, entry: Mapping[str, Any]) -> dict[str, Layer]:
    """The layers of a model whose blocks are alike, named as AMQ does: ``0.self_attn.q_proj``."""
    shapes, blocks = entry.get("linear_shape", {}), entry.get("n_block", 0)
    where = Place(str(place), model, "n_block")
    count = cells.whole(blocks, where)
    if count * len(shapes) > _LAYERS:
        raise InvalidInput(f"{where}: {count:,} blocks of {len(shapes)} layers are more than {_LAYERS:,}: correct it")
    return {
        f"{block}.{name}": _of_torch(f"{block}.{name}", _shape(place, f"{model}.{name}", shape))
        for block in range(count)
        for name, shape in shapes.items()
    }


def _shape(place: Path, name: str, shape: object) -> tuple[int, ...]:
    return cells.shape(shape, Place(str(place), name, "shape"))


def with_sizes(raw: RawTable, sizes: Sizes) -> tuple[RawTable, tuple[Layer, ...]]:
    """Put sizes beside what a file says.

    Parameters
    ----------
    raw
        The table as it was found.
    sizes
        What the user gave.

    Returns
    -------
    raw
        The same with the stored bits that the sizes give, of types of GGUF files by their blocks.
    layers
        The layers that the sizes know and of which the file says no size.
    """
    model = raw.about.get("model", "")
    if not sizes.models and not sizes.bits:
        return raw, ()
    known = {name: sizes.layer(name, model) for name in raw.layers}
    layers = {name: layer for name, layer in known.items() if layer is not None}
    found = tuple(_with_bits(cell, layers.get(cell.layer), sizes) for cell in raw.cells)
    unsaid = {name for name, facts in raw.layers.items() if not {"shape", "elements"} & set(facts.facts)}
    return replace(raw, cells=found), tuple(layer for name, layer in layers.items() if name in unsaid)


def _with_bits(cell: Cell, layer: Layer | None, sizes: Sizes) -> Cell:
    if not cells.is_blank(cell.bits):
        return cell
    bits = sizes.bits.get((cell.layer, cell.format.casefold()))
    block = GGUF_BLOCKS.get(cell.format.upper())
    if bits is None and block is not None and layer is not None and not is_built_in(cell.format):
        size, stored = block
        whole = layer.channels is not None and layer.row % size == 0
        bits = 8 * stored * (layer.elements // size) if whole else None
    return cell if bits is None else replace(cell, bits=bits, bits_place=cell.place)
