"""What a layer costs in a format, in whole numbers; and budgets on the sums of those costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ..common.amounts import LIMIT, read
from ..common.renamed import renamed_fields
from ..errors import InvalidInput, unknown
from ..formats.capabilities import capability
from ..formats.schemes import FLOAT_BITS
from ..tables.cost_table import NOT_MEASURED
from .files import file_costs, float_file
from .remembering import remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ..common.amounts import Amount
    from ..formats.format import Format
    from ..layers import Layer
    from ..tables.cost_table import CostTable
    from ..tables.table import SensitivityTable


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
        From layer and format to the cost, a whole number that is at least 0; -1 where it is not known.
    symbol
        The unit symbol that may follow a number, see `common.amounts.read`.
    per_weight
        The budget is an average: it is multiplied by the number of weights.
    units
        Whole units that may follow a number, such as ``{"ns": 1, "us": 1_000}``.
    per_mac
        The cost is a multiple of the layer's multiply-accumulates, so it is not known where they are not.
    """

    counts: str
    unit: str
    cost: Callable[[Layer, Format], int]
    symbol: str | None = None
    per_weight: bool = False
    units: Mapping[str, int] | None = None
    per_mac: bool = False

    @classmethod
    def measured(cls, costs: CostTable) -> Resource:
        """The resource that a table of costs gives."""
        units = next((scale for scale in _SCALES if costs.unit in scale), None)
        if units is not None:
            units = {unit: size // units[costs.unit] for unit, size in units.items() if size >= units[costs.unit]}
        return cls(costs.name, costs.unit, costs.of, units=units)


def weight_bytes(layer: Layer, entry: Format) -> int:
    """Bytes that the layer's weight takes, scales counted, rounded up per tensor; a cache is no weight."""
    return 0 if layer.is_cache else entry.storage_bytes(layer)


def stored_bits(layer: Layer, entry: Format) -> int:
    """Bits that the layer's weight takes, scales counted, before any rounding; a cache is no weight."""
    return 0 if layer.is_cache else entry.storage_bits(layer)


def kv_cache_bytes(layer: Layer, entry: Format) -> int:
    """Bytes that keys or values take, scales counted, rounded up per tensor; 0 for a weight."""
    return entry.storage_bytes(layer) if layer.is_cache else 0


def memory_bytes(layer: Layer, entry: Format) -> int:
    """Bytes of weights and caches together."""
    return entry.storage_bytes(layer)


def bops(layer: Layer, entry: Format) -> int:
    """Bit operations per sample: MACs times weight bits times activation bits, 32 where activations stay float."""
    if layer.macs is None:
        return NOT_MEASURED
    return layer.macs * entry.weight_bits * (entry.activation_bits or FLOAT_BITS)


def bops_uniq(layer: Layer, entry: Format) -> int:
    """Bit operations with the accumulator counted: MACs times (wa + w + a + log2 of the fan-in, rounded up).

    Baskin et al. (2021), *UNIQ: Uniform noise injection for non-uniform quantization of neural networks*, whose
    logarithm is not rounded.
    """
    weight, activation = entry.weight_bits, entry.activation_bits or FLOAT_BITS
    if layer.macs is None:
        return NOT_MEASURED
    fan_in = max(layer.row, 1)
    return layer.macs * (weight * activation + weight + activation + (fan_in - 1).bit_length())


def bops_gates(layer: Layer, entry: Format) -> int:
    """Gate operations: MACs times (5wa - 5w - 3a + 3) for the multiplier plus (3w + 3a + 29) for the adder."""
    weight, activation = entry.weight_bits, entry.activation_bits or FLOAT_BITS
    if layer.macs is None:
        return NOT_MEASURED
    multiply = 5 * weight * activation - 5 * weight - 3 * activation + 3
    return layer.macs * (multiply + 3 * weight + 3 * activation + 29)


_SCALES = (
    {"ps": 1, "ns": 10**3, "us": 10**6, "ms": 10**9, "s": 10**12},
    {"pJ": 1, "nJ": 10**3, "uJ": 10**6, "mJ": 10**9, "J": 10**12},
)

PEAKS = ("activation_bytes", "total_bytes")  # what `activations` limits

RESOURCES: dict[str, Resource] = {
    "weight_bytes": Resource("weight_bytes", "bytes", weight_bytes, symbol="B"),
    "bits_per_weight": Resource("stored_bits", "bits per weight", stored_bits, per_weight=True),
    "bops": Resource("bops", "bit operations per sample", bops, symbol="", per_mac=True),
}

# The size of the file that a target writes: what it takes beside the layers is in the table, see `file_costs`.
FILE_BYTES = "file_bytes"

# Other counts of the same thing: budgets may name them, but policies do not list them unless one does.
VARIANTS: dict[str, Resource] = {
    "bops_uniq": Resource("bops_uniq", "bit operations per sample", bops_uniq, symbol="", per_mac=True),
    "kv_cache_bytes": Resource("kv_cache_bytes", "bytes", kv_cache_bytes, symbol="B"),
    "memory_bytes": Resource("memory_bytes", "bytes", memory_bytes, symbol="B"),
    "bops_gates": Resource("bops_gates", "gate operations per sample", bops_gates, symbol="", per_mac=True),
}


@renamed_fields(weights="n_weights")
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
        The largest total allowed, or the least, in what the resource counts: bytes, stored bits, bit operations.
    n_weights
        How many weights the network's layers have, for averages.
    unit
        The unit of a resource that is not one of `RESOURCES`; empty for those.
    least
        Whether it is the least total allowed.
    fixed
        How much of `limit` is used whatever is chosen.
    whole
        What 100 % is, in what the resource counts; 0 where it was not asked for in percent.
    """

    name: str
    asked: str
    limit: int
    n_weights: int
    unit: str = ""
    least: bool = False
    fixed: int = 0
    whole: int = 0

    def __str__(self) -> str:
        """The budget as the user wrote it, with its meaning where that says more."""
        meaning = self.in_units(self.limit)
        sign = ">=" if self.least else "="
        return f"{self.name} {sign} {self.asked}" + (f" ({meaning})" if self.asked.endswith("%") else "")

    def describe(self, total: int, *, up: bool = False) -> str:
        """A total in the user's unit, and in percent where the budget is; `up` rounds so that it is enough."""
        shown = self.in_units(total, up=up)
        if not (self.whole and self.asked.endswith("%")):
            return shown
        share = Fraction(total, self.whole) * 10_000  # in hundredths of a percent
        whole = (math.floor if self.least else math.ceil)(share)
        return f"{shown} ({whole / 100:g}%)"

    def in_units(self, total: int, *, up: bool = False) -> str:
        """A total in the user's unit; `up` rounds averages so that what is shown is enough as a budget."""
        kind = (RESOURCES | VARIANTS).get(self.name)
        if kind is None or not kind.per_weight or self.unit:
            return f"{total:,} {self.unit or (kind.unit if kind else '')}".rstrip()
        scaled = Fraction(total, self.n_weights) * 10_000
        shown = Fraction(math.ceil(scaled) if up else round(scaled), 10_000)
        return f"{float(shown):.4f}".rstrip("0").rstrip(".") + f" {kind.unit}"


def resource(name: str, costs: Sequence[CostTable] = (), target: str | None = None) -> Resource:
    """The resource of this name, of the given cost tables or built in; raises InvalidInput where there is none.

    With a target, what weights take is what they take in its files.
    """
    for each in costs:
        if each.name == name:
            if name in RESOURCES:
                raise InvalidInput(f"the costs {name!r} have the name of a built-in budget: give them another name")
            return Resource.measured(each)
    known = RESOURCES | VARIANTS
    if name == FILE_BYTES:
        return Resource(FILE_BYTES, "bytes", weight_bytes, symbol="B")
    if name not in known:
        raise unknown("budget", name, [*(each.name for each in costs), *known, FILE_BYTES, *PEAKS])
    if target is None or name not in ("weight_bytes", "bits_per_weight"):
        return known[name]
    size = 1 if name == "weight_bytes" else 8
    stored = capability(target).stored_bytes
    return replace(known[name], cost=lambda layer, entry: size * stored(layer, entry))


def cost_matrix(
    name: str, table: SensitivityTable, costs: Sequence[CostTable] = (), *, target: str | None = None
) -> NDArray[np.int64]:
    """Exact costs of every layer in every format.

    Parameters
    ----------
    name
        The resource.
    table
        The table whose layers and formats are priced.
    costs
        Costs that were measured, by which the resource may be named.
    target
        The export target whose storage counts; None for the formats' own.

    Returns
    -------
    cost
        ``(n_layers, n_formats)`` int64, at least 0, in what the resource counts.

    Raises
    ------
    InvalidInput
        When the resource is unknown, or a cost is negative, beyond 64 bits, or not known for a format that is allowed.
    """
    kind = resource(name, costs, target)
    if name == FILE_BYTES and not any(each.name == name for each in costs):
        return file_costs(table, target)[1]
    price = kind.cost
    if kind.per_mac and not any(layer.macs for layer in table.layers):
        raise InvalidInput(
            f"{name} cannot be counted: the table says of no layer how many multiply-accumulates it takes; give a "
            "column 'macs', or measure the network"
        )
    if name in RESOURCES | VARIANTS and target is None:
        price = remembered(price)
    rows = [[price(layer, entry) for entry in table.formats] for layer in table.layers]
    for at, (layer, row) in enumerate(zip(table.layers, rows, strict=True)):
        for column, (entry, cost) in enumerate(zip(table.formats, row, strict=True)):
            if cost == NOT_MEASURED:
                if not math.isnan(table.loss[at, column]) and kind.per_mac:
                    raise InvalidInput(
                        f"{name} cannot be counted: the table does not say how many multiply-accumulates layer "
                        f"{layer.name!r} takes; give it in the column 'macs'"
                    )
                if not math.isnan(table.loss[at, column]):
                    raise InvalidInput(
                        f"{name} of layer {layer.name!r} in format {entry.name!r} was not measured: measure it, or "
                        "take the format out of the layer's choices"
                    )
                row[column] = 0
                continue
            if not 0 <= cost < LIMIT:
                raise InvalidInput(
                    f"{name} of layer {layer.name!r} in format {entry.name!r} is {cost}: "
                    "it must lie from 0 to 2**63 - 1"
                )
    return np.array(rows, dtype=np.int64)


def as_budget(
    name: str,
    asked: Amount,
    table: SensitivityTable,
    costs: Sequence[CostTable] = (),
    *,
    least: bool = False,
    target: str | None = None,
    cost: NDArray[np.int64] | None = None,
) -> Budget:
    """Turn what the user asked into an exact limit.

    Parameters
    ----------
    name
        The resource.
    asked
        A number, a number with a unit, or a percentage of the sum over the layers of the costliest format that the
        table allows: the same amount whatever is pinned or tied. Of ``"file_bytes"``, a percentage of the float file.
    table
        The table that the budget is for.
    costs
        Costs that were measured, by which the resource may be named.
    least
        The amount is a minimum.
    target
        The export target whose storage counts; None for the formats' own.
    cost
        What `cost_matrix` gives, where the caller has it already.

    Returns
    -------
    budget
        The budget; its limit is the largest whole number within what was asked, of a minimum the least one.

    Raises
    ------
    InvalidInput
        When the resource is unknown or the amount cannot be read.
    """
    kind = resource(name, costs)
    quantity = read(f"budget {name}", asked, kind.symbol, kind.units)
    weights = sum(layer.weights for layer in table.layers)
    whole = fixed = 0
    of_file = name == FILE_BYTES and not any(each.name == name for each in costs)
    if of_file:
        fixed, _ = file_costs(table, target)
    if quantity.percent:
        whole = float_file(table, target) if of_file else _costliest(name, table, costs, target, cost)
        limit = quantity.of(whole)
    else:
        limit = quantity.of(1) * (weights if kind.per_weight else 1)
        if 0 < limit < 1 and not least and not kind.per_weight:
            raise InvalidInput(
                f"budget {name} = {asked!r} is less than one: for a share of what the costliest allowed formats take "
                f"write {name}={100 * float(limit):.3g}%"
            )
    if limit >= LIMIT:
        raise InvalidInput(f"budget {name} = {asked!r} is beyond 2**63: no budget is that large")
    rounded = math.ceil(limit) if least else math.floor(limit)
    unit = "" if name in RESOURCES else kind.unit
    return Budget(name, str(asked).strip(), rounded, weights, unit, least, fixed, whole)


def _costliest(
    name: str,
    table: SensitivityTable,
    costs: Sequence[CostTable],
    target: str | None,
    cost: NDArray[np.int64] | None,
) -> int:
    cost = cost_matrix(name, table, costs, target=target) if cost is None else cost
    allowed = np.where(np.isnan(table.loss), 0, cost)
    return sum(allowed.max(axis=1).tolist())
