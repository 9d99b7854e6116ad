"""How sure a table is of its policy: the problem is solved again on tables that other samples might have given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from ..allocation.allocating import Allocation, allocate, check_origin
from ..allocation.left_in_float import as_indexed
from ..allocation.request import Request
from ..allocation.resampling import halves, how_resampled, on_choices, resample
from ..common.checks import check_count
from ..common.renamed import renamed_keywords
from ..common.run_options import RunOptions
from ..errors import InvalidInput, unknown
from ..policy.policy import Policy
from ..solvers import best_choices
from .regret import Regret, least_worst, own_totals, totals
from .result import Candidate, Stability

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..allocation.index import Index
    from ..allocation.request import Pins
    from ..common.amounts import Amount
    from ..solvers import Problem, Solver
    from ..tables.table import SensitivityTable

_RUN = RunOptions()
RULES = ("worst", "expected")
_NORMAL = NormalDist()
_DRAWS_A_SPLIT = 5  # a split into halves, which costs two solves, for so many draws


@renamed_keywords(budgets="request=...", seed="run=RunOptions(seed=...)", progress="run=RunOptions(progress=...)")
def check_stability(
    table: SensitivityTable,
    request: Request | Mapping[str, Amount] | Allocation,
    *,
    target: str | None = None,
    pinned: Pins | None = None,
    draws: int = 1000,
    rule: str = "worst",
    solver: Solver | str = "auto",
    run: RunOptions = _RUN,
) -> Stability:
    """Solve the problem again on tables that other calibration samples might have given.

    How probable is it that the policy is the best one on all data of this kind? In the draws the policy has an
    advantage: they lie around the table that it was chosen on, whose noise helped it to win. So the share of draws in
    which it is the best is too high where many policies are nearly as good. Two halves of the batches know nothing of
    each other: if policy p wins with probability ``w_p`` on half the samples, they agree with probability ``sum_p
    w_p^2``, which is at most the largest ``w_p``; so the share of random splits whose halves agree is too low.
    `Stability.probability` is the mean of the two. `Stability.band` goes from the second to the first raised by its own
    error: its normal score is known as well as the table is, that is, to within one.

    Since losses add up over layers, the policy of least expected regret is the one that is best on the mean of the
    draws: nearly always the nominal one. The least worst regret is a rule of its own (Savage, 1951, *The theory of
    statistical decision*): its policy is sought with weights on draws that grow with their regret (Freund and
    Schapire, 1999, *Adaptive game playing using multiplicative weights*), which also bounds what any policy can
    reach.

    Parameters
    ----------
    table
        The table.
    request
        A `Request` or a mapping of budgets, as for `allocate`; or what `allocate` made of this table.
    target, pinned
        Beside a mapping, as for `allocate`.
    draws
        How many tables to draw, at least 2.
    rule
        What makes a policy robust: ``"worst"`` (regret) or ``"expected"``.
    solver
        As for `allocate`.
    run
        The seed of the draws, and `progress`, which is called after each solve with the number done.

    Returns
    -------
    stability
        How often layers keep their formats, how often the policy is the best, its regret, and a robust policy.

    Raises
    ------
    InvalidInput
        When an argument cannot be used, or nothing is known of the table's noise.
    NoSolution
        When no policy is within the budgets.
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    run.only("check_stability", "seed", "progress")
    check_count("draws", draws, 2)
    if isinstance(request, (Request, Mapping)):
        allocation = allocate(table, request, target=target, pinned=pinned, solver=solver)
    else:
        allocation = check_origin(request, table)
        if target is not None or pinned is not None:
            raise InvalidInput(
                "target= or pinned= stands beside an allocation, which was made with its own: leave it out"
            )
    if allocation.problem.pairs is not None:
        raise InvalidInput(
            "the allocation has terms between layers, whose noise the table does not tell: give what allocate() "
            "returned, without allocate_with_interactions"
        )
    table = as_indexed(table, allocation.index)
    losses = resample(table, draws, run.seed)
    problem = allocation.problem
    values = on_choices(problem, allocation.index, losses)
    start = problem.position(_labels(allocation))
    best = _solved(problem, values, start, solver, run.report)
    known, which = np.unique(np.vstack([start, best]), axis=0, return_inverse=True)
    loss_of_best = own_totals(values, best)
    bound = math.nan
    if rule == "worst":
        robust, bound = least_worst(
            values, loss_of_best, known, lambda value: _solved(problem, value[None], start, solver)[0]
        )
    else:
        robust = known[int(np.argmin(totals(values, known).mean(axis=0)))]
    nominal, preferred = (
        _candidate(table, allocation.index, problem, each, values, loss_of_best) for each in (start, robust)
    )
    if getattr(preferred.regret, rule) >= getattr(nominal.regret, rule):
        preferred = nominal
    agreement = _agreement(table, allocation, start, max(1, draws // _DRAWS_A_SPLIT), run.seed, solver)
    shares = _shares(allocation.index, problem, best, table.loss.shape)
    rows = np.arange(len(table.layers))
    columns = np.array([table.column(entry.name) for entry in nominal.policy.formats])
    return Stability(
        layer_names=table.layer_names,
        formats=table.format_names,
        nominal=nominal,
        robust=preferred,
        rule=rule,
        robust_bound=bound,
        kept=shares[rows, columns],
        shares=shares,
        probability=(agreement + nominal.best) / 2,
        band=(min(agreement, nominal.best), _one_error_higher(nominal.best)),
        draws=draws,
        distinct=len(np.unique(which.ravel()[1:])),
        resampled=how_resampled(table),
        unit=table.unit,
    )


def _labels(allocation: Allocation) -> NDArray[np.int64]:
    choice = allocation.solution.require().choice
    assert choice is not None
    return choice


def _solved(
    problem: Problem,
    values: NDArray[np.float64],
    start: NDArray[np.int64],
    solver: Solver | str,
    progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.int64]:
    """``(n, n_groups)`` the positions of the best selection under each row of values."""
    labels = best_choices(problem, values, solver, warm=problem.label[start], progress=progress)
    taken = problem.label == labels.repeat(problem.size, axis=1)  # one choice in each group, so one for each label
    positions: NDArray[np.int64] = taken.nonzero()[1].reshape(labels.shape)
    return positions


def _candidate(
    table: SensitivityTable,
    index: Index,
    problem: Problem,
    choice: NDArray[np.int64],
    values: NDArray[np.float64],
    best: NDArray[np.float64],
) -> Candidate:
    policy = Policy.on_table(table, index.policy_formats(problem.label[choice]))
    regret = values[:, choice].sum(axis=1) - best
    # Sums of the same losses in another order differ by rounding; that is no regret.
    rounding = 1e-12 * np.abs(values[:, choice]).sum(axis=1)
    regret = np.where(np.abs(regret) <= rounding, 0.0, regret)
    return Candidate(policy, float((regret == 0).mean()), Regret.of(regret))


def _agreement(
    table: SensitivityTable,
    allocation: Allocation,
    start: NDArray[np.int64],
    splits: int,
    seed: int,
    solver: Solver | str,
) -> float:
    """In what share of random splits both halves of the batches have the same best policy."""
    losses = halves(table, splits, seed)
    values = on_choices(allocation.problem, allocation.index, losses.reshape(-1, *table.loss.shape))
    best = _solved(allocation.problem, values, start, solver)
    return float((best[::2] == best[1::2]).all(axis=1).mean())


def _one_error_higher(share: float) -> float:
    return _NORMAL.cdf(_NORMAL.inv_cdf(share) + 1) if 0 < share < 1 else share


def _shares(index: Index, problem: Problem, best: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """``(n_layers, n_formats)`` in what share of the selections a layer has a format."""
    shares = np.zeros(shape)
    for group, rows in enumerate(index.groups):
        counts = np.bincount(problem.label[best[:, group]], minlength=shape[1])
        shares[list(rows)] = counts / len(best)
    return shares
