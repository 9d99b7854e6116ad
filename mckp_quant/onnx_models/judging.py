"""What the outputs of an ONNX graph mean: logits of the probabilities that deployed graphs give."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import InvalidInput, unknown
from ..network.likelihoods.probabilities import are_probabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..network.outputs import Outputs
    from ..tables.table import SensitivityTable
    from .network import OnnxNetwork

_PASSED = ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Flatten")


def judged(network: OnnxNetwork, outputs: Outputs) -> Outputs:
    """Say how the numbers that outputs are about are taken from what a graph gives.

    Graphs that are deployed end in a softmax or a sigmoid: of class outputs that are probabilities the logarithm is
    taken, of Bernoulli ones behind a sigmoid the logit, so that divergences are those of the probabilities.

    Parameters
    ----------
    network
        The network.
    outputs
        What is known of the outputs; heads have the names of the graph's outputs. Without heads they are about the
        first floating-point output.

    Returns
    -------
    outputs
        With what takes each head, where none was given.

    Raises
    ------
    InvalidInput
        When the graph has no output of a head's name.
    """
    if outputs.heads:
        heads = tuple(each if each.take else _taken(network, each, each.name) for each in outputs.heads)
        return heads[0] if len(heads) == 1 and heads[0].weight == 1 else dataclasses.replace(outputs, heads=heads)
    return outputs if outputs.take else _taken(network, outputs, network.output_names[0])


def without_guesses(table: SensitivityTable, network: OnnxNetwork) -> SensitivityTable:
    """A table of an ONNX network that says only what is known of it.

    Parameters
    ----------
    table
        What was measured.
    network
        The network.

    Returns
    -------
    table
        Without activation tensors and sizes of files, which are those of PyTorch networks; operations inside the bodies
        of ``If`` and ``Loop`` are not known.
    """
    inside = {each.layer.name for each in network.weights if each.inside}
    layers = tuple(dataclasses.replace(each, macs=None) if each.name in inside else each for each in table.layers)
    return dataclasses.replace(table, layers=layers, activations=(), files=())


def _taken(network: OnnxNetwork, outputs: Outputs, name: str) -> Outputs:
    if name not in network.output_names:
        raise unknown("output of the graph", name, network.output_names)
    several = len(network.output_names) > 1
    sigmoid = _ends_in(network, name) == "Sigmoid"
    softmax = _ends_in(network, name) == "Softmax"
    convert: Callable[[Tensor], Tensor] = lambda values: values  # noqa: E731
    if outputs.likelihood == "categorical":
        if sigmoid:
            raise InvalidInput(
                f"the output {name!r} ends in a sigmoid, whose numbers are no classes: say --likelihood bernoulli, or "
                "gaussian"
            )
        convert = _logarithm if softmax else _logarithm_of_probabilities
    elif outputs.likelihood == "bernoulli" and sigmoid:
        convert = _logit

    def take(returned: object) -> object:
        value = returned[name] if several else returned  # type: ignore[index]
        return convert(value) if isinstance(value, Tensor) else value

    return dataclasses.replace(outputs, take=take)


def _ends_in(network: OnnxNetwork, name: str) -> str:
    """The operator that makes an output, past those that only move its numbers; empty where the output is an input."""
    made = next((node for node in network.proto.graph.node if name in node.output), None)
    if made is None:
        return ""
    return _ends_in(network, made.input[0]) if made.op_type in _PASSED else str(made.op_type)


def _logarithm(values: Tensor) -> Tensor:
    return values.clamp_min(torch.finfo(values.dtype).tiny).log()


def _logarithm_of_probabilities(values: Tensor) -> Tensor:
    return _logarithm(values) if are_probabilities(values) else values


def _logit(values: Tensor) -> Tensor:
    kind = torch.finfo(values.dtype)
    return values.clamp(kind.tiny, 1 - kind.eps / 2).logit()
