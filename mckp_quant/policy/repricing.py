"""Predicts a policy on another table than its own; the proofs that it came with do not hold there and are dropped."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ..errors import InvalidInput, unknown
from .policy import Policy
from .prediction import predict

if TYPE_CHECKING:
    from ..tables.table import SensitivityTable


def price(table: SensitivityTable, policy: Policy) -> Policy:
    """Predict a policy on a table, whatever it was made from, so that policies can be compared.

    Parameters
    ----------
    table
        The table that predicts.
    policy
        A policy for the table's layers.

    Returns
    -------
    policy
        The same formats with the table's predicted loss and costs, and without claims about other policies.

    Raises
    ------
    InvalidInput
        When the layers differ (in name, or in the bits that they take), or the table lacks a format or does not allow
        it.
    """
    known = set(table.layer_names)
    for name in policy.layer_names:
        if name not in known:
            raise unknown("layer", name, table.layer_names)
    priced = Policy.on_table(table, [policy[name] for name in table.layer_names])
    recorded = dict(zip(policy.layer_names, policy.layer_bits, strict=False))
    for name, bits in zip(priced.layer_names, priced.layer_bits, strict=True):
        if recorded.get(name, bits) != bits:
            raise InvalidInput(
                f"layer {name!r} takes {bits:,} bits in {priced[name].name} in the table, but {recorded[name]:,} in "
                "the policy: it was made for another network; measure this one, and solve again"
            )
    return priced


def predicted_by(table: SensitivityTable, policy: Policy) -> Policy:
    """The policy with the prediction of a table, where its own is another table's.

    Parameters
    ----------
    table
        The table; a policy that was made from it is given back as it is.
    policy
        A policy for some of its layers. A layer that is left in floating point loses nothing.

    Returns
    -------
    policy
        The same policy with this table's prediction, and without a proof.

    Raises
    ------
    InvalidInput
        When the table lacks a layer or format of the policy, or does not allow it.
    """
    if policy.table == table.digest:
        return policy
    found = predict(table.with_float(), policy.formats, policy.layer_names)
    return dataclasses.replace(
        policy,
        predicted=found.loss,
        predicted_stderr=found.stderr,
        corrected=math.nan,
        corrected_stderr=math.nan,
        correction="",
        unit=table.unit,
        bound=math.nan,
        tolerance=math.nan,
        status="predicted by another table than it was made from" if policy.table else policy.status,
        ground="none",
        table=table.digest,
        rounder=table.rounder,
    )
