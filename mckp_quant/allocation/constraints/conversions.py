"""Conversions between neighbours of different formats, as rows of the problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...costs.costs import PEAKS
from ...errors import InvalidInput, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ...solvers import Problem
    from ..index import Index
    from .conversion import Conversion

Row = tuple[dict[int, int], int, int]  # coefficients by variable, lower and upper limit
NO_LIMIT = 2**63 - 1  # stands for no limit in Rows


def conversion_rows(
    problem: Problem, index: Index, conversions: Sequence[Conversion], first: int
) -> tuple[list[Row], int]:
    """State conversions as rows, one of them for each budget that they count in.

    Formats that convert alike are one class. An edge has one binary for each pair of classes, 1 where its two layers
    have formats of these; they add up to the choices of either side, so the relaxation is that of a transport problem.

    Parameters
    ----------
    problem
        The problem without rows.
    index
        What its groups and labels mean.
    conversions
        The conversions.
    first
        The number of the first auxiliary binary that is free.

    Returns
    -------
    rows
        The rows.
    n_auxiliary
        How many binaries they take.

    Raises
    ------
    InvalidInput
        When a layer or a format is unknown, or a resource has no budget from above.
    """
    rows: list[Row] = []
    taken = 0
    for name in dict.fromkeys(each.resource for each in conversions):
        at = _resource(index, name)
        costs = {choice: cost for choice, cost in enumerate(problem.cost[at].tolist()) if cost}
        for each in conversions:
            if each.resource != name:
                continue
            _check_formats(index, each)
            for before, after in _groups(index, each):
                if before == after:
                    for choice in _choices(problem, before):
                        entry = index.formats[problem.label[choice]]
                        costs[choice] = costs.get(choice, 0) + each.between(entry, entry)
                    continue
                edge_rows, edge_costs = _edge(problem, index, each, before, after, first + taken)
                rows += edge_rows
                costs |= {variable: cost for variable, cost in edge_costs.items() if cost}
                taken += len(edge_costs)
        rows.append((costs, -NO_LIMIT, int(problem.budget[at])))
    return rows, taken


def _resource(index: Index, name: str) -> int:
    if name in PEAKS:
        raise InvalidInput(f"conversions cannot count in {name}: it is a peak over the steps, and no sum over edges")
    known = {budget.name: at for at, budget in enumerate(index.budgets) if not budget.least}
    if name not in known:
        raise unknown("budget that conversions count in:", name, known)
    return known[name]


def _check_formats(index: Index, conversion: Conversion) -> None:
    names = [entry.name for entry in index.formats]
    for pair in conversion.cost if isinstance(conversion.cost, Mapping) else ():
        for name in pair:
            if name not in names:
                raise unknown("format", name, names)


def _groups(index: Index, conversion: Conversion) -> Iterator[tuple[int, int]]:
    group_of = {index.layer_names[row]: group for group, rows in enumerate(index.groups) for row in rows}
    for edge in conversion.edges:
        for name in edge:
            if name not in group_of:
                raise unknown("layer", name, index.layer_names)
        yield group_of[edge[0]], group_of[edge[1]]


def _choices(problem: Problem, group: int) -> range:
    return range(int(problem.start[group]), int(problem.start[group + 1]))


def _edge(
    problem: Problem, index: Index, conversion: Conversion, before: int, after: int, first: int
) -> tuple[list[Row], dict[int, int]]:
    """The rows of one edge, and the costs of its binaries."""
    ends = [list(_choices(problem, group)) for group in (before, after)]
    formats = [[index.formats[problem.label[choice]] for choice in end] for end in ends]
    matrix = np.array([[conversion.between(one, other) for other in formats[1]] for one in formats[0]])
    classes = [_classes(matrix), _classes(matrix.T)]
    binary = {
        (one, other): first + one * len(classes[1]) + other
        for one in range(len(classes[0]))
        for other in range(len(classes[1]))
    }
    rows: list[Row] = []
    for side, end in enumerate(ends):
        for number, members in enumerate(classes[side]):
            row = {variable: 1 for pair, variable in binary.items() if pair[side] == number}
            rows.append((row | dict.fromkeys((end[at] for at in members), -1), 0, 0))
    costs = {
        variable: int(matrix[classes[0][one][0], classes[1][other][0]]) for (one, other), variable in binary.items()
    }
    return rows, costs


def _classes(matrix: NDArray[np.int64]) -> list[list[int]]:
    """Positions of equal rows, together."""
    found: dict[tuple[int, ...], list[int]] = {}
    for at, row in enumerate(matrix.tolist()):
        found.setdefault(tuple(row), []).append(at)
    return list(found.values())
