"""What is exported: the layers of a network that a policy names, and what must hold before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..evaluation.simulation import Simulator
from ..network.weight_uses import uses_in
from ..rounding.weights import quantize
from .contract import ExportMismatch, Job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..formats.format import Format
    from ..layers import Layer
    from ..policy.policy import Policy

ROUNDINGS = 4  # units in the last place by which an artefact's weight may differ


def module_job(policy: Policy, model: object, batches: Sequence[object]) -> Job:
    """Find the policy's layers in a network.

    Parameters
    ----------
    policy
        The policy.
    model
        The float network.
    batches
        Example inputs.

    Returns
    -------
    job
        Its layers are in the policy's order.

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
    return Job(policy, tuple(found), model, lambda name: uses[name].weight.detach(), batches)


def difference(own: Tensor, layer: Layer, entry: Format, weight: Tensor) -> str:
    """Say how a weight of an artefact differs from the network's weight in a format.

    Parameters
    ----------
    own
        The float weight.
    layer
        The layer.
    entry
        Its format.
    weight
        The weight as the target computes with it.

    Returns
    -------
    words
        Empty where every entry is equal up to the rounding of its type.
    """
    if tuple(weight.shape) != layer.shape:
        return f"has the shape {tuple(weight.shape)} in the artefact, not {layer.shape}"
    rounds = entry.weight_scheme is not None or entry.quantize is not None
    asked = (quantize(own.float(), entry, layer) if rounds else own).double()
    off = (weight.detach().double() - asked).abs()
    wrong = int((off > ROUNDINGS * torch.finfo(own.dtype).eps * asked.abs()).sum())
    return f"differs in {wrong:,} of {layer.elements:,} entries, by up to {float(off.max()):.3g}" if wrong else ""


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
        kept = state[name].detach().cpu()
        asked = tensor.detach().cpu().to(kept.dtype)
        same = asked.shape == kept.shape and bool(((asked == kept) | (asked.isnan() & kept.isnan())).all())
        if not same:
            raise ExportMismatch(
                f"{target}: the tensor {name!r}, which is no weight of the policy's, is not as it is in the network"
            )
