"""What a layer costs in a format, in whole numbers; and budgets on the sums of those costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .errors import InvalidInput, unknown
from .formats import FLOAT_BITS
from .units import LIMIT, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .formats import Format
    from .layers import Layer
    from .sensitivity.table import SensitivityTable
    from .units import Amount


@dataclass(frozen=True)
class Resource:
    """Something that a budget limits.

    Attributes
    ----------
    counts
        What the exact whole-number costs count; totals carry this name.
    unit
        The unit in which people give the budget.
    cost
        From layer and format to the cost, a whole number that is at least 0.
    symbol
        The unit symbol that may follow a number, see `units.read`.
    per_weight
        The budget is an average: it is multiplied by the number of weights.
    """

    counts: str
    unit: str
    cost: Callable[[Layer, Format], int]
    symbol: str | None = None
    per_weight: bool = False


def weight_bytes(layer: Layer, entry: Format) -> int:
    """Bytes that the layer's weight takes, scales counted, rounded up per tensor."""
    return entry.storage_bytes(layer)


def stored_bits(layer: Layer, entry: Format) -> int:
    """Bits that the layer's weight takes, scales counted, before any rounding."""
    return entry.storage_bits(layer)


def bops(layer: Layer, entry: Format) -> int:
    """Bit operations per sample: MACs times weight bits times activation bits, 32 where activations stay float."""
    return layer.macs * entry.weight_bits * (entry.activation_bits or FLOAT_BITS)


RESOURCES: dict[str, Resource] = {
    "weight_bytes": Resource("weight_bytes", "bytes", weight_bytes, symbol="B"),
    "bits_per_weight": Resource("stored_bits", "bits per weight", stored_bits, per_weight=True),
    "bops": Resource("bops", "bit operations per sample", bops, symbol=""),
}


@dataclass(frozen=True)
class Budget:
    """A limit that a policy must keep.

    Attributes
    ----------
    name
        The resource, such as ``"bits_per_weight"``.
    asked
        What the user wrote.
    limit
        The largest total allowed, in what the resource counts: bytes, stored bits, bit operations.
    weights
        How many weights the network's layers have, for averages.
    """

    name: str
    asked: str
    limit: int
    weights: int

    def __str__(self) -> str:
        """The budget as the user wrote it, with its meaning where that says more."""
        meaning = self.in_units(self.limit)
        return f"{self.name} = {self.asked}" + (f" ({meaning})" if self.asked.endswith("%") else "")

    def in_units(self, total: int, *, up: bool = False) -> str:
        """A total in the user's unit; `up` rounds averages so that what is shown is enough as a budget."""
        kind = RESOURCES[self.name]
        if not kind.per_weight:
            return f"{total:,} {kind.unit}"
        scaled = Fraction(total, self.weights) * 10_000
        shown = Fraction(math.ceil(scaled) if up else round(scaled), 10_000)
        return f"{float(shown):.4f}".rstrip("0").rstrip(".") + f" {kind.unit}"


def resource(name: str) -> Resource:
    """The resource of this name; raises InvalidInput, with the nearest name, where there is none."""
    if name not in RESOURCES:
        raise unknown("budget", name, RESOURCES)
    return RESOURCES[name]


def cost_matrix(name: str, table: SensitivityTable) -> NDArray[np.int64]:
    """Exact costs of every layer in every format.

    Parameters
    ----------
    name
        The resource.
    table
        The table whose layers and formats are priced.

    Returns
    -------
    cost
        ``(n_layers, n_formats)`` int64, at least 0, in what the resource counts.

    Raises
    ------
    InvalidInput
        When the resource is unknown, or a cost is negative or beyond 64 bits.
    """
    price = resource(name).cost
    rows = [[price(layer, entry) for entry in table.formats] for layer in table.layers]
    for layer, row in zip(table.layers, rows, strict=True):
        for entry, cost in zip(table.formats, row, strict=True):
            if not 0 <= cost < LIMIT:
                raise InvalidInput(
                    f"{name} of layer {layer.name!r} in format {entry.name!r} is {cost}: "
                    "it must lie from 0 to 2**63 - 1"
                )
    return np.array(rows, dtype=np.int64)


def as_budget(name: str, asked: Amount, table: SensitivityTable) -> Budget:
    """Turn what the user asked into an exact limit.

    Parameters
    ----------
    name
        The resource.
    asked
        A number, a number with a unit, or a percentage of the sum over the layers of the costliest format that the
        table allows: the same amount whatever is pinned or tied.
    table
        The table that the budget is for.

    Returns
    -------
    budget
        The budget; its limit is the largest whole number within what was asked.

    Raises
    ------
    InvalidInput
        When the resource is unknown or the amount cannot be read.
    """
    kind = resource(name)
    quantity = read(f"budget {name}", asked, kind.symbol)
    weights = sum(layer.elements for layer in table.layers)
    if quantity.percent:
        allowed = np.where(np.isnan(table.loss), 0, cost_matrix(name, table))
        limit = quantity.of(sum(allowed.max(axis=1).tolist()))
    else:
        limit = quantity.of(1) * (weights if kind.per_weight else 1)
    if limit >= LIMIT:
        raise InvalidInput(f"budget {name} = {asked!r} is beyond 2**63: no budget is that large")
    return Budget(name, str(asked).strip(), math.floor(limit), weights)
