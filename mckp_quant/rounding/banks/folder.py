"""Codes in a folder: one safetensors file a layer, written whole or not at all, read when they are needed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...common.documents import read_document, write_document
from ...common.files import readable, write_bytes
from ...common.packages import require
from ...common.tensor_files import read_safetensors
from ...errors import InvalidInput
from ...network.fingerprint import tensor_digest
from ..encoded import BlockWeight, EncodedWeight, OpaqueWeight
from .document import DOCUMENT, KIND, VERSION, bank_arguments, difference, identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from ...formats.format import Format
    from ...layers import Layer
    from ..encoded import StoredWeight

logger = logging.getLogger(__name__)

_SUFFIX = ".codes.safetensors"
_CURE = "delete it and round the network again with the same output=, which makes only what is missing"
_METADATA = "mckp-quant"
_NONE = "\0"  # what no tensor's name begins with
_WITHOUT = "keep the bank in memory by leaving output= out"
_VALUES, _BLOCKS = "values", "blocks"
_CODES, _SCALES, _ZERO_POINTS, _ABOVE = "codes", "scales", "zero_points", "tensor_scale"


@dataclass(frozen=True)
class Folder:
    """The codes of a bank in a folder.

    Attributes
    ----------
    path
        The folder.
    identity
        What its codes were made with, see `document.identity`.
    weights
        From the name of a layer to the digest of its float weight.
    """

    path: Path
    identity: str
    weights: Mapping[str, str]

    @classmethod
    def of(cls, path: str | os.PathLike[str], document: Mapping[str, Any]) -> Folder:
        """The folder that a document describes."""
        return cls(Path(path), identity(document), {row["layer"]: row["weight"] for row in document["layers"]})

    def read(self, layer: Layer, entry: Format) -> StoredWeight:
        """Read the codes of a layer in a format.

        Parameters
        ----------
        layer, entry
            One of the bank's layers and one of its formats.

        Returns
        -------
        encoded
            On the CPU.

        Raises
        ------
        InvalidInput
            When the file is missing, damaged, or another bank's.
        """
        path = self.file(layer)
        if not path.exists():
            raise InvalidInput(
                f"the codes of layer {layer.name!r} are missing, {str(path)!r}: round the network again with the same "
                "output=, which makes only those"
            )
        safetensors = require("safetensors", "torch", "give a bank that is in memory")
        tensors, said = read_safetensors(path, "codes", safetensors, f"{entry.name}/")
        metadata = _said(path, said)
        wanted = {"bank": self.identity, "weight": self.weights[layer.name], "layer": layer.name}
        if any(metadata.get(name) != value for name, value in wanted.items()):
            raise InvalidInput(
                f"the codes {str(path)!r} are not of layer {layer.name!r} of this bank: the file is another's, {_CURE}"
            )
        found = {name.removeprefix(f"{entry.name}/"): each for name, each in tensors.items()}
        if _digest(found) != metadata.get(f"digest {entry.name}"):
            raise InvalidInput(
                f"the codes {str(path)!r} in {entry.name!r} are not those that were written: the file was changed, "
                f"{_CURE}"
            )
        with readable(f"the codes {str(path)!r}"):
            return _stored(found)

    def write(self, layer: Layer, codes: Mapping[Format, StoredWeight], *, seen: bool) -> None:
        """Write the codes of a layer, whole or not at all.

        Parameters
        ----------
        layer
            The layer.
        codes
            In every format.
        seen
            Whether the layer's inputs were seen: False where the rounder needs them and had to round to nearest.

        Raises
        ------
        OSError
            When the file cannot be written, such as on a full disk; nothing is left of it then.
        PackageMissing
            When safetensors is not installed.
        """
        require("safetensors", "torch", _WITHOUT)
        tensors: dict[str, Tensor] = {}
        metadata = {"bank": self.identity, "weight": self.weights[layer.name], "layer": layer.name, "seen": str(seen)}
        for entry, encoded in codes.items():
            own = _tensors(encoded)
            metadata[f"digest {entry.name}"] = _digest(own)
            tensors.update({f"{entry.name}/{name}": each for name, each in own.items()})
        content: bytes = require("safetensors.torch", "torch", _WITHOUT).save(
            tensors,
            {_METADATA: json.dumps(metadata, sort_keys=True)},  # one entry: safetensors writes several in any order
        )
        write_bytes(self.file(layer), content)

    def seen(self, layer: Layer, formats: tuple[Format, ...]) -> bool | None:
        """What `write` was told of a layer; None where its codes are not all there, whole and of this bank."""
        try:
            for entry in formats:
                self.read(layer, entry)
            path, safetensors = self.file(layer), require("safetensors", "torch", _WITHOUT)
            return _said(path, read_safetensors(path, "codes", safetensors, prefix=_NONE)[1]).get("seen") == "True"
        except InvalidInput as error:
            if self.file(layer).exists():
                logger.warning("layer %r is rounded again: %s", layer.name, error)
            return None

    def file(self, layer: Layer) -> Path:
        """Where the codes of a layer are: no name of a layer leads out of the folder, or to the file of another."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", layer.name).strip(".")[:80]
        return self.path / f"{plain}-{hashlib.sha256(layer.name.encode()).hexdigest()[:8]}{_SUFFIX}"


