"""Peak memory of activations: which tensors live together at each step of the execution, one limit for each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .costs import Budget, cost_matrix
from .errors import InvalidInput, unknown
from .formats import FLOAT_BITS
from .units import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .formats import Format
    from .sensitivity.table import SensitivityTable
    from .units import Amount

PEAKS = ("activation_bytes", "total_bytes")


@dataclass(frozen=True)
class Tensor:
    """An activation tensor and when it lives.

    Attributes
    ----------
    elements
        Its entries, per sample.
    first, last
        The steps of the execution order, from the one that makes it to the last one that reads it, both included.
    readers
        The layers that read it: it is stored in the activation bits of their format, once where they are tied or alone
        and once for each of them otherwise. None (an empty tuple) means that it stays in floating point.

    Raises
    ------
    InvalidInput
        When there are no elements, or the steps do not follow each other.
    """

    elements: int
    first: int
    last: int
    readers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse tensors that cannot be."""
        if self.elements < 1 or not 0 <= self.first <= self.last:
            raise InvalidInput(
                f"tensor with elements = {self.elements}, first = {self.first}, last = {self.last}: "
                "give at least one element, and steps from 0 on with last no earlier than first"
            )


def chain(table: SensitivityTable, elements: Sequence[int]) -> tuple[Tensor, ...]:
    """The tensors of a network whose layers run one after the other, each reading what the last one wrote.

    Parameters
    ----------
    table
        The table; its layers are in execution order.
    elements
        ``(n_layers + 1,)`` entries of the input and of each layer's output, per sample.

    Returns
    -------
    tensors
        Layer ``i`` runs at step ``i``, when its input and its output both live. The last output stays in float.

    Raises
    ------
    InvalidInput
        When there is not one size more than layers.
    """
    names = table.layer_names
    if len(elements) != len(names) + 1:
        raise InvalidInput(f"{len(elements)} sizes for {len(names)} layers: give the input's and one per output")
    last = len(names) - 1
    inputs = tuple(
        Tensor(size, max(at - 1, 0), at, (name,)) for at, (size, name) in enumerate(zip(elements, names, strict=False))
    )
    return (*inputs, Tensor(elements[-1], last, last))


def peak_budgets(
    name: str, asked: Amount, table: SensitivityTable, groups: Sequence[Sequence[int]], tensors: Sequence[Tensor]
) -> list[tuple[Budget, NDArray[np.int64]]]:
    """A limit on the peak as one limit on every step that can be the peak.

    Parameters
    ----------
    name
        ``"activation_bytes"``, or ``"total_bytes"``: the weights and the activations of the step.
    asked
        An amount of bytes, or a percentage of the peak in the costliest formats that the table allows.
    table
        The table.
    groups
        The rows of the layers that each group decides.
    tensors
        The activation tensors.

    Returns
    -------
    budgets
        For each step at which the peak can exceed the limit, or else for the largest: the budget and
        ``(n_layers, n_formats)`` int64 bytes.

    Raises
    ------
    InvalidInput
        When the amount cannot be read, a reader is no layer, or there is no tensor.
    """
    costs, fixed = cuts(table, groups, tensors)
    if name == "total_bytes":
        costs = [cost + cost_matrix("weight_bytes", table) for cost in costs]
    quantity = read(f"budget {name}", asked, "B")
    largest = [
        still + int(np.where(np.isnan(table.loss), 0, cost).max(axis=1).sum())
        for cost, still in zip(costs, fixed, strict=True)
    ]
    limit = math.floor(quantity.of(max(largest) if quantity.percent else 1))
    weights = sum(layer.elements for layer in table.layers)
    # A step that stays within the limit whatever is chosen says nothing; the largest one stands for the budget.
    kept = [at for at, most in enumerate(largest) if most > limit] or [int(np.argmax(largest))]
    asked_for = str(asked).strip()
    return [(Budget(name, asked_for, limit, weights, "bytes", fixed=fixed[at]), costs[at]) for at in kept]


def peak(
    name: str,
    table: SensitivityTable,
    groups: Sequence[Sequence[int]],
    tensors: Sequence[Tensor],
    formats: Sequence[Format],
) -> int:
    """The peak under a choice of formats.

    Parameters
    ----------
    name
        ``"activation_bytes"`` or ``"total_bytes"``.
    table
        The table.
    groups
        The rows of the layers that choose together.
    tensors
        The activation tensors.
    formats
        One per layer.

    Returns
    -------
    peak
        Bytes.
    """
    costs, fixed = cuts(table, groups, tensors)
    columns = [table.column(entry.name) for entry in formats]
    rows = np.arange(len(columns))
    most = max(int(cost[rows, columns].sum()) + still for cost, still in zip(costs, fixed, strict=True))
    pairs = zip(table.layers, formats, strict=True)
    return most + (sum(entry.storage_bytes(layer) for layer, entry in pairs) if name == "total_bytes" else 0)


def cuts(
    table: SensitivityTable, groups: Sequence[Sequence[int]], tensors: Sequence[Tensor]
) -> tuple[list[NDArray[np.int64]], list[int]]:
    """What lives at each step, as costs of the choices: the peak is the largest of the sums.

    Parameters
    ----------
    table
        The table.
    groups
        The rows of the layers that each group decides.
    tensors
        The activation tensors.

    Returns
    -------
    costs
        For each step that can be the peak ``(n_layers, n_formats)`` int64 bytes, rounded up per tensor.
    fixed
        The bytes of tensors without readers at each of these steps.

    Raises
    ------
    InvalidInput
        When a reader is no layer, or there is no tensor.
    """
    if not tensors:
        raise InvalidInput("no activation tensors given: activation_bytes and total_bytes need them")
    rows = {name: row for row, layer in enumerate(table.layers) for name in (*layer.ties, layer.name)}
    group_of = {row: group for group, members in enumerate(groups) for row in members}
    bits = [entry.activation_bits or FLOAT_BITS for entry in table.formats]
    costs, fixed = [], []
    for alive in _maximal(tensors):
        cost = np.zeros((len(table.layers), len(bits)), dtype=np.int64)
        still = 0
        for tensor in (tensors[at] for at in sorted(alive)):
            missing = next((name for name in tensor.readers if name not in rows), None)
            if missing is not None:
                raise unknown("layer that reads an activation", missing, table.layer_names)
            copies = {group_of[rows[name]]: rows[name] for name in reversed(tensor.readers)}
            for row in copies.values():
                cost[row] += [-(-tensor.elements * each // 8) for each in bits]
            still += 0 if copies else -(-tensor.elements * FLOAT_BITS // 8)
        costs.append(cost)
        fixed.append(still)
    return costs, fixed


def _maximal(tensors: Sequence[Tensor]) -> list[frozenset[int]]:
    """The sets of tensors that live together, without those that another one contains."""
    steps = sorted({tensor.first for tensor in tensors})
    alive = dict.fromkeys(
        frozenset(at for at, tensor in enumerate(tensors) if tensor.first <= step <= tensor.last) for step in steps
    )
    return [each for each in alive if not any(each < other for other in alive)]
