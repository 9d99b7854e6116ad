"""Uniform formats of a policy's size, with which it is compared."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..formats.format import Format
from ..policy.policy import Policy

if TYPE_CHECKING:
    from .simulation import Simulator

_WIDEST = 8
_INTEGER = re.compile(r"w[1-8]((?:\D.*)?)")  # the weight bits, and the rest of the name
_SIZES = ("weight_bytes", "bits_per_weight")  # budgets on the size of weights


def uniforms_of_size(policy: Policy, simulator: Simulator) -> tuple[Policy, ...]:
    """The uniform formats beside a policy: the widest within its budget and, where that leaves room, the next wider.

    A policy nearly always falls a few bytes short of its budget. Measured by its own bytes, a policy that was made at
    those of uniform w4 would be set against w3.

    Parameters
    ----------
    policy
        The policy; what its formats have in common beside their weight bits, such as group size and activation bits,
        the uniform ones have too. Without budgets, or with others than on the size of weights, which a uniform format
        may break, its own bytes count.
    simulator
        Of the network.

    Returns
    -------
    uniforms
        The narrower first; one where it takes the budget to the last byte. None where the formats have too little in
        common, or the policy is uniform itself.

    Raises
    ------
    InvalidInput
        When the policy does not fit the network.
    """
    names = {entry.name for entry in policy.formats}
    rests = {match[1] if (match := _INTEGER.fullmatch(name)) else None for name in names}
    if len(names) == 1 or len(rests) > 1 or None in rests:
        return ()
    (rest,) = rests
    limits = _limits(policy, simulator)
    wider: tuple[Policy, ...] = ()
    for width in range(_WIDEST, 0, -1):
        with contextlib.suppress(InvalidInput):  # not every width has every kind
            entries = (Format.named(f"w{width}{rest}"),) * len(policy)
            uniform = Policy(policy.layer_names, entries, ranges=policy.ranges, target=policy.target)
            room = [limit - _size(uniform, simulator, name) for name, limit in limits.items()]
            if min(room) == 0:
                return (uniform,)
            if min(room) > 0:
                return (uniform, *wider)
            wider = (uniform,)
    return wider


def _limits(policy: Policy, simulator: Simulator) -> dict[str, int]:
    """What the policy's budgets allow its weights to take; what they do take where that is not known."""
    limits = {each.name: each.limit for each in policy.budgets if not each.least}
    if not limits or any(each.name not in _SIZES for each in policy.budgets):
        return {"weight_bytes": simulator.weight_bytes(policy)}
    return {name: max(limit, _size(policy, simulator, name)) for name, limit in limits.items()}


def _size(policy: Policy, simulator: Simulator, budget: str) -> int:
    return simulator.weight_bytes(policy) if budget == "weight_bytes" else simulator.stored_bits(policy)
