"""What a mixture of experts costs per token: of many experts, few are active."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput
from ..layers import matching
from ..tables.cost_table import CostTable
from .costs import cost_matrix, resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..tables.table import SensitivityTable


def active_costs(
    table: SensitivityTable, share: Mapping[str, Fraction], name: str = "weight_bytes", *, target: str | None = None
) -> CostTable:
    """Costs of a resource in which experts count by the share of tokens that they see.

    Parameters
    ----------
    table
        The table.
    share
        From layers, patterns such as ``"*.experts.*"`` or kinds, as in `choices`, to the share of the experts that is
        active, such as ``Fraction(8, 128)``. Layers that no rule names count in full.
    name
        A built-in resource such as ``"weight_bytes"`` (what has to be read for a token) or ``"bops"`` (where it was
        counted as if every expert ran).
    target
        The export target whose storage counts.

    Returns
    -------
    costs
        For `costs`; the budget is called ``"active_" + name``. Each layer is rounded up to a whole unit.

    Raises
    ------
    InvalidInput
        When a rule matches nothing, or a share does not lie between 0 and 1.
    """
    kind = resource(name, target=target)
    shares = [Fraction(1)] * len(table.layers)
    for rule, active in share.items():
        given: object = active
        if not isinstance(given, Fraction | int) or not 0 < given <= 1:
            raise InvalidInput(f"the share of {rule!r} is {active!r}: give a fraction above 0 and at most 1")
        for row in matching(table.layers, rule):
            shares[row] = Fraction(active)
    whole = cost_matrix(name, table, target=target)
    cost = [[math.ceil(part * entry) for entry in row] for part, row in zip(shares, whole.tolist(), strict=True)]
    return CostTable(f"active_{name}", kind.counts, table.layer_names, table.format_names, np.array(cost))
