"""The best uniform precision within a request: what mixed precision has to beat, by the same rounder."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ..allocation.allocating import allocate
from ..allocation.choices import allowed
from ..errors import InvalidInput
from ..evaluation.evaluator import Evaluator
from ..evaluation.uniform import best_measured
from ..solvers import NoSolution

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from ..allocation.request import Request
    from ..network.outputs import Outputs
    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from ..tables.table import SensitivityTable


def uniforms_within(table: SensitivityTable, request: Request, seconds: float) -> dict[str, Policy]:
    """The uniform policies that keep all of a request.

    Parameters
    ----------
    table
        The sensitivities.
    request
        What is asked. Layers that it pins keep their format; where it leaves some layers no choice of a format, the
        best is taken there, and the others share the format.
    seconds
        Time limit for each of them.

    Returns
    -------
    policies
        By name, such as ``"uniform w3"``.
    """
    given = {layer: entry if isinstance(entry, str) else entry.name for layer, entry in (request.pinned or {}).items()}
    mask = allowed(table, request.choices, request.target)
    found = {}
    for column, entry in enumerate(table.formats):
        if entry.weights_only.name == "float" or not mask[:, column].any():
            continue
        pins = {name: entry.name for name, has in zip(table.layer_names, mask[:, column], strict=True) if has}
        try:
            own = dataclasses.replace(request, pinned={**pins, **given})
            policy = allocate(table, own, seconds=seconds, corrected=False).policy
        except (InvalidInput, NoSolution):  # over budget, or against a constraint
            continue
        # It was not chosen among others, so nothing of that is claimed.
        found[f"uniform {entry.name}"] = dataclasses.replace(
            policy,
            status="uniform, within the request",
            ground="none",
            bound=math.nan,
            tolerance=math.nan,
            solver="",
            pinned=tuple((name, given[name]) for name, _ in policy.pinned if name in given),
        )
    return found


def best_uniform(
    model: nn.Module,
    policies: dict[str, Policy],
    batches: Iterable[object],
    outputs: Outputs,
    bank: WeightBank,
) -> tuple[str, Policy] | None:
    """The one of least KL on batches that are not those that judge, one pass each; None of none."""
    if not policies:
        return None
    best = best_measured(policies.values(), Evaluator(model, batches, outputs=outputs, bank=bank))
    return None if best is None else next((name, each) for name, each in policies.items() if each is best[0])
