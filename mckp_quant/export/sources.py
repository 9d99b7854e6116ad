"""What is exported: the layers of a network that a policy names, and what must hold before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..evaluation.simulation import Simulator
from ..network.weight_uses import uses_in
from ..rounding.encoded import decode_weight
from ..rounding.rounders.nearest import nearest_bank
from .codes import difference_of_codes
from .contract import ExportMismatch, Job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..formats.format import Format
    from ..layers import Layer
    from ..policy.policy import Policy
    from .contract import Stored
    from .graphs.graph import Graph

ROUNDINGS = 4  # units in the last place by which an artefact's weight may differ


def module_job(policy: Policy, model: object, batches: Sequence[object]) -> Job:
    """Find the policy's layers in a network.

    Parameters
    ----------
    policy
        The policy.
    model
        The network.
    batches
        Example inputs.

    Returns
    -------
    job
        Its layers are in the policy's order, its codes nearest ones.

    Raises
    ------
    InvalidInput
        When `model` is no network, or has no such layer; when the policy was made for another network, gives two
        formats to one weight, or names one weight twice.
    """
    if model is None:
        raise InvalidInput("model is missing: give the float network whose weights are exported (--model)")
    if not isinstance(model, nn.Module):
        raise InvalidInput(f"model is a {type(model).__name__}: this target takes a torch.nn.Module")
    if "" in policy.layer_names:
        raise InvalidInput(
            f"the network itself, a {type(model).__name__}, is the layer of the policy: its weight has no module's "
            "name to be exported under; put it into a torch.nn.Sequential"
        )
    simulator = Simulator(model)
    simulator.weight_bytes(policy)  # refuses foreign policies and weights with two formats
    uses = uses_in(model)
    users: dict[int, list[str]] = {}
    for name, use in uses.items():
        if not use.obstacle:
            users.setdefault(use.weight.data_ptr(), []).append(name)
    found: list[Layer] = []
    for name in policy.layer_names:
        facts = simulator.layer(name)
        names = users[uses[name].weight.data_ptr()]
        twice = next((each.name for each in found if each.name in names), None)
        if twice is not None:
            raise InvalidInput(f"layers {twice!r} and {name!r} share one weight: name one of them in the policy")
        found.append(replace(facts, ties=tuple(each for each in names if each != name)))

    def weight(name: str) -> Tensor:
        return uses[name].weight.detach()

    return Job(policy, tuple(found), model, weight, batches, nearest_bank(found, policy.formats, weight))


def difference(job: Job, layer: Layer, entry: Format, stored: Stored) -> str:
    """Say how what an artefact holds of a layer differs from what was to be written.

    Parameters
    ----------
    job
        What was asked.
    layer
        The layer.
    entry
        Its format.
    stored
        What the artefact holds, with a weight.

    Returns
    -------
    words
        Empty where its codes are the same bit for bit, as far as they can be read, and every entry of the weight that
        the target computes with is equal up to the rounding of its type.
    """
    found = stored.weight
    if found is None:
        return ""
    if tuple(found.shape) != layer.shape:
        return f"has the shape {tuple(found.shape)} in the artefact, not {layer.shape}"
    own = job.weight(layer.name)
    if entry.weights_only.name == "float":
        return _distance(own.double(), found, torch.finfo(own.dtype).eps)
    encoded = job.encoded(layer)
    codes = "" if stored.codes is None else difference_of_codes(encoded, stored.codes)
    return codes or _distance(decode_weight(encoded, entry, layer).double(), found, torch.finfo(own.dtype).eps)


def _distance(asked: Tensor, found: Tensor, eps: float) -> str:
    off = (found.detach().double() - asked.to(found.device)).abs()
    wrong = int((off > ROUNDINGS * eps * asked.abs()).sum())
    return f"differs in {wrong:,} of {asked.numel():,} entries, by up to {float(off.max()):.3g}" if wrong else ""


def check_others(target: str, state: Mapping[str, Tensor], job: Job) -> None:
    """Compare every tensor of an artefact that is no weight of the policy's layers with the network's own.

    Parameters
    ----------
    target
        The name of the target.
    state
        From the names of parameters and buffers to what the artefact holds.
    job
        What was asked.

    Raises
    ------
    ExportMismatch
        When one is missing, other than under another name of the same tensor, or differs in an entry or its shape.
    """
    uses = uses_in(job.model)
    taken = {f"{name}.{uses[name].attribute}" for layer in job.layers for name in (layer.name, *layer.ties)}
    own = {name: tensor for name, tensor in job.model.state_dict().items() if name not in taken}
    held = {tensor.data_ptr() for name, tensor in own.items() if name in state}
    for name, tensor in own.items():
        if name not in state:
            if tensor.numel() == 0 or tensor.data_ptr() in held:
                continue
            raise ExportMismatch(f"{target}: the tensor {name!r} of the network is not in the artefact")
        _check_same(target, name, tensor, state[name])


def check_named(target: str, graph: Graph, job: Job) -> None:
    """Compare every tensor of an ONNX graph that has the name of one of the network's with that.

    Those that were folded into others have no name any more, and are not compared.

    Parameters
    ----------
    target
        The name of the target.
    graph
        The graph, read again.
    job
        What was asked.

    Raises
    ------
    ExportMismatch
        When one differs in an entry or its shape.
    """
    state = job.model.state_dict()
    for name in graph.initializers:
        if name in state:
            _check_same(target, name, state[name], torch.from_numpy(graph.array(name).copy()))


def _check_same(target: str, name: str, own: Tensor, found: Tensor) -> None:
    kept = found.detach().cpu()
    asked = own.detach().cpu().to(kept.dtype)
    same = asked.shape == kept.shape and bool(((asked == kept) | (asked.isnan() & kept.isnan())).all())
    if not same:
        raise ExportMismatch(
            f"{target}: the tensor {name!r}, which is no weight of the policy's, is not as it is in the network"
        )


def check_places(target: str, job: Job) -> None:
    """Refuse biases that layers have gained where a model of transformers is loaded: raises InvalidInput.

    Its configuration builds the layers without them, and whoever loads the checkpoint would get other outputs.
    """
    if job.gained and hasattr(job.model, "save_pretrained"):
        raise InvalidInput(
            f"{target}: the finished network has {', '.join(job.gained)}, which {type(job.model).__name__} does not "
            "have when it is built from its configuration: export its codes alone, with "
            "bank=finished.bank and the float network"
        )
