"""The float graph of a network: traced, tidied, and without a word about the machine that made it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING, Any

from ...common.packages import require
from ...errors import InvalidInput
from .graph import EXTRA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

OPSET = 21  # the first with four-bit integers
_TOKENS = 2  # dimensions of token numbers: sequences and their length


def float_graph(model: nn.Module, batches: Sequence[object]) -> Any:
    """Export a network to ONNX with its weights under their own names.

    Parameters
    ----------
    model
        The float network; it runs in eval mode and is given back as it was.
    batches
        Example inputs, of which the first is traced. Its first dimension, and the length of sequences of tokens, stay
        free. A network that is an ONNX file has its graph already, and needs none.

    Returns
    -------
    proto
        An ``onnx.ModelProto`` of opset `OPSET`, without metadata: no stack traces, names of files or shapes between
        nodes, which torch writes down and no runtime reads.

    Raises
    ------
    InvalidInput
        When there is no example input, or torch cannot trace the network; when a file's graph cannot be brought to the
        opset.
    """
    from ...onnx_models.network import OnnxNetwork

    if isinstance(model, OnnxNetwork):
        return model.float_graph(OPSET)
    require("onnxscript", EXTRA)
    torch = require("torch", EXTRA)
    from ...network.batches import as_batches, evaluating

    if not batches:
        raise InvalidInput("this target traces the network: give batches=[...], of which the first is enough")
    inputs = next(iter(as_batches(batches, model))).inputs
    tensors = {} if isinstance(inputs, torch.Tensor) else dict(inputs)
    shapes: dict[str, Any] = {name: _free(tensor) for name, tensor in tensors.items()}
    with evaluating(model), as_traced(model), torch.no_grad(), warnings.catch_warnings(), _without_torchvision():
        # torch 2.13 warns of its own use of torch.utils._pytree, and of constants among the arguments.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "# ONNX model has different number of inputs than the flatten", UserWarning)
        try:
            program = torch.onnx.export(
                model,
                () if tensors else (inputs,),
                kwargs=tensors,
                dynamo=True,
                optimize=False,  # which would transpose weights and lose their names
                opset_version=OPSET,
                dynamic_shapes=shapes or (_free(inputs),),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise _refusal(model, error) from error
        _optimise(program, {name for name, _ in model.named_parameters(remove_duplicate=False)})
    proto = program.model_proto
    for graph in (proto.graph, *proto.functions):
        _strip(graph)
    _strip(proto)
    return proto


@contextlib.contextmanager
def _without_torchvision() -> Iterator[None]:
    """Keep PyTorch from telling, four times, that torchvision is not installed, which nothing here needs."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def as_traced(model: nn.Module) -> Iterator[None]:
    """Hold a model of transformers in a form that can be traced; it is given back as it was.

    It caches no keys and values, and mixtures of experts take the weights of the chosen experts for every token: their
    other forms loop over the experts that were chosen, or call a kernel that ONNX does not have.
    """
    configs: dict[int, Any] = {id(each.config): each.config for each in model.modules() if hasattr(each, "config")}
    before: list[tuple[Any, str, Any]] = []
    for config in configs.values():
        if getattr(config, "use_cache", None) is True:
            before.append((config, "use_cache", True))
            config.use_cache = False
        experts = getattr(config, "_experts_implementation", None)
        if isinstance(experts, str):
            before.append((config, "_experts_implementation", experts))
            config._experts_implementation = "batched_mm"
    try:
        yield
    finally:
        for config, name, found in before:
            setattr(config, name, found)


def _refusal(model: nn.Module, error: BaseException) -> InvalidInput:
    """What torch says of a network that it cannot trace, in one sentence."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    said = next((line.strip() for line in str(root).splitlines() if line.strip()), type(root).__name__)
    return InvalidInput(
        f"torch cannot make an ONNX graph of this {type(model).__name__} ({type(root).__name__}: {said}): what its "
        "forward does must not depend on the numbers in its inputs; export to a target that does not trace, or give "
        "the part of the network that can be traced"
    )


def _optimise(program: Any, names: set[str]) -> None:
    """Fold constants and take out nodes that do nothing, with the parameters held so that they stay as they are.

    A parameter that is an input of the graph is no constant, and keeps its name and form.
    """
    graph = program.model.graph
    held = [(each, each.const_value) for name, each in graph.initializers.items() if name in names]
    for value, _ in held:
        del graph.initializers[value.name]
        value.const_value = None
        graph.inputs.append(value)
    program.optimize()
    graph = program.model.graph
    by_name = {value.name: value for value in graph.inputs}
    for value, tensor in held:
        kept = by_name[value.name]
        graph.inputs.remove(kept)
        if kept.uses():
            kept.const_value = tensor
            graph.initializers.add(kept)


def _strip(holder: Any) -> None:
    """Take what no runtime reads out of a graph or a model, the graphs inside its nodes included."""
    holder.ClearField("doc_string")
    holder.ClearField("metadata_props")
    if not hasattr(holder, "node"):
        return
    holder.ClearField("value_info")
    for tensor in [*getattr(holder, "initializer", ()), *_values(holder)]:
        tensor.ClearField("doc_string")
        tensor.ClearField("metadata_props")
    for node in holder.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _strip(inner)


def _values(holder: Any) -> list[Any]:
    """What is said of the inputs and outputs of a graph; a function has names only."""
    return [each for each in (*holder.input, *holder.output) if not isinstance(each, str)]


def _free(tensor: Any) -> dict[int, str]:
    """The dimensions that are not fixed to those of the example, with their names."""
    if tensor.is_floating_point() or tensor.ndim < _TOKENS:
        return {0: "batch"}
    return {0: "batch", 1: "tokens"}
