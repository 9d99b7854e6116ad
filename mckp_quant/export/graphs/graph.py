"""ONNX graphs that are changed, and integers of few bits packed into bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...common.packages import require
from ...errors import InvalidInput
from ...onnx_models.lifting import nodes_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from ...layers import Layer

EXTRA = "onnx"
MODEL = "model.onnx"
_PASS_ON = ("Transpose", "Identity")


class Graph:
    """An ONNX graph that is being changed.

    Parameters
    ----------
    proto
        The ``onnx.ModelProto``; it is changed in place.
    """

    def __init__(self, proto: Any) -> None:
        self.proto = proto
        self._onnx = require("onnx", EXTRA)
        self.initializers = {each.name: each for each in proto.graph.initializer}

    def weight_of(self, layer: Layer) -> str:
        """The name of the initializer of a layer's weight; raises InvalidInput where the graph has none."""
        for name in (layer.name, *layer.ties):
            for weight in (f"{name}.weight", name):  # experts have the name of the parameter itself
                if weight in self.initializers:
                    return weight
        raise InvalidInput(
            f"layer {layer.name!r} has no weight in the exported graph: the traced call does not use it; leave it out "
            "of the policy"
        )

    def users(self, tensor: str) -> list[Any]:
        """The nodes that compute with a tensor, past those that only transpose it; bodies of nodes are looked into."""
        found = []
        for node in self.readers(tensor):
            found += self.users(node.output[0]) if node.op_type in _PASS_ON else [node]
        return found

    def readers(self, tensor: str) -> list[Any]:
        """The nodes that take a tensor, whatever they do; bodies of nodes are looked into."""
        return [node for node in nodes_in(self.proto.graph) if tensor in node.input]

    def in_body(self, node: Any) -> bool:
        """Whether a node stands inside another one, such as in the branch of an If."""
        return not any(each is node or each == node for each in self.proto.graph.node)

    def source(self, tensor: str, past: tuple[str, ...] = _PASS_ON) -> str:
        """Where a tensor comes from, past nodes that only move its numbers."""
        node = next((each for each in nodes_in(self.proto.graph) if tensor and tensor in each.output), None)
        return self.source(node.input[0], past) if node is not None and node.op_type in past else tensor

    def maker(self, tensor: str) -> Any:
        """The node that makes a tensor, past those that only transpose it; None for inputs and initializers."""
        node = next((each for each in nodes_in(self.proto.graph) if tensor and tensor in each.output), None)
        return self.maker(node.input[0]) if node is not None and node.op_type in _PASS_ON else node

    def add(self, name: str, array: NDArray[Any], bits: int | None = None, *, signed: bool = True) -> str:
        """Add an initializer.

        Parameters
        ----------
        name
            Its name.
        array
            Its numbers.
        bits
            4 to pack integers two in a byte; otherwise the array's own type is stored.
        signed
            Whether packed integers have a sign.

        Returns
        -------
        name
            The same name.
        """
        if bits == 4:
            kind = self._onnx.TensorProto.INT4 if signed else self._onnx.TensorProto.UINT4
            made = self._onnx.TensorProto(
                name=name, data_type=kind, dims=array.shape, raw_data=pack(array.reshape(1, -1), 4).tobytes()
            )
        else:
            made = self._onnx.numpy_helper.from_array(array, name)
        self.proto.graph.initializer.append(made)
        self.initializers[name] = made
        return name

    def add_scalar(self, name: str, number: int, kind: int) -> str:
        """Add one number of an ONNX type as an initializer."""
        made = self._onnx.helper.make_tensor(name, kind, [], [number])
        self.proto.graph.initializer.append(made)
        self.initializers[name] = made
        return name

    def insert(self, kind: str, inputs: Iterable[str], output: str, before: Any, **attributes: Any) -> Any:
        """Put a node before another one."""
        node = self._onnx.helper.make_node(kind, list(inputs), [output], name=output, **attributes)
        at = next(at for at, each in enumerate(self.proto.graph.node) if each is before or each == before)
        self.proto.graph.node.insert(at, node)
        return node

    def first_user(self, tensor: str) -> Any:
        """The first node that takes a tensor, whatever it does."""
        return next(node for node in self.proto.graph.node if tensor in node.input)

    def after(self, tensor: str) -> Any:
        """The node behind the one that makes a tensor."""
        at = next(at for at, node in enumerate(self.proto.graph.node) if tensor in node.output)
        return self.proto.graph.node[at + 1]

    def remove(self, initializer: str) -> None:
        """Take an initializer out."""
        self.proto.graph.initializer.remove(self.initializers.pop(initializer))

    def prune(self) -> None:
        """Take out nodes and initializers that nothing needs any more."""
        graph = self.proto.graph
        while True:
            used = {name for node in nodes_in(graph) for name in node.input} | {each.name for each in graph.output}
            idle = [node for node in graph.node if not used & set(node.output)]
            if not idle:
                break
            for node in idle:
                graph.node.remove(node)
        for name in [name for name in self.initializers if name not in used]:
            self.remove(name)

    def array(self, name: str) -> NDArray[Any]:
        """The numbers of an initializer; four-bit integers as int8."""
        array: NDArray[Any] = self._onnx.numpy_helper.to_array(self.initializers[name])
        return array if array.dtype.kind in "fiu" and array.dtype.itemsize > 1 else array.astype(_wide(array))

    def has_four_bits(self, name: str) -> bool:
        """Whether an initializer holds integers of four bits."""
        kinds = self._onnx.TensorProto
        return self.initializers[name].data_type in (kinds.INT4, kinds.UINT4)

    def size(self, name: str) -> int:
        """Bytes of an initializer in the file."""
        made = self.initializers[name]
        return len(made.raw_data) or self._onnx.numpy_helper.to_array(made).nbytes


def _wide(array: NDArray[Any]) -> type[np.generic]:
    import numpy as np

    return np.uint8 if array.dtype.name.startswith("uint") else np.int8


def pack(rows: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Pack integers into bytes, the first in the lowest bits; each row begins a byte of its own.

    Parameters
    ----------
    rows
        ``(..., n)`` integers; only their lowest `bits` bits count.
    bits
        2, 4 or 8.

    Returns
    -------
    packed
        ``(..., ceil(n * bits / 8))`` uint8.
    """
    import numpy as np

    per_byte = 8 // bits
    low = rows.astype(np.uint8) & np.uint8(2**bits - 1)
    padded = np.pad(low, [(0, 0)] * (low.ndim - 1) + [(0, -low.shape[-1] % per_byte)])
    parts = padded.reshape(*low.shape[:-1], -1, per_byte) << (np.arange(per_byte, dtype=np.uint8) * np.uint8(bits))
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(parts, axis=-1).astype(np.uint8)
    return packed


def unpack(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Undo `pack`: ``(..., n)`` bytes become ``(..., n * 8 / bits)`` integers without a sign."""
    import numpy as np

    per_byte = 8 // bits
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    parts = (packed[..., None] >> shifts) & np.uint8(2**bits - 1)
    return parts.reshape(*packed.shape[:-1], -1)
