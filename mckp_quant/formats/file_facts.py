"""What is known beforehand of the file that a target writes: so that a budget may be the size of the file.

A file is a fixed part (biases, norms, unquantised parameters, names, metadata, headers) and a part for each layer that
depends on its format. Both are exact where the container lets them be, and otherwise a little above what is written.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..common.checks import check_count
from ..errors import InvalidInput
from .capabilities import capability
from .safetensors_size import compressed_layer_bytes, torchao_layer_bytes
from .schemes import FLOAT

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..layers import Layer
    from .format import Format

COMPRESSED_TENSORS, CHECKPOINT, TORCHAO = "compressed_tensors", "checkpoint", "torchao"
GGUF, ONNX, ONNX_NBITS = "gguf", "onnxruntime", "onnxruntime_nbits"
# From export targets to the form of their file.
FORMS = {
    # As compressed-tensors, under the names of checkpoints.
    **dict.fromkeys(("vllm", "sglang"), CHECKPOINT),
    "compressed_tensors": COMPRESSED_TENSORS,
    **{"torchao": TORCHAO, "gguf": GGUF, "onnxruntime": ONNX, "onnxruntime_qdq": ONNX, "onnxruntime_nbits": ONNX_NBITS},
}
GGUF_ALIGNMENT = 32  # bytes at which the data of a tensor begin


@dataclass(frozen=True)
class FileFacts:
    """What a network's file takes in one form, as far as no format is chosen.

    Attributes
    ----------
    form
        One of the values of `FORMS`.
    fixed
        Bytes of everything that is no layer's weight.
    names
        What the weight of each layer is called in the file, in the order of the table's layers.
    floats
        Bytes that each layer takes when it is left as it is, with its entry in the header.
    digits
        Digits of the largest offset that a header in text may hold; 0 for other forms.
    nodes
        Of graphs, from the names of formats to the bytes that a layer's nodes take beside numbers and names.
    """

    form: str
    fixed: int
    names: tuple[str, ...]
    floats: tuple[int, ...]
    digits: int = 0
    nodes: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        """Refuse sizes that no file has."""
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "floats", tuple(self.floats))
        if self.form not in FORMS.values():
            known = ", ".join(sorted(set(FORMS.values())))
            raise InvalidInput(f"form {self.form!r} of a file is unknown: known are {known}")
        for name in ("fixed", "digits"):
            check_count(f"{name} of the file {self.form!r}", getattr(self, name), 0)
        for each in self.floats:
            check_count(f"bytes of a layer in the file {self.form!r}", each, 0)
        if len(self.names) != len(self.floats):
            raise InvalidInput(
                f"the file {self.form!r} has {len(self.names)} names and {len(self.floats)} sizes of layers: one each"
            )

    def layer_bytes(self, row: int, layer: Layer, entry: Format, target: str) -> int:
        """Bytes of the file that a layer takes in a format, names and headers counted.

        Parameters
        ----------
        row
            The position of the layer among the table's.
        layer
            The layer.
        entry
            The format; one that the target takes, or the number means nothing.
        target
            The export target.

        Returns
        -------
        nbytes
            At least what it takes.
        """
        if entry.name == FLOAT or capability(target).refuses(layer, entry):
            return self.floats[row]
        plain = self.floats[row] if entry.weights_only.name == FLOAT else 0  # only its input is stored otherwise
        return plain + _LAYERS[self.form](self, row, layer, entry, target)

    def document(self) -> dict[str, Any]:
        """The facts in plain types."""
        return {**asdict(self), "nodes": dict(self.nodes)}

    @classmethod
    def from_document(cls, entry: object, source: str) -> FileFacts:
        """The facts that a file describes; `source` says where, for the error, which is an InvalidInput."""
        if not isinstance(entry, dict) or set(entry) != set(cls.__annotations__):
            raise InvalidInput(f"{source}: {entry!r} must hold {', '.join(cls.__annotations__)}")
        names, floats = entry["names"], entry["floats"]
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise InvalidInput(f"{source}: names = {names!r} must be a list of text")
        if not isinstance(floats, list | tuple):
            raise InvalidInput(f"{source}: floats = {floats!r} must be a list of whole numbers")
        nodes = entry["nodes"]
        if not isinstance(nodes, dict) or not all(type(count) is int for count in nodes.values()):
            raise InvalidInput(f"{source}: nodes = {nodes!r} must hold a whole number for each format")
        return cls(
            str(entry["form"]), entry["fixed"], tuple(names), tuple(floats), entry["digits"], tuple(nodes.items())
        )


def aligned(nbytes: int) -> int:
    """Bytes that a tensor takes in a GGUF file, where the next one begins at a multiple of 32."""
    return -(-nbytes // GGUF_ALIGNMENT) * GGUF_ALIGNMENT


def _gguf(facts: FileFacts, row: int, layer: Layer, entry: Format, target: str) -> int:
    return aligned(capability(target).stored_bytes(layer, entry))


def _torchao(facts: FileFacts, row: int, layer: Layer, entry: Format, target: str) -> int:
    return torchao_layer_bytes(facts.names[row], layer, entry, facts.digits)


def _compressed(facts: FileFacts, row: int, layer: Layer, entry: Format, target: str) -> int:
    return compressed_layer_bytes(facts.names[row], layer, entry, facts.digits)


def _onnx(facts: FileFacts, row: int, layer: Layer, entry: Format, target: str) -> int:
    """The stored numbers, and nodes that are called after the weight, of which a written file told what they take."""
    stored = 0 if entry.weights_only.name == FLOAT else capability(target).stored_bytes(layer, entry)
    nodes = dict(facts.nodes).get(entry.name, _NODES)  # below 0 where what is pruned is more
    return max(0, stored + NODE_NAMES * len(facts.names[row].encode()) + nodes)


NODE_NAMES = 4  # how often a layer's nodes have its name in them
_NODES = 500  # what the nodes of a format take of which no file was written
_LAYERS: dict[str, Callable[[FileFacts, int, Layer, Format, str], int]] = {
    **dict.fromkeys((COMPRESSED_TENSORS, CHECKPOINT), _compressed),
    TORCHAO: _torchao,
    GGUF: _gguf,
    ONNX: _onnx,
    ONNX_NBITS: _onnx,
}
