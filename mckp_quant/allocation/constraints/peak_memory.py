"""Peak memory of activations: the tensors that live together at each step of the execution, and their bytes."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...common.amounts import read
from ...costs.costs import PEAKS, Budget
from ...errors import InvalidInput, unknown
from ...formats.schemes import FLOAT_BITS
from ...layers import Activation
from ..grouping import merge
from .step_limits import Cut, conflicts, undominated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ...common.amounts import Amount
    from ...formats.format import Format
    from ...tables.table import SensitivityTable
    from ..grouping import Groups

__all__ = ["PEAKS", "Activation", "Peak", "chain", "cuts", "peak", "peak_limit", "shared_inputs"]


def chain(table: SensitivityTable, elements: Sequence[int]) -> tuple[Activation, ...]:
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
        Activation(size, max(at - 1, 0), at, (name,))
        for at, (size, name) in enumerate(zip(elements, names, strict=False))
    )
    return (*inputs, Activation(elements[-1], last, last))


def shared_inputs(tensors: Sequence[Activation]) -> tuple[tuple[str, ...], ...]:
    """The sets of layers that read one tensor: tied, it is stored once, in one format.

    These are the layers at the start of a residual block, fused query, key and value projections, gate and up
    projections, whatever they are called.

    Parameters
    ----------
    tensors
        The activation tensors.

    Returns
    -------
    sets
        Sets of at least two layers, for `tied`; tensors that share a reader make one set.
    """
    owner: dict[str, tuple[str, ...]] = {}
    for tensor in tensors:
        parts = [owner.get(name, (name,)) for name in tensor.readers]
        members = tuple(dict.fromkeys(name for part in parts for name in part))
        owner |= dict.fromkeys(members, members)
    return tuple(members for members in dict.fromkeys(owner.values()) if len(members) > 1)


@dataclass(frozen=True)
class Peak:
    """A limit on the peak, and what it is the peak of.

    Attributes
    ----------
    budget
        The limit.
    cuts
        What lives at each step that can be the peak, by group.
    weights
        ``(n_groups, n_formats)`` int64 bytes that the weights add to every step, or None.
    """

    budget: Budget
    cuts: tuple[Cut, ...]
    weights: NDArray[np.int64] | None = None

    def rows(self, barred: NDArray[np.bool_], *, tight: bool) -> list[tuple[Budget, NDArray[np.int64], int]]:
        """The limit as resources of a problem.

        Parameters
        ----------
        barred
            ``(n_groups, n_formats)`` bool; True for choices that do not exist.
        tight
            Whether steps may be replaced by conflicts, which allow the same selections and bound more sharply, see
            `step_limits.conflicts`.

        Returns
        -------
        rows
            The budget, ``(n_groups, n_formats)`` int64 costs and their limit, of each resource. Steps that cannot
            exceed the limit are left out; the largest one stands for the budget where none can.
        """
        limit = self.budget.limit
        found: list[tuple[Budget, NDArray[np.int64], int]] = []
        rest = undominated(self.cuts, barred)
        if tight and self.weights is None:
            rows, rest = conflicts(rest, limit, barred)
            found = [(self.budget, row, most) for row, most in rows]
        weights = np.zeros(barred.shape, dtype=np.int64) if self.weights is None else self.weights
        kept = [cut for cut in rest if cut.most(barred, weights) > limit]
        if not kept and not found:
            kept = [max(self.cuts, key=lambda cut: cut.most(barred, weights))]
        for cut in kept:
            budget = replace(self.budget, fixed=cut.fixed)
            found.append((budget, cut.dense(barred.shape) + weights, limit - cut.fixed))
        return found


def peak_limit(
    name: str,
    asked: Amount,
    table: SensitivityTable,
    groups: Groups,
    tensors: Sequence[Activation],
    weights: NDArray[np.int64] | None = None,
) -> Peak:
    """Read a limit on the peak.

    Parameters
    ----------
    name
        One of `PEAKS`.
    asked
        An amount of bytes, or a percentage of the peak in the costliest formats that the table allows.
    table
        The table.
    groups
        The rows of the layers that each group decides.
    tensors
        The activation tensors.
    weights
        ``(n_layers, n_formats)`` int64 bytes of the weights, which count at every step; None where they do not.

    Returns
    -------
    peak
        The limit.

    Raises
    ------
    InvalidInput
        When the amount cannot be read, a reader is no layer, or there is no tensor.
    """
    quantity = read(f"budget {name}", asked, "B")
    steps = cuts(table, groups, tensors)
    missing = np.isnan(table.loss)
    beside = np.zeros(missing.shape, dtype=np.int64) if weights is None else weights
    most = max(cut.most(missing, beside) for cut in steps)
    limit = math.floor(quantity.of(most if quantity.percent else 1))
    elements = sum(layer.elements for layer in table.layers)
    budget = Budget(name, str(asked).strip(), limit, elements, "bytes", whole=most)
    group_of = {row: at for at, rows in enumerate(groups) for row in rows}
    own = None if weights is None else merge(weights, groups)
    return Peak(budget, tuple(cut.renamed(group_of) for cut in steps), own)


def peak(
    name: str,
    table: SensitivityTable,
    groups: Groups,
    tensors: Sequence[Activation],
    formats: Sequence[Format],
    weight_bytes: int,
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
    weight_bytes
        What the weights take in these formats.

    Returns
    -------
    peak
        Bytes.
    """
    columns = [table.column(entry.name) for entry in formats]
    most = max(
        cut.fixed + sum(int(cost[columns[row]]) for row, cost in cut.cost.items())
        for cut in cuts(table, groups, tensors)
    )
    return most + (weight_bytes if name == "total_bytes" else 0)


