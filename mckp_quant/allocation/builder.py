"""Builds the multiple-choice knapsack problem of a request, with the index that says what it means."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.renamed import renamed_keywords
from ..costs.costs import FILE_BYTES, RESOURCES, VARIANTS, as_budget, cost_matrix
from ..errors import InvalidInput
from ..formats.capabilities import capability
from ..solvers import InvalidProblem, NoSolution, Problem
from ..tables.table import SensitivityTable
from .choices import allowed, find_ties, left_out
from .constraints.peak_memory import PEAKS, Peak, peak_limit
from .grouping import group, merge, pins, values
from .index import Index
from .left_in_float import for_request
from .request import IN_A_REQUEST, as_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..common.amounts import Amount
    from ..costs.costs import Budget
    from .grouping import Groups
    from .request import Pins, Request


@renamed_keywords(**IN_A_REQUEST)
def build(
    table: SensitivityTable,
    request: Request | Mapping[str, Amount],
    *,
    target: str | None = None,
    pinned: Pins | None = None,
) -> tuple[Problem, Index]:
    """Make the problem: one group per layer or tied set, one choice per format that is allowed there.

    Losses and costs of a tied set are the sums over its layers, and a format is allowed for the set only if it is for
    all of them. A pinned layer keeps its one format, and its cost counts. The table itself is not touched.

    Parameters
    ----------
    table
        The table; a nan loss marks a format that is not allowed.
    request
        A `Request`, or in short a mapping of budgets. A minimum of `Request.at_least` becomes a limit on the
        complement: on how much less than its costliest choice each group takes. `Request.target` narrows the choices,
        ties the layers that it fuses, and says what weights take in storage.
    target, pinned
        Beside a mapping, see `Request`.

    Returns
    -------
    problem
        The problem; groups are in the order of their first layers, resources in the order of budgets and minima.
    index
        What its groups, labels and resources mean.

    Raises
    ------
    InvalidInput
        When a name is unknown, tied sets overlap, pins disagree within a set, or nothing is allowed for a layer.
    NoSolution
        When a minimum is more than the costliest formats take, or activations in floating point exceed a peak.
    """
    return build_request(table, as_request(request, target=target, pinned=pinned))


def build_request(table: SensitivityTable, request: Request, *, tight: bool = True) -> tuple[Problem, Index]:
    """Make the problem of a request, as `build` does.

    Parameters
    ----------
    table
        The table.
    request
        What is asked.
    tight
        Whether a peak may be stated by conflicts between choices where these say the same and bound more sharply; the
        resources of a problem that is not tight all count what their budgets count.

    Returns
    -------
    problem
        The problem.
    index
        What its groups, labels and resources mean.

    Raises
    ------
    InvalidInput
        As `build` does.
    NoSolution
        When a minimum is more than the costliest formats take, or activations in floating point exceed a peak.
    """
    if not isinstance(table, SensitivityTable):
        raise InvalidInput(
            f"table is a {type(table).__name__}: give a SensitivityTable, such as read_table(path).table makes"
        )
    if request.target is not None and any(layer.is_cache for layer in table.layers):
        name = next(layer.name for layer in table.layers if layer.is_cache)
        raise InvalidInput(
            f"the target {request.target!r} takes no formats of the KV cache, such as for {name!r}: leave target= out, "
            "or solve the table of the weights alone"
        )
    table = for_request(table, request)
    fused = find_ties(table.layers, capability(request.target).ties) if request.target is not None else ()
    groups = group(table, request.ties(table), fused)
    built_in = {
        name: cost_matrix(name, table, target=request.target)
        for name in _needed(request)
        if name in (*RESOURCES, *VARIANTS, FILE_BYTES) and not any(each.name == name for each in request.costs)
    }
    refused = () if request.target is None else left_out(table, request.target)
    limits = _limits(table, groups, request, built_in)
    if request.choices or request.target is not None:
        # Amounts in percent are of the whole table, so they were read before its choices were narrowed.
        mask = allowed(table, request.choices, request.target)
        table = dataclasses.replace(table, loss=np.where(mask, table.loss, np.nan))
    pinned = pins(table, groups, request.pinned or {})
    value = values(table, groups, pinned)
    rows: list[tuple[Budget, NDArray[Any], int]] = []
    for limit in limits:
        if isinstance(limit, Peak):
            rows += limit.rows(np.isnan(value), tight=tight)
            continue
        cost = built_in[limit.name] if limit.name in built_in else cost_matrix(limit.name, table, request.costs)
        price = merge(cost, groups)
        bound = limit.limit - limit.fixed
        rows.append((limit, *_complement(price, bound, np.isnan(value))) if limit.least else (limit, price, bound))
    for budget, _, bound in rows:
        _check_bound(budget, bound)
    try:
        problem = Problem.from_table(value, np.array([cost for _, cost, _ in rows]), [bound for _, _, bound in rows])
    except InvalidProblem as error:
        names = ", ".join(f"resource {at} is {budget.name}" for at, (budget, _, _) in enumerate(rows))
        raise InvalidInput(f"no problem can be built from the table: {error} ({names})") from error
    index = Index(
        layer_names=table.layer_names,
        formats=table.formats,
        groups=groups,
        budgets=tuple(budget for budget, _, _ in rows),
        pinned=tuple(
            (table.layers[row].name, table.formats[column].name)
            for at, column in sorted(pinned.items())
            for row in groups[at]
        ),
        activations=request.tensors(table),
        target=request.target,
        left_out=refused,
        conversions=() if request.constraints is None else tuple(request.constraints.conversions),
    )
    further = None if request.constraints is None else request.constraints.rows(problem, index)
    return (problem if further is None else dataclasses.replace(problem, rows=further)), index


def _needed(request: Request) -> list[str]:
    """The resources whose costs are needed."""
    names = dict.fromkeys([*request.budgets, *(request.at_least or {})])
    return ["weight_bytes" if name == "total_bytes" else name for name in names]


def _limits(
    table: SensitivityTable, groups: Groups, request: Request, built_in: Mapping[str, NDArray[np.int64]]
) -> list[Budget | Peak]:
    """What is limited, in the order in which it was asked."""

    def budget(name: str, asked: Amount, *, least: bool) -> Budget:
        return as_budget(name, asked, table, request.costs, least=least, target=request.target, cost=built_in.get(name))

    found: list[Budget | Peak] = []
    for name, asked in request.budgets.items():
        if name in PEAKS:
            weights = built_in["weight_bytes"] if name == "total_bytes" else None
            found.append(peak_limit(name, asked, table, groups, request.tensors(table), weights))
        else:
            found.append(budget(name, asked, least=False))
    for name, asked in (request.at_least or {}).items():
        if name in PEAKS:
            raise InvalidInput(f"a peak has no minimum: {name} can be limited from above only")
        found.append(budget(name, asked, least=True))
    return found


def _check_bound(budget: Budget, bound: int) -> None:
    if bound >= 0:
        return
    if budget.least:
        told = f"even the costliest formats take {budget.describe(budget.limit + bound)}, the most that works"
    elif budget.name == FILE_BYTES:
        told = f"everything beside the layers' weights takes {budget.describe(budget.fixed)} of the file by itself"
    else:
        told = f"activations that stay in floating point take {budget.describe(budget.fixed)} by themselves"
    raise NoSolution(f"budget {budget} cannot be met: {told}")


def _complement(price: NDArray[Any], least: int, barred: NDArray[np.bool_]) -> tuple[NDArray[Any], int]:
    """How much less each choice costs than the costliest of its group, and how much less all may cost together."""
    tops = np.where(barred, 0, price).max(axis=1)
    return np.where(barred, 0, tops[:, None] - price), sum(tops.tolist()) - least
