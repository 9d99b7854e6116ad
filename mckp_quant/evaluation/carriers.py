"""Finds the layers that carry the difference between the predicted and the measured KL of a policy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..policy.policy import Policy

if TYPE_CHECKING:
    from ..tables.table import SensitivityTable
    from .evaluator import Evaluator
    from .figures import Evaluation


@dataclass(frozen=True)
class Carrier:
    """One layer in its format, with all other layers in floating point: its predicted and its measured KL.

    Attributes
    ----------
    layer, format
        Names.
    predicted
        The table's entry.
    measured, stderr
        The measured KL, and its standard error.
    """

    layer: str
    format: str
    predicted: float
    measured: float
    stderr: float

    @property
    def difference(self) -> float:
        """Measured less predicted."""
        return self.measured - self.predicted

    @property
    def ratio(self) -> float:
        """The larger of predicted and measured over the smaller; inf where that is not positive."""
        small, large = sorted((self.predicted, self.measured))
        return large / small if small > 0 else math.inf


@dataclass(frozen=True)
class Carriers:
    """The layers of a policy, and how much of its measured KL they explain.

    Attributes
    ----------
    layers
        Every layer, the largest difference first.
    together
        The measured KL of the policy less the sum of the layers' own: what their errors do to each other.
    """

    layers: tuple[Carrier, ...]
    together: float

    @property
    def words(self) -> str:
        """What matters most, as a sentence without its full stop."""
        worst = self.layers[0]
        alone = sum(each.difference for each in self.layers)
        if abs(self.together) > abs(alone):
            effect = "add to" if self.together > 0 else "partly cancel"
            return f"the layers' errors {effect} each other: {self.together:+.2g} beside the sum of each alone"
        why = (
            "its rounding is too coarse for the quadratic model"
            if worst.measured > worst.predicted
            else "the quadratic model overstates a loss this large, or the table was measured on other data"
        )
        off = f"off by {worst.ratio:.2g}x" if math.isfinite(worst.ratio) else "predicted and measured differ in sign"
        where = f"{worst.layer} in {worst.format}"
        return f"{where} carries most of the difference, {worst.difference:+.2g} (alone {off}): {why}"


def find_carriers(evaluator: Evaluator, policy: Policy, table: SensitivityTable, whole: Evaluation) -> Carriers:
    """Measure every layer of a policy with all others in floating point; each takes one pass over the batches.

    Parameters
    ----------
    evaluator
        The evaluator of the network; its bank holds the weights, where it has one.
    policy
        The policy.
    table
        The table that predicts it.
    whole
        What was measured of the policy.

    Returns
    -------
    carriers
        The layers, and what their errors do to each other.

    Raises
    ------
    InvalidInput
        When the table lacks a layer or format of the policy, has no number for it, or is about another rounder.
    """
    evaluator.simulator.check_rounder("the table", table.rounder)
    found = []
    for layer, entry in zip(policy.layer_names, policy.formats, strict=True):
        predicted = float(table.loss[table.row(layer), table.column(entry.name)])
        if math.isnan(predicted):
            raise InvalidInput(
                f"the table does not allow format {entry.name!r} for layer {layer!r}: give its own table"
            )
        alone = evaluator.evaluate(Policy((layer,), (entry,), ranges=policy.ranges))
        found.append(Carrier(layer, entry.name, predicted, alone.kl, alone.kl_stderr))
    found.sort(key=lambda each: (-abs(each.difference), each.layer))
    return Carriers(tuple(found), whole.kl - math.fsum(each.measured for each in found))
