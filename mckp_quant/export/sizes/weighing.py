"""Learns what a target's file takes beside the layers' weights, so that ``file_bytes`` can be a budget on a table."""

from __future__ import annotations

import dataclasses
import tempfile
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from ...formats.capabilities import capability
from ...formats.file_facts import (
    CHECKPOINT,
    COMPRESSED_TENSORS,
    FORMS,
    GGUF,
    GGUF_ALIGNMENT,
    TORCHAO,
    FileFacts,
    aligned,
)
from ...formats.format import Format
from ...formats.schemes import FLOAT
from ...policy.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...tables.table import SensitivityTable

_FLOAT_WEIGHT = 4  # bytes of a weight that a graph or a container of tensors holds in float32
_UNEVEN = 16  # bytes by which a layer's nodes may take more than an equal share
_ENTRY = 33  # bytes of the entry `general.file_type`, where a float file does not have it


def with_file_size(
    table: SensitivityTable, target: str, *, model: Any, batches: Iterable[object] = ()
) -> SensitivityTable:
    """Add to a table what the file of a target takes, so that ``file_bytes`` can be a budget for that target.

    For torchao and compressed-tensors `measure` does so by itself.

    Parameters
    ----------
    table
        The table.
    target
        The export target, such as ``"onnxruntime"``.
    model
        The float network that the table is about; for ``"gguf"`` its float .gguf file, or a network, for
        ``"gguf_tensors"``.
    batches
        Example inputs, for targets that trace the network.

    Returns
    -------
    table
        The same table; it knows the target's file.

    Raises
    ------
    InvalidInput
        When the target writes no file here, or cannot take the network.
    """
    name = {"hf": "compressed_tensors", "hf_torchao": "torchao", "gguf_tensors": "gguf"}.get(target, target)
    capability(name)  # refuses a name that is none
    if name not in FORMS:
        raise InvalidInput(f"target {target!r} writes no file here: name one of {', '.join(FORMS)}")
    form = FORMS[name]
    if form in (COMPRESSED_TENSORS, CHECKPOINT, TORCHAO):
        from ...network.checkpoints.state import file_facts

        found = next((each for each in file_facts(model, table.layers) if each.form == form), None)
        if found is None:
            raise InvalidInput(f"the network holds a tensor of a type that files of {target!r} do not have")
    elif form == GGUF and isinstance(model, (str, Path)):
        found = _of_gguf(table, Path(model))
    else:
        found = _by_writing(table, form, "gguf_tensors" if form == GGUF else name, model, tuple(batches))
    others = tuple(each for each in table.files if each.form != form)
    return dataclasses.replace(table, files=(*others, found))


def _of_gguf(table: SensitivityTable, path: Path) -> FileFacts:
    """All of a float file but the data of the layers; its header does not change with their types."""
    from ..readers.from_gguf import open_file
    from ..writers.gguf_file import FILE_TYPE
    from ..writers.to_gguf import tensors_of

    model = open_file(path)
    places = tensors_of(table.layer_names, path)
    sizes = {tensor.name: aligned(int(tensor.n_bytes)) for tensor in model.tensors}
    floats = tuple(sum(sizes[place] for place in places[name]) for name in table.layer_names)
    # Each tensor is filled up, and those of a layer beyond the first are not in the table.
    apart = sum(len(own) - 1 for own in places.values()) * GGUF_ALIGNMENT
    entry = 0 if FILE_TYPE in model.fields else _ENTRY + GGUF_ALIGNMENT
    whole = sum(part.stat().st_size for part in _parts(path)) + entry + GGUF_ALIGNMENT
    return FileFacts(GGUF, whole - sum(floats) + apart, tuple(places[name][0] for name in table.layer_names), floats)


def _parts(path: Path) -> list[Path]:
    from ..readers.from_gguf import first_part

    first = first_part(path)
    head, _, count = first.stem.partition("-00001-of-")
    return sorted(first.parent.glob(f"{head}-*-of-{count}.gguf")) if count else [first]


def _by_writing(table: SensitivityTable, form: str, to: str, model: Any, batches: tuple[object, ...]) -> FileFacts:
    """The size of the float network's file, less what its layers' weights take in it; of graphs, of every format too.

    A graph has nodes for what is quantised. What they take is learnt from files in which every layer that can has the
    same format: an equal share for each, names counted apart.
    """
    from ...network.checkpoints.state import weight_names

    target = "gguf" if form == GGUF else to
    sizes = tuple(_FLOAT_WEIGHT * layer.elements for layer in table.layers)
    floats = tuple(map(aligned, sizes)) if form == GGUF else sizes
    names = weight_names(model, table.layers)
    written = partial(_written, table, to, model=model, batches=batches)
    fixed = written([Format.named(FLOAT)] * len(table.layers)) - sum(floats)
    facts = FileFacts(form, fixed, names, floats)
    if form == GGUF:
        return facts
    nodes = {}
    for entry in table.formats:
        takes = [entry.name != FLOAT and capability(target).takes(layer, entry) for layer in table.layers]
        if any(takes):
            uniform = [entry if has else Format.named(FLOAT) for has in takes]
            bare = dataclasses.replace(facts, nodes=((entry.name, 0),))
            known = sum(bare.layer_bytes(*row, target) for row in zip(count(), table.layers, uniform, strict=False))
            nodes[entry.name] = -(-(written(uniform) - fixed - known) // sum(takes)) + _UNEVEN
    return dataclasses.replace(facts, nodes=tuple(nodes.items()))


def _written(
    table: SensitivityTable, to: str, formats: Sequence[Format], *, model: Any, batches: tuple[object, ...]
) -> int:
    """Bytes of the file of a policy."""
    from ..exporting import export

    policy = Policy(table.layer_names, tuple(formats), ranges=table.ranges)
    with tempfile.TemporaryDirectory() as folder:
        return export(policy, to, model=model, output=Path(folder) / "written", batches=batches).file_bytes