def open_folder(path: str | os.PathLike[str], document: Mapping[str, Any]) -> Folder:
    """Begin a bank in a folder, or go on with it.

    Parameters
    ----------
    path
        The folder; it is made where it is missing.
    document
        What the bank is going to be, not finished.

    Returns
    -------
    folder
        Where codes can be written.

    Raises
    ------
    InvalidInput
        When the folder holds another bank, or something else of this name.
    """
    require("safetensors", "torch", _WITHOUT)
    file = Path(path) / DOCUMENT
    if Path(path).exists() and not Path(path).is_dir():
        raise InvalidInput(f"output {os.fspath(path)!r} is a file: name a folder for the bank")
    if not file.exists():
        write_document(file, KIND, VERSION, dict(document))
        return Folder.of(path, document)
    with readable(f"the bank {str(file)!r}"):
        earlier = read_document(file, KIND, VERSION)
        bank_arguments(earlier, f"the bank {str(file)!r}")  # refuses what is damaged
        changed = difference(document, earlier)
    if changed:
        raise InvalidInput(
            f"the folder {os.fspath(path)!r} holds another bank: {changed}; name another folder, or delete this one "
            "(on the command line --force)"
        )
    return Folder.of(path, document)


def whole_folder(path: str | os.PathLike[str]) -> tuple[Folder, dict[str, Any]]:
    """Open the folder of a bank that is all there.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    folder, arguments
        The folder, and the bank's other attributes.

    Raises
    ------
    InvalidInput
        When there is no bank, its document is damaged, or the codes of a layer are missing.
    """
    file = Path(path) / DOCUMENT
    document = read_document(file, KIND, VERSION)
    source = f"the bank {str(file)!r}"
    arguments = bank_arguments(document, source)
    held = Folder.of(path, document)
    missing = next((layer.name for layer in arguments["layers"] if not held.file(layer).exists()), None)
    if missing is not None or document.get("finished") is not True:
        what = "it was not finished" if missing is None else f"the codes of layer {missing!r} are missing"
        raise InvalidInput(
            f"{source} is not whole: {what}; call round_weights once more with the same arguments, which makes only "
            "what is missing"
        )
    return held, arguments


def described_in(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What the document in a folder says of its bank, see `bank_arguments`; None where there is none."""
    file = Path(path) / DOCUMENT
    return bank_arguments(read_document(file, KIND, VERSION), f"the bank {str(file)!r}") if file.exists() else None


def size_of(path: str | os.PathLike[str], layers: Iterable[Layer]) -> dict[str, int]:
    """The bytes that the codes of layers take in a folder, by the layer's name."""
    folder = Folder(Path(path), "", {})
    return {layer.name: folder.file(layer).stat().st_size for layer in layers}


def clear_folder(path: str | os.PathLike[str]) -> None:
    """Delete the bank in a folder, its document last, so that what is left of it still says what it is."""
    for file in [*sorted(Path(path).glob(f"*{_SUFFIX}")), Path(path) / DOCUMENT]:
        file.unlink(missing_ok=True)


def _tensors(encoded: StoredWeight) -> dict[str, Tensor]:
    if isinstance(encoded, OpaqueWeight):
        return {_VALUES: _plain(encoded.values)}
    if isinstance(encoded, BlockWeight):
        return {_BLOCKS: _plain(encoded.data)}
    found = {_CODES: _plain(encoded.elements), _SCALES: _plain(encoded.scales)}
    if encoded.zero_points is not None:
        found[_ZERO_POINTS] = _plain(encoded.zero_points)
    if encoded.tensor_scale != 1:
        found[_ABOVE] = torch.tensor([encoded.tensor_scale], dtype=torch.float64)
    return found


def _plain(tensor: Tensor) -> Tensor:
    """On the CPU, with memory of its own: safetensors refuses tensors that share any."""
    return tensor.detach().cpu().contiguous().clone()


def _said(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What a file of codes says of itself; nothing, where it is another program's."""
    with readable(f"the codes {str(path)!r}"):
        return dict(json.loads(metadata.get(_METADATA, "{}")))


def _stored(found: Mapping[str, Tensor]) -> StoredWeight:
    if _VALUES in found:
        return OpaqueWeight(found[_VALUES])
    if _BLOCKS in found:
        return BlockWeight(found[_BLOCKS])
    above = float(found[_ABOVE]) if _ABOVE in found else 1.0
    return EncodedWeight(found[_CODES], found[_SCALES], found.get(_ZERO_POINTS), above)


def _digest(found: Mapping[str, Tensor]) -> str:
    parts = [(name, tensor_digest(each)) for name, each in sorted(found.items())]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]
