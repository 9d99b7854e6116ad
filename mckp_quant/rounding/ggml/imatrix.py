"""Importance matrices of llama.cpp: how strong the inputs of each layer are, as ``llama-imatrix`` measured them."""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...common.files import check_regular, opened, readable
from ...common.packages import require
from ...errors import InvalidInput, unknown
from ...formats.gguf_names import tensor_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from ...layers import Layer

logger = logging.getLogger(__name__)

_HEAD = "output.weight"
_SUMS, _COUNTS = ".in_sum2", ".counts"


class ImportanceMatrix:
    """The mean square of every input of every layer.

    Parameters
    ----------
    entries
        From the name of a tensor, such as ``"blk.0.ffn_up.weight"``, to ``(matrices, inputs)``: one for each expert.
    architecture
        llama.cpp's name for the kind of network, after which the layers of a network are found.
    """

    def __init__(self, entries: Mapping[str, NDArray[np.float32]], architecture: str = "llama") -> None:
        self.entries = dict(entries)
        self.architecture = architecture
        tensor_names(architecture)  # refuses a name that is none
        content = [(name, each.shape, each.tobytes()) for name, each in sorted(self.entries.items())]
        self.digest = hashlib.sha256(repr((architecture, content)).encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        """What it holds; the same for the same content, since banks are named after it."""
        return f"<{len(self.entries)} tensors, {self.digest}>"

    def __eq__(self, other: object) -> bool:
        """Whether the content is the same."""
        return isinstance(other, ImportanceMatrix) and self.digest == other.digest

    def __hash__(self) -> int:
        """Of the content."""
        return hash(self.digest)

    @classmethod
    def read(cls, path: str | os.PathLike[str], architecture: str = "llama") -> ImportanceMatrix:
        """Read a file of ``llama-imatrix``, of either form.

        Parameters
        ----------
        path
            A ``.gguf`` file, or one of the older form (``.dat``).
        architecture
            As for the class.

        Returns
        -------
        matrix
            With the entries of all tensors.

        Raises
        ------
        InvalidInput
            When the file is missing, something else, or damaged; when the architecture is not known.
        """
        check_regular(path, "importance matrix")
        with readable(f"the importance matrix {os.fspath(path)!r}"), opened(path, "importance matrix") as file:
            content = file.read()
            entries = _of_gguf(path) if content.startswith(b"GGUF") else _of_dat(content)
            if not entries:
                raise InvalidInput("it holds no tensor: it is something else, or was written before anything was seen")
            for name, each in entries.items():
                if not np.isfinite(each).all() or (each < 0).any():
                    raise InvalidInput(f"the entry {name!r} holds numbers that are no mean squares: make it again")
        return cls(entries, architecture)

    def of(self, layer: Layer) -> Tensor | None:
        """Give the mean squares of a layer's inputs.

        Parameters
        ----------
        layer
            The layer.

        Returns
        -------
        squares
            ``(matrices, row)`` float64; None for embeddings and heads that have no entry: ``llama-imatrix`` leaves them
            out as it comes.

        Raises
        ------
        InvalidInput
            When another layer has no entry, or its entry is of other inputs.
        """
        mapped = tensor_names(self.architecture)
        own = (layer.name, *layer.ties)
        tries = [each for name in own for each in (name, f"{name}.weight", mapped(f"{name}.weight"))]
        tries += [mapped(f"{name}.weight") for name in map(_of_experts, own)]
        found = next((name for name in tries if name in self.entries), None)
        if found is None:
            if layer.kind == "embedding" or _HEAD in tries:
                logger.info("the importance matrix has no entry for %r: all its inputs count the same", layer.name)
                return None
            error = unknown("entry of the importance matrix", tries[2], self.entries)
            raise InvalidInput(f"layer {layer.name!r} is not in the importance matrix: {error}")
        entry = self.entries[found]
        row = layer.elements // layer.known_channels
        if entry.shape[1] != row or layer.known_channels % len(entry):
            raise InvalidInput(
                f"layer {layer.name!r} has {layer.known_channels} rows of {row} weights, but the importance matrix has "
                f"{entry.shape[0]} x {entry.shape[1]} inputs for {found!r}: it is another network's"
            )
        return torch.from_numpy(entry.astype(np.float64))


def _of_experts(name: str) -> str:
    """Experts that are kept as one parameter, such as ``mlp.experts.gate_up_proj``, under the names of single ones."""
    return name.replace(".experts.gate_up_proj", ".experts.gate_proj")


def _of_gguf(path: str | os.PathLike[str]) -> dict[str, NDArray[np.float32]]:
    gguf: Any = require("gguf", "gguf")
    tensors = {tensor.name: np.asarray(tensor.data, np.float32) for tensor in gguf.GGUFReader(Path(path)).tensors}
    found: dict[str, NDArray[np.float32]] = {}
    for name, sums in tensors.items():
        if name.endswith(_SUMS):
            counts = tensors.get(name.removesuffix(_SUMS) + _COUNTS)
            if counts is None:
                raise InvalidInput(f"it has {name!r}, and not how many inputs that is over: get it again")
            rows = sums.reshape(counts.size, -1)
            found[name.removesuffix(_SUMS)] = (rows / np.maximum(counts.reshape(-1, 1), 1)).astype(np.float32)
    return found


def _of_dat(content: bytes) -> dict[str, NDArray[np.float32]]:
    """The older form: a number of entries; of each the name, how often it was seen, and sums."""
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        if count < 0 or at + count > len(content):
            raise InvalidInput(
                f"it ends within an entry, at byte {len(content):,}: it was cut off, or is something else"
            )
        at += count
        return content[at - count : at]

    def number() -> int:
        (value,) = struct.unpack("<i", take(4))
        return int(value)

    found: dict[str, NDArray[np.float32]] = {}
    for _ in range(number()):
        name = take(number()).decode()
        calls, count = number(), number()
        found[name] = (np.frombuffer(take(4 * count), "<f4") / max(calls, 1)).astype(np.float32).reshape(1, -1)
    return found
