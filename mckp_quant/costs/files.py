"""The size of the file that an export target writes, as a fixed part and a cost of every layer in every format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput
from ..formats.capabilities import capability
from ..formats.file_facts import FORMS, GGUF, ONNX, ONNX_NBITS
from ..formats.schemes import FLOAT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..formats.file_facts import FileFacts
    from ..formats.format import Format
    from ..tables.table import SensitivityTable

# What has to be given to learn what a file takes, for the forms that `measure` does not know by itself.
GIVE = {
    GGUF: "a float .gguf file of the network (measure --target gguf=FILE)",
    ONNX: "the network and a batch (measure --target onnxruntime)",
    ONNX_NBITS: "the network and a batch (measure --target onnxruntime_nbits)",
}


def form_of_target(target: str | None) -> str:
    """The form of a target's files; raises InvalidInput when there is no target, or it writes no file here."""
    if target is None:
        raise InvalidInput(
            "file_bytes is the size of the file that a target writes: say which, with target=, such as "
            "'torchao'; without a target budget weight_bytes"
        )
    capability(target)  # refuses a name that is none
    if target not in FORMS:
        raise InvalidInput(
            f"nothing is known of the files of target {target!r}, which are not written here: budget weight_bytes, or "
            f"name one of {', '.join(FORMS)}"
        )
    return FORMS[target]


def facts_of(table: SensitivityTable, target: str | None) -> FileFacts:
    """What the table knows of a target's file.

    Parameters
    ----------
    table
        The table.
    target
        The export target.

    Returns
    -------
    facts
        The fixed part, and every layer left in float.

    Raises
    ------
    InvalidInput
        When there is no target, it writes no file here, or the table does not know what the file takes.
    """
    form = form_of_target(target)
    known = next((each for each in table.files if each.form == form), None)
    if known is None:
        raise InvalidInput(
            f"the table does not know what the file of target {target!r} takes beside the layers' weights (biases, "
            f"norms, names, metadata): measure it again with {GIVE.get(form, 'measure')}, or add it with "
            "mckp_quant.export.with_file_size(table, target, model=...); or budget weight_bytes"
        )
    return known


def file_costs(table: SensitivityTable, target: str | None) -> tuple[int, NDArray[np.int64]]:
    """The fixed part of a target's file, and what each layer adds in each format.

    Parameters
    ----------
    table
        The table.
    target
        The export target.

    Returns
    -------
    fixed
        Bytes of everything that is no layer's weight.
    cost
        ``(n_layers, n_formats)`` int64 bytes. Their sum is the size of the file, or a little more.

    Raises
    ------
    InvalidInput
        As `facts_of` does.
    """
    facts = facts_of(table, target)
    assert target is not None
    rows = [
        [facts.layer_bytes(row, layer, entry, target) for entry in table.formats]
        for row, layer in enumerate(table.layers)
    ]
    return facts.fixed, np.array(rows, dtype=np.int64)


def float_file(table: SensitivityTable, target: str | None) -> int:
    """Bytes of a target's file with every layer in float; raises InvalidInput as `facts_of` does."""
    facts = facts_of(table, target)
    return facts.fixed + sum(facts.floats)


def file_bytes(table: SensitivityTable, formats: Sequence[Format], target: str) -> int:
    """Bytes of a target's file under one format per layer; raises InvalidInput as `facts_of` does."""
    facts = facts_of(table, target)
    pairs = zip(table.layers, formats, strict=True)
    return facts.fixed + sum(facts.layer_bytes(row, *pair, target) for row, pair in enumerate(pairs))


def targets_of(table: SensitivityTable, formats: Sequence[Format]) -> tuple[str, ...]:
    """What the common targets would make of a policy, a sentence for each.

    Parameters
    ----------
    table
        The table.
    formats
        One format per layer.

    Returns
    -------
    sentences
        The size of the file, or which layers the target cannot take, and why.
    """
    found = []
    for target in ("torchao", "compressed_tensors", "vllm", "onnxruntime", "gguf"):
        taken = capability(target)
        refused = [
            (f"{layer.name!r} in {entry.name}", why)
            for layer, entry in zip(table.layers, formats, strict=True)
            if entry.name != FLOAT and (why := taken.refuses(layer, entry))
        ]
        if refused:
            cell, why = refused[0]
            many = f"{len(refused)} of {len(formats)} layers, such as " if len(refused) > 1 else ""
            found.append(f"{target} cannot take {many}{cell}: {why}")
        elif any(each.form == FORMS[target] for each in table.files):
            found.append(f"{target} would write a file of {file_bytes(table, formats, target):,} bytes")
        else:
            weights = sum(taken.stored_bytes(layer, entry) for layer, entry in zip(table.layers, formats, strict=True))
            found.append(f"{target} would write {weights:,} bytes of weights, and what the network has beside them")
    return tuple(found)
