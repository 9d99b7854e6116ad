"""A network that ONNX Runtime computes, as a torch.nn.Module whose layers hold the weights."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..common.files import check_regular, readable
from ..common.packages import require
from ..errors import InvalidInput
from .holding import SENT, layer_module, put
from .lifting import EXTRA, lifted
from .running import QUIET, Held, Runs, first_line
from .weights import orient, weights_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from ..network.batch import Batch
    from .weights import OnnxWeight

_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
_TYPES = {
    f"tensor({name})": name
    for name in ("float16", "double", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
_LARGEST = 2**31  # bytes that a message of protobuf may have


class OnnxNetwork(nn.Module):
    """The network of an ONNX graph: ONNX Runtime computes it, with the weights that its layers hold.

    Layers are modules with the names of the weights. They hold the numbers and do not compute, so that weights can be
    rounded and put into the network, while inputs of layers cannot, and nothing can be differentiated.

    A sample is what lies behind the first dimension of the inputs. Where an input has one dimension more than the graph
    says, or the graph has a fixed first dimension of 1, it runs once for every sample.

    Parameters
    ----------
    proto
        An ``onnx.ModelProto``, which is copied.
    source
        The file, for messages.

    Raises
    ------
    InvalidInput
        When ONNX Runtime refuses the graph, or no float weight is in it.
    """

    def __init__(self, proto: Any, source: str = "the ONNX graph") -> None:
        super().__init__()
        made = lifted(proto)
        weights = weights_in(made)
        if not weights:
            raise InvalidInput(
                f"{source} holds no float weight that a layer multiplies with: a graph that is quantised already is "
                "for 'audit'; give the float one"
            )
        if made.ByteSize() >= _LARGEST:
            raise InvalidInput(f"{source} takes {made.ByteSize():,} bytes: ONNX Runtime runs graphs below 2 GiB here")
        self._source, self._held = source, Held(made, weights)
        numbers = require("onnx", EXTRA).numpy_helper
        initializers = {each.name: each for each in made.graph.initializer}
        self._layers: dict[str, nn.Module] = {}
        self._seen: dict[str, tuple[Tensor, int, bool]] = {}
        for each in weights:
            original = torch.from_numpy(each.as_layer(numbers.to_array(initializers[each.place])).copy())
            self._held.originals[each.place] = original
            module = layer_module(each.layer, original.clone())
            self._layers[each.place] = module
            put(self, each.layer.name, module)
        try:
            self._held.session()
        except Exception as error:  # of the runtime's own kinds, which have no common one
            raise InvalidInput(f"ONNX Runtime refuses {source}: {first_line(error)}") from error
        self.eval()

    @property
    def _session(self) -> Any:
        return self._held.session()

    @property
    def proto(self) -> Any:
        """The graph, in the form of `lifted`, with the weights of the file."""
        return self._held.proto

    @property
    def weights(self) -> tuple[OnnxWeight, ...]:
        """Where the layers' weights lie in the graph."""
        return self._held.weights

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph's floating-point outputs."""
        return tuple(each.name for each in self._session.get_outputs() if each.type in _FLOATS)

    def float_graph(self, opset: int) -> Any:
        """The graph for whoever writes codes into it.

        Parameters
        ----------
        opset
            The least version of ONNX's operators that it is to have.

        Returns
        -------
        proto
            A copy that holds the weights in the layers' shapes; initializers have the names of the file's.

        Raises
        ------
        InvalidInput
            When the onnx package cannot bring the graph to that version.
        """
        onnx = require("onnx", EXTRA)
        made = onnx.ModelProto()
        made.CopyFrom(self.proto)
        orient(made, self.weights, {name: each.numpy() for name, each in self._held.originals.items()})
        version = max((each.version for each in made.opset_import if each.domain in ("", "ai.onnx")), default=1)
        if version >= opset:
            return made
        try:
            return onnx.version_converter.convert_version(made, opset)
        except Exception as error:  # of its own kinds
            raise InvalidInput(
                f"{self._source} has operators of version {version}, and codes need version {opset}, to which the onnx "
                f"package cannot bring it ({first_line(error)}): export the network again with opset_version={opset}"
            ) from error

    def decibels(self, proto: Any, batches: Iterable[Batch]) -> float:
        """How far above their difference from another graph's the outputs of this network lie, on batches.

        Parameters
        ----------
        proto
            A graph with the same inputs and outputs.
        batches
            As for `measure`.

        Returns
        -------
        decibels
            Of the first floating-point output; inf where nothing differs.
        """
        import numpy as np

        options = require("onnxruntime", EXTRA).SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = torch.get_num_threads()
        other = require("onnxruntime", EXTRA).InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names, changed, signal, noise = self.output_names[:1], self._changed(), 0.0, 0.0
        for batch in batches:
            for run in self.feeds(batch):
                own = self._run(self._session, names, {**run, **changed})[0].astype(np.float64)
                signal += float((own**2).sum())
                noise += float(((own - self._run(other, names, run)[0]) ** 2).sum())
        return float("inf") if noise == 0 else 10 * float(np.log10(signal / noise)) if signal else float("-inf")

    def feeds(self, batch: Batch) -> list[dict[str, NDArray[Any]]]:
        """The inputs, by name, of every run that a batch takes."""
        return self._runs(self._arrays(batch)).feeds

    def _arrays(self, batch: Batch) -> dict[str, NDArray[Any]]:
        names = list(self.input_ranks())
        given = {names[0]: batch.inputs} if isinstance(batch.inputs, Tensor) else dict(batch.inputs)
        return {name: given[name].detach().cpu().numpy() for name in names}

    def input_ranks(self) -> dict[str, int]:
        """From the names of the graph's inputs to how many dimensions they have."""
        return {each.name: len(each.shape) for each in self._session.get_inputs()}

    def input_types(self) -> dict[str, str]:
        """From the names of the graph's inputs to the names of NumPy's types."""
        return {each.name: _TYPES.get(each.type, "float32") for each in self._session.get_inputs()}

    def forward(self, *args: Tensor, **inputs: Tensor) -> Tensor | dict[str, Tensor]:
        """Compute the graph.

        Parameters
        ----------
        *args
            The inputs in the graph's order.
        **inputs
            The inputs by name.

        Returns
        -------
        outputs
            The graph's floating-point output; by name where it has several. Samples are the first dimension.

        Raises
        ------
        InvalidInput
            When gradients are wanted, an input is missing, or ONNX Runtime fails.
        """
        if torch.is_grad_enabled() and any(each.requires_grad for each in self.parameters()):
            raise InvalidInput(
                f"{self._source} cannot be differentiated: use a method that runs the network, measured_kl, or one "
                "that needs no data, weight_mse or sqnr"
            )
        names = list(self.input_ranks())
        given = {**dict(zip(names, args, strict=False)), **inputs}
        odd = [name for name in names if name not in given] or [name for name in given if name not in names]
        if odd or len(args) > len(names):
            raise InvalidInput(f"{self._source} takes the inputs {', '.join(names)}, and was given {', '.join(given)}")
        runs = self._runs({name: given[name].detach().cpu().numpy() for name in names})
        changed = self._changed()
        outputs = self.output_names
        made = [self._run(self._session, outputs, {**run, **changed}) for run in runs.feeds]
        joined = {name: torch.from_numpy(runs.joined([each[at] for each in made])) for at, name in enumerate(outputs)}
        self._announce(runs)
        return joined[outputs[0]] if len(outputs) == 1 else joined

    def _run(self, session: Any, names: Sequence[str], feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            found: list[NDArray[Any]] = session.run(list(names), dict(feed))
        except Exception as error:
            raise InvalidInput(f"ONNX Runtime fails on {self._source}: {first_line(error)}") from error
        return found

    def _runs(self, arrays: dict[str, NDArray[Any]]) -> Runs:
        """The inputs of every run that a batch takes."""
        import numpy as np

        shapes = {each.name: each.shape for each in self._session.get_inputs()}
        beyond = {name: arrays[name].ndim - len(shape) for name, shape in shapes.items()}
        if set(beyond.values()) == {1}:
            count = len(next(iter(arrays.values())))
            return Runs([{name: np.asarray(each[at]) for name, each in arrays.items()} for at in range(count)], True)
        count = max((len(each) for each in arrays.values() if each.ndim), default=1)
        fixed = [name for name, shape in shapes.items() if shape and shape[0] == 1]
        if count > 1 and len(fixed) == len(shapes):
            return Runs([{name: each[at : at + 1] for name, each in arrays.items()} for at in range(count)], False)
        return Runs([arrays], False)

    def _changed(self) -> dict[str, NDArray[Any]]:
        """The weights that are not those of the file, in the graph's own form."""
        found = {}
        for each in self.weights:
            weight: Any = self._layers[each.place].weight
            seen = self._seen.get(each.place)
            differs = seen is not None and seen[2]
            if seen is None or seen[0] is not weight or weight._version != seen[1]:
                differs = not torch.equal(weight.detach().cpu(), self._held.originals[each.place])
                self._seen[each.place] = (weight, weight._version, differs)
            if differs:
                found[each.place] = each.as_stored(weight.detach().cpu().numpy())
        return found

    def _announce(self, runs: Runs) -> None:
        """Call every layer with as many numbers as it computed, for whoever watches layers."""
        key = tuple(tuple(each.shape) for each in runs.feeds[0].values())
        if key not in self._held.shapes:
            seen = list(dict.fromkeys(each.output for each in self.weights if not each.inside and each.output))
            made = self._run(self._held.session(seen), seen, runs.feeds[0]) if seen else []
            self._held.shapes[key] = {name: int(each.size) for name, each in zip(seen, made, strict=True)}
        for each in self.weights:
            count = self._held.shapes[key].get(each.output, 0) * each.gates * len(runs.feeds)
            module = self._layers[each.place]
            module.__dict__[SENT] = sent = torch.zeros(()).expand(count)
            module(sent)


def load_onnx(path: str | os.PathLike[str]) -> OnnxNetwork:
    """Read an ONNX file as a network.

    Parameters
    ----------
    path
        The file; weights that lie in files beside it are read too.

    Returns
    -------
    network
        In evaluation mode. Its parameters want no gradients.

    Raises
    ------
    InvalidInput
        When it is no ONNX file, ONNX Runtime refuses it, or it holds no float weight.
    PackageMissing
        When onnx or onnxruntime is not installed.
    """
    onnx = require("onnx", EXTRA)
    check_regular(path, "ONNX graph")
    source = f"the ONNX graph {os.fspath(path)!r}"
    with readable(source):
        proto = onnx.load(path)
    return OnnxNetwork(proto, source)
