"""Why a prediction is wrong, as far as that can be seen without running the network again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..formats.format import FLOAT
from ..rounding.bank import rounder_of_bank

if TYPE_CHECKING:
    from ..policy.policy import Policy
    from ..tables.table import SensitivityTable
    from .evaluator import Evaluator
    from .figures import Evaluation

_SATURATED = 0.5  # of a guess: losses that large no longer add up


def known_cause(
    policy: Policy, measured: Evaluation, evaluator: Evaluator, table: SensitivityTable | None = None
) -> str:
    """Why a prediction that failed did so: another rounder, a sensitivity that reads zero, or saturation.

    Parameters
    ----------
    policy
        The policy, with its prediction.
    measured
        What was measured of it.
    evaluator
        The evaluator that did.
    table
        The table that predicts; None where it is not at hand.

    Returns
    -------
    words
        The cause without a full stop; empty where none of these is.
    """
    rounder = rounder_of_bank(evaluator.simulator.bank)
    if policy.rounder not in ("", rounder):
        return (
            f"the prediction is about weights rounded by {policy.rounder}, and those measured were rounded by "
            f"{rounder}: give the bank that the table was measured with"
        )
    silent = [] if table is None or measured.kl < policy.expected.loss else _silent(policy, table)
    if silent:
        more = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
        return (
            f"the table says that layer {silent[0]!r}{more} loses nothing, which no rounding does: no sample reached "
            "it, or no gradient; measure it on other data or with 'measured_kl', or pin its format"
        )
    worst = max(measured.kl, policy.expected.loss)
    if evaluator.outputs.likelihood == "categorical" and worst > _SATURATED * evaluator.guessing:
        return (
            f"a loss of {worst:.3g} is near the {evaluator.guessing:.3g} of a guess among {evaluator.classes} classes, "
            "where losses no longer add up: allow the layers more bits"
        )
    return ""


def _silent(policy: Policy, table: SensitivityTable) -> list[str]:
    """The layers that are rounded and whose predicted loss is exactly zero."""
    found = []
    for layer, entry in zip(policy.layer_names, policy.formats, strict=True):
        known = layer in table.layer_names and entry.name in table.format_names and entry != FLOAT
        if known and table.loss[table.row(layer), table.column(entry.name)] == 0:
            found.append(layer)
    return found