def cuts(table: SensitivityTable, groups: Groups, tensors: Sequence[Activation]) -> list[Cut]:
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
    cuts
        Each step that can be the peak, by rows of the table; bytes are rounded up per tensor.

    Raises
    ------
    InvalidInput
        When a reader is no layer, or there is no tensor.
    """
    if not tensors:
        raise InvalidInput("no activation tensors given: activation_bytes and total_bytes need them")
    rows = {name: row for row, layer in enumerate(table.layers) for name in (*layer.ties, layer.name)}
    group_of = {row: at for at, members in enumerate(groups) for row in members}
    bits = np.array([entry.activation_bits or FLOAT_BITS for entry in table.formats], dtype=np.int64)
    stored: list[tuple[tuple[int, ...], int]] = []  # where each tensor counts, and its entries
    for tensor in tensors:
        missing = next((name for name in tensor.readers if name not in rows), None)
        if missing is not None:
            raise unknown("layer that reads an activation", missing, table.layer_names)
        copies = {group_of[rows[name]]: rows[name] for name in reversed(tensor.readers)}
        stored.append((tuple(copies.values()), tensor.elements))
    found = []
    for alive in _maximal(tensors):
        cost: dict[int, NDArray[np.int64]] = {}
        fixed = 0
        for places, elements in (stored[at] for at in sorted(alive)):
            size = -(-elements * bits // 8)
            for row in places:
                cost[row] = cost[row] + size if row in cost else size
            fixed += 0 if places else -(-elements * FLOAT_BITS // 8)
        found.append(Cut(cost, fixed))
    return found


def _maximal(tensors: Sequence[Activation]) -> list[frozenset[int]]:
    """The sets of tensors that live together, without those that another one contains.

    What lives when a tensor is made is contained in what lives later only if nothing has died in between, so it is
    enough to look where the next death comes before the next birth.
    """
    births = sorted({tensor.first for tensor in tensors})
    ends = sorted({tensor.last for tensor in tensors})
    found = []
    alive: set[int] = set()
    order = sorted(range(len(tensors)), key=lambda at: tensors[at].first)
    entered = 0
    for step, after in zip(births, [*births[1:], None], strict=True):
        while entered < len(order) and tensors[order[entered]].first <= step:
            alive.add(order[entered])
            entered += 1
        alive = {at for at in alive if tensors[at].last >= step}
        if after is None or bisect_left(ends, step) < bisect_left(ends, after):
            found.append(frozenset(alive))
    return found
