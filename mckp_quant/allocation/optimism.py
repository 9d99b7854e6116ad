"""How much too low a prediction is because its policy was chosen by it: found by choosing on halves of the batches."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from ..solvers import NoSolution, solve
from .resampling import on_choices, shares_of_halves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..policy.policy import Policy
    from ..solvers import Problem, Solver
    from ..tables.table import SensitivityTable
    from .index import Index

logger = logging.getLogger(__name__)

SPLITS = 25  # two solves each
_CHOICES = 200_000  # of all splits together: a table so large that this is slow gets fewer of them
_FEWEST = 4
_LEVEL = math.erf(math.sqrt(2))  # how probably a normal variable is within two of its standard errors


def correct(
    table: SensitivityTable,
    policy: Policy,
    problem: Problem,
    index: Index,
    labels: NDArray[np.int64],
    *,
    solver: Solver | str,
    seconds: float,
    seed: int,
) -> Policy:
    """Correct the prediction of a policy for having been chosen by the table that predicts it.

    The batches are split at random into halves. The policy that is best on one half has there a loss that is too low,
    and on the other half one that is not: their difference is the optimism of choosing on half of the samples. It falls
    with the number of samples, so on all of them it is half of that (cross-fitting; Stone, 1974, *Cross-validatory
    choice and assessment of statistical predictions*). Each half chooses
    once, so that what tells the halves from each other cancels.

    The error of the optimism counts that the splits share their samples (Nadeau and Bengio, 2003, *Inference for the
    generalization error*). That of the prediction is over batches on which the policy was not chosen, because on those
    that liked it its losses also differ too little; and they are few, so it is stretched until two of it cover what two
    standard errors of a normal distribution do (Student, 1908, *The probable error of a mean*).
    Nothing here knows what the layers' errors add to each other on the network: `confirm_table` measures that.

    Parameters
    ----------
    table
        The table.
    policy
        The policy, with its prediction.
    problem, index
        What was solved, and what its groups and labels mean.
    labels
        ``(n_groups,)`` the policy's labels.
    solver, seed
        As for `allocate`.
    seconds
        A limit: what was not solved until then is left out.

    Returns
    -------
    policy
        The policy with its correction, or with the reason why none was made.
    """
    if table.contributions is None or table.batch_sizes is None or len(table.batch_sizes) < 2:
        return _not(policy, "the table holds no contributions of at least 2 batches")
    count, wanted = _splits(len(table.batch_sizes), problem.n_choices)
    values = on_choices(problem, index, table.contributions)
    if not np.isfinite(values).all():
        return _not(policy, "the table has losses whose contributions of single batches are not known")
    began = time.perf_counter()
    found: list[float] = []
    variances: list[float] = []
    for shares in shares_of_halves(table.batch_sizes, count, seed):
        if found and time.perf_counter() - began > seconds:
            break
        try:
            chosen = [_best(problem, share @ values, labels, solver, seed) for share in shares]
        except NoSolution:  # a solver that does not always find what there is
            continue
        first, second = (values[:, each].sum(axis=1) for each in chosen)
        found.append(float((shares[1] - shares[0]) @ (first - second)) / 2)
        variances += [_variance(second, shares[0], table.batch_sizes), _variance(first, shares[1], table.batch_sizes)]
    if not found:
        return _not(policy, "the solver finds no policy on half of the batches")
    optimism = float(np.mean(found)) / 2
    spread = float(np.std(found, ddof=1)) if len(found) > 1 else abs(2 * optimism)
    error = spread / 2 * math.sqrt(1 / len(found) + 1)
    alone = float(np.mean(variances))  # nan where a half is a single batch
    stderr = policy.predicted_stderr if math.isnan(alone) else math.sqrt(alone)
    fewer = ", fewer than usual to save time" if len(found) < wanted else ""
    return dataclasses.replace(
        policy,
        corrected=policy.predicted + optimism,
        corrected_stderr=math.hypot(stretch(table.batch_sizes) * stderr, error),
        correction=f"cross-fitted over {len(table.batch_sizes)} batches, {2 * len(found)} solves{fewer}",
    )


def _not(policy: Policy, why: str) -> Policy:
    return dataclasses.replace(policy, correction=f"not corrected for having been chosen: {why}")


def _variance(losses: NDArray[np.float64], share: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """The variance of the mean of all batches, as those of one half tell it; nan where that is a single batch."""
    count = int((share > 0).sum())
    if count < 2:
        return math.nan
    spread = share * (losses - share @ losses)
    return float(count / (count - 1) * (spread @ spread) * sizes[share > 0].sum() / sizes.sum())


def stretch(batch_sizes: NDArray[np.float64]) -> float:
    """By what a standard error over so few batches is stretched, so that two of it cover 95.45 %.

    Parameters
    ----------
    batch_sizes
        ``(n_batches,)`` samples in each. Unequal ones count as fewer (Kish, 1965, *Survey Sampling*).

    Returns
    -------
    factor
        At least 1; 1.21 for 8 batches of one size.
    """
    freedom = max(1, int(batch_sizes.sum() ** 2 / (batch_sizes @ batch_sizes) + 1e-9) - 1)
    low, high = 2.0, 16.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < _LEVEL else (low, middle)
    return low / 2


def _within(errors: float, freedom: int) -> float:
    """How probably a t variable is within so many errors (Abramowitz and Stegun, 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(errors / math.sqrt(freedom))
    odd = freedom % 2
    term = total = math.cos(angle) if odd else 1.0
    for step in range(2 + odd, freedom - 1, 2):
        term *= math.cos(angle) ** 2 * (step - 1) / step
        total += term
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * (total if freedom > 1 else 0.0))
    return math.sin(angle) * total


def _splits(batches: int, choices: int) -> tuple[int, int]:
    """How many splits are made of a problem of so many choices, and how many one would like to have."""
    different = math.comb(batches, batches // 2) // (2 if batches % 2 == 0 else 1)
    wanted = min(SPLITS, 2 * different)  # drawn at random, so that some are met twice
    return max(min(wanted, _FEWEST), min(wanted, _CHOICES // choices)), wanted


def _best(
    problem: Problem, value: NDArray[np.float64], labels: NDArray[np.int64], solver: Solver | str, seed: int
) -> NDArray[np.int64]:
    """``(n_groups,)`` positions of the best selection for other values."""
    other = problem.equivalent(value=value.copy(), cost=problem.cost, budget=problem.budget)
    choice = solve(other, solver, seed=seed, warm=labels).require().choice
    assert choice is not None
    return problem.position(choice)
