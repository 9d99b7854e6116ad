"""Uniform formats of a policy's size, with which it is compared."""

from __future__ import annotations

import contextlib
import math
import re
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..formats.format import Format
from ..policy.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..rounding.bank import WeightBank
    from .evaluator import Evaluator
    from .figures import Evaluation
    from .simulation import Simulator

_WIDEST = 8
_INTEGER = re.compile(r"w[1-8]((?:\D.*)?)")  # the weight bits, and the rest of the name
_SIZES = ("weight_bytes", "bits_per_weight")  # budgets on the size of weights


def uniforms_of_size(policy: Policy, simulator: Simulator) -> tuple[Policy, ...]:
    """The uniform formats beside a policy: the widest within its budget and, where that leaves room, the next wider.

    A policy nearly always falls a few bytes short of its budget. Measured by its own bytes, a policy that was made at
    those of uniform w4 would be set against w3.

    Where the simulator has a bank, they are formats of the bank, rounded by its rounder: all that fit into the budget,
    the smallest first, whatever their bits, groups and zero points; where none fits, the smallest one.

    Parameters
    ----------
    policy
        The policy; what its formats have in common beside their weight bits, such as group size and activation bits,
        the uniform ones have too; those of a bank only what inputs are stored as. Without budgets, or with others than
        on the size of weights, which a uniform format may break, its own bytes count.
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
    if len({entry.name for entry in policy.formats}) == 1:
        return ()
    limits = _limits(policy, simulator)
    if simulator.bank is not None:
        return _of_bank(policy, simulator, simulator.bank, limits)
    rests = {match[1] if (match := _INTEGER.fullmatch(entry.name)) else None for entry in policy.formats}
    if len(rests) > 1 or None in rests:
        return ()
    (rest,) = rests
    wider: tuple[Policy, ...] = ()
    for width in range(_WIDEST, 0, -1):
        with contextlib.suppress(InvalidInput):  # not every width has every kind
            uniform = _uniform(policy, Format.named(f"w{width}{rest}"))
            room = _room(uniform, simulator, limits)
            if room == 0:
                return (uniform,)
            if room > 0:
                return (uniform, *wider)
            wider = (uniform,)
    return wider


def best_measured(policies: Iterable[Policy], evaluator: Evaluator) -> tuple[Policy, Evaluation] | None:
    """The policy of least measured KL, each in one pass over the batches, and what was measured; None of none."""
    measured = [(policy, evaluator.evaluate(policy)) for policy in policies]
    return min(measured, key=lambda pair: math.inf if math.isnan(pair[1].kl) else pair[1].kl, default=None)


def _of_bank(policy: Policy, simulator: Simulator, bank: WeightBank, limits: dict[str, int]) -> tuple[Policy, ...]:
    schemes = {entry.activation_scheme for entry in policy.formats}
    found = []
    for entry in bank.formats:
        if schemes == {entry.activation_scheme} and all(bank.holds(name, entry) for name in policy.layer_names):
            with contextlib.suppress(InvalidInput):  # the policy's target may not store it
                uniform = _uniform(policy, entry)
                found.append((simulator.stored_bits(uniform), _room(uniform, simulator, limits), uniform))
    found.sort(key=lambda each: each[0])
    fitting = tuple(uniform for _, room, uniform in found if room >= 0)
    return fitting or tuple(uniform for _, _, uniform in found[:1])


def _uniform(policy: Policy, entry: Format) -> Policy:
    return Policy(policy.layer_names, (entry,) * len(policy), ranges=policy.ranges, target=policy.target)


def _room(uniform: Policy, simulator: Simulator, limits: dict[str, int]) -> int:
    """What the tightest budget has left; below 0 where one is exceeded."""
    return min(limit - _size(uniform, simulator, name) for name, limit in limits.items())


def _limits(policy: Policy, simulator: Simulator) -> dict[str, int]:
    """What the policy's budgets allow its weights to take; what they do take where that is not known."""
    limits = {each.name: each.limit for each in policy.budgets if not each.least}
    if not limits or any(each.name not in _SIZES for each in policy.budgets):
        return {"weight_bytes": simulator.weight_bytes(policy)}
    return {name: max(limit, _size(policy, simulator, name)) for name, limit in limits.items()}


def _size(policy: Policy, simulator: Simulator, budget: str) -> int:
    return simulator.weight_bytes(policy) if budget == "weight_bytes" else simulator.stored_bits(policy)
