"""The codes that are exported: those of a bank, of a finished network, or nearest ones, and what must hold for them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import InvalidInput
from ..network.fingerprint import tensor_digest
from ..rounding.bank import check_rounder
from ..rounding.encoded import decode_weight
from ..rounding.inputs import InputRounding

if TYPE_CHECKING:
    from torch import Tensor

    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from .contract import FinishedNetwork, Job

ROUNDINGS = 4  # units in the last place by which a finished network's weight may differ from its bank's


def network_of(finished: FinishedNetwork) -> nn.Module:
    """A copy of a finished network without the hooks that round inputs: the artefact says how they are rounded."""
    made = copy.deepcopy(finished.model)
    for module in made.modules():
        for key in [key for key, hook in module._forward_pre_hooks.items() if isinstance(hook, InputRounding)]:
            del module._forward_pre_hooks[key]
            module._forward_pre_hooks_with_kwargs.pop(key, None)
    return made


def policy_of(finished: FinishedNetwork, policy: Policy) -> Policy:
    """The policy with the ranges that the finished network was made with.

    Parameters
    ----------
    finished
        The finished network.
    policy
        The policy to be exported.

    Returns
    -------
    policy
        The same formats.

    Raises
    ------
    InvalidInput
        When the network was finished for another policy.
    """
    if policy != finished.policy:
        raise InvalidInput(
            "the network was finished for another policy: give its own, finished.policy, or finish it for this one"
        )
    return replace(policy, ranges=finished.policy.ranges) if policy.ranges is None else policy


def gained(network: nn.Module, model: Any) -> tuple[str, ...]:
    """The parameters that a finished network has beyond those it is built with.

    Parameters
    ----------
    network
        The finished network.
    model
        The float network that it comes from; None where it is not at hand: a model of transformers is then built from
        its configuration, without numbers, and nothing is known of others.

    Returns
    -------
    names
        Such as ``"fc.bias"``.
    """
    if isinstance(model, nn.Module):
        known = set(model.state_dict())
    elif hasattr(network, "save_pretrained") and hasattr(network, "config"):
        with torch.device("meta"):
            known = set(type(network)(copy.deepcopy(network.config)).state_dict())
    else:
        return ()
    return tuple(name for name in network.state_dict() if name not in known)


def with_bank(job: Job, bank: WeightBank | None, *, finished: bool = False, other_rounder: bool = False) -> Job:
    """Give a job the codes that it writes.

    Parameters
    ----------
    job
        What is to be exported.
    bank
        The codes; None for nearest ones.
    finished
        Whether the network has the bank's weights already, and not the float ones.
    other_rounder
        Whether the policy's prediction may be about another rounder.

    Returns
    -------
    job
        The same with its bank. One that writes no codes, because the target's tool rounds by itself, is not refused.

    Raises
    ------
    InvalidInput
        When the prediction is about another rounder; when the bank lacks a layer or a format, or its weights are not
        those of the network.
    """
    job = replace(job, bank=bank)
    if not job.coded:
        return job
    check_rounder("the policy", job.policy.rounder, bank, other_rounder)
    if bank is None:
        return job
    moved: dict[str, Tensor] = {}
    for layer, entry in job.coded:
        if not bank.holds(layer.name, entry):
            bank.encoded(layer.name, entry)  # says what it lacks
        digest = bank.weights[bank.layer(layer.name).name]
        if finished:
            _check_rounded(job, layer.name)
        elif tensor_digest(job.weight(layer.name)) != digest:
            rows = None if job.order is None else job.order(layer.name, digest)
            if rows is None:
                raise InvalidInput(
                    f"the weight of layer {layer.name!r} is not the one that the bank was rounded from: give the "
                    "network that was rounded, or round this one's weights, with round_weights"
                )
            moved[layer.name] = rows
    return replace(job, rows=moved)


def _check_rounded(job: Job, name: str) -> None:
    layer = next(each for each in job.layers if each.name == name)
    own = job.weight(name)
    asked = decode_weight(job.encoded(layer), job.policy[name], layer, own.dtype).to(own.device).double()
    wrong = int(((own.double() - asked).abs() > ROUNDINGS * torch.finfo(own.dtype).eps * asked.abs()).sum())
    if wrong:
        raise InvalidInput(
            f"the weight of layer {name!r} of the finished network differs from its bank in {wrong:,} entries: it was "
            "changed after finish made it; finish the network again"
        )
