"""One policy of a trade-off: what it uses and is predicted to lose; the policy itself is made when it is asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..policy.prediction import predict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..formats.format import Format
    from ..policy.policy import Policy
    from ..tables.table import SensitivityTable


@dataclass(frozen=True, eq=False)
class Point:
    """A policy in a trade-off.

    Attributes
    ----------
    used
        What it takes of the budget, in what that counts: bytes, stored bits, bit operations.
    predicted
        The loss that the table predicts, in the table's unit.
    stderr
        Its standard error over the batches of the table; nan where that is not known.
    gap
        How far below `predicted` another policy that uses no more might still lie; 0 where none does, nan for a policy
        that was not chosen for being the best.
    formats
        One for each layer of the table.
    name
        ``"uniform w4"`` or ``"chosen"``; empty for a point of the front.
    """

    used: int
    predicted: float
    stderr: float
    gap: float
    formats: tuple[Format, ...]
    name: str = ""
    _make: Callable[[], Policy] = dataclasses.field(kw_only=True, repr=False)

    @cached_property
    def policy(self) -> Policy:
        """The policy, with its costs and ranges."""
        return self._make()

    def document(self) -> dict[str, Any]:
        """The point in plain types, with the names of its formats."""
        facts = {name: getattr(self, name) for name in ("name", "used", "predicted", "stderr", "gap")}
        return {**facts, "formats": [entry.name for entry in self.formats]}


def point_of(
    table: SensitivityTable,
    formats: Sequence[Format],
    used: int,
    make: Callable[[], Policy],
    *,
    gap: float,
    name: str = "",
) -> Point:
    """A point with what a table predicts of it.

    Parameters
    ----------
    table
        The table.
    formats
        One of its formats for each of its layers.
    used
        What they take of the budget.
    make
        Makes the policy.
    gap, name
        See `Point`.

    Returns
    -------
    point
        The point.
    """
    found = predict(table, formats)
    return Point(used, found.loss, found.stderr, gap, tuple(formats), name, _make=make)
