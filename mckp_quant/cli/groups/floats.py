"""What stays in floating point, said in each command that could make one overlook it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InvalidInput
from ..console import note

if TYPE_CHECKING:
    from torch import nn

    from ...policy.policy import Policy
    from ...tables.table import SensitivityTable

MOST = 0.05  # of the weights, that no layer holds: more has to be wanted


def check_outside(network: nn.Module, *, allowed: bool) -> None:
    """Refuse a network of which more than `MOST` is in no layer, unless that is wanted; raises InvalidInput."""
    from ...network.discovery import Outside

    outside = Outside.of(network)
    if outside.share > MOST and not allowed:
        raise InvalidInput(
            f"{outside} are in no layer and would stay in floating point, such as {outside.named}: measure the others "
            "all the same with --allow-float"
        )


def tell_floats(policy: Policy, table: SensitivityTable) -> None:
    """Say how much of the weights a policy leaves in floating point, where that is anything."""
    kept = sum(layer.elements for layer in table.layers if _is_float(policy, layer.name))
    _tell(kept, table.outside, kept + table.outside, sum(layer.elements for layer in table.layers) + table.outside)


def tell_floats_of(policy: Policy, network: nn.Module) -> None:
    """The same of a policy and the network that it is exported for."""
    from ...network.discovery import Outside
    from ...network.weight_uses import uses_in

    names = set(policy.layer_names)
    uses = {name: use for name, use in uses_in(network).items() if name in names and not use.obstacle}
    held = {id(use.weight): use.weight.numel() for use in uses.values()}
    kept = {id(use.weight): use.weight.numel() for name, use in uses.items() if _is_float(policy, name)}
    weights, inside = Outside.of(network).weights, sum(kept.values())
    outside = weights - sum(held.values())
    _tell(inside, outside, inside + outside, weights)


def _is_float(policy: Policy, name: str) -> bool:
    entry = policy[name]
    return entry.built_in and entry.weight_scheme is None


def _tell(inside: int, outside: int, kept: int, weights: int) -> None:
    if kept:
        note(
            f"{kept / weights:.1%} of the weights stay in floating point: {inside:,} of {weights:,} in layers of the "
            f"format float, {outside:,} in no layer of the policy"
        )
