"""Measures candidates on growing parts of the data, and drops losers early."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..evaluation.figures import mean_and_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Scores = tuple["NDArray[np.float64]", "NDArray[np.float64]"]  # totals and counts of the KL, sample by sample

_STAGES = (1 / 8, 1 / 4, 1 / 2, 1.0)
_ORDINARY = 0.95  # the quantile of the KL above which a sample counts less


@dataclass(frozen=True, eq=False)
class Entrant:
    """A candidate in a race.

    Attributes
    ----------
    choice
        ``(n_groups,)`` positions.
    batches
        On how many batches it was measured before it was dropped or done.
    difference, stderr
        Its KL less the incumbent's on these, sample by sample, and the standard error of that.
    """

    choice: NDArray[np.int64]
    batches: int
    difference: float
    stderr: float


def stages(batches: int) -> list[int]:
    """After how many batches candidates are compared: an eighth, a quarter, a half and all of them."""
    return sorted({max(1, round(batches * share)) for share in _STAGES})


def race(
    candidates: Sequence[NDArray[np.int64]],
    incumbent: Sequence[Scores],
    measure: Callable[[NDArray[np.int64], int], Scores],
    importance: Sequence[NDArray[np.float64]] | None = None,
) -> list[Entrant]:
    """Race candidates against the incumbent.

    After each stage the worse half of those left is dropped, and so is every candidate that is worse than the incumbent
    by half a standard error of the paired difference (racing: Maron and Moore, 1994, *Hoeffding races*; halving:
    Jamieson and Talwalkar, 2016, *Non-stochastic best arm identification and hyperparameter optimization*). A candidate
    dropped by mistake costs an improvement at most: the winner has been measured on all batches.

    Parameters
    ----------
    candidates
        Selections to measure.
    incumbent
        Scores of the incumbent on every batch, in the order of measuring.
    measure
        From a candidate and the position of a batch in that order to its scores.
    importance
        How much each sample counts, see `importance_of`; by default all alike.

    Returns
    -------
    entrants
        All candidates; those with ``batches == len(incumbent)`` went the whole way.
    """
    totals: list[list[Scores]] = [[] for _ in candidates]
    results: dict[int, Entrant] = {}
    left = list(range(len(candidates)))
    for stage in stages(len(incumbent)):
        for at in left:
            for batch in range(len(totals[at]), stage):
                totals[at].append(measure(candidates[at], batch))
            difference, stderr = paired(totals[at], incumbent[:stage], importance)
            results[at] = Entrant(candidates[at], stage, difference, stderr)
        left.sort(key=lambda at: (results[at].difference, at))
        left = [at for at in left[: max(1, (len(left) + 1) // 2)] if not _losing(results[at])]
        if not left:
            break
    return [results[at] for at in range(len(candidates))]


def paired(
    scores: Sequence[Scores], others: Sequence[Scores], importance: Sequence[NDArray[np.float64]] | None = None
) -> tuple[float, float]:
    """By how much the KL of one network exceeds another's on the same samples, and the standard error of that.

    Both are nan where no position of the samples counts; a network that overflows is worse by infinity.
    """
    with np.errstate(invalid="ignore"):
        apart = [own[0] - other[0] for own, other in zip(scores, others, strict=True)]
    if importance is not None:
        apart = [each * counts for each, counts in zip(apart, importance, strict=False)]
    counts = np.concatenate([own[1] for own in scores])
    if not counts.any():
        return np.nan, np.nan
    difference, stderr = mean_and_error(np.concatenate(apart), counts)
    return (difference, stderr) if np.isfinite(difference) else (np.inf, np.nan)


def importance_of(scores: Sequence[Scores]) -> list[NDArray[np.float64]]:
    """How much each sample counts, so that a search is not decided by a few of them.

    The KL of a sample has heavy tails: a handful may make up half of the mean, and what a search gains on these it does
    not gain on others. Those with a larger KL than 95 % of the samples count in inverse proportion to it (Huber, 1964,
    *Robust estimation of a location parameter*).

    Parameters
    ----------
    scores
        Of the selection that the search starts from, for each batch.

    Returns
    -------
    importance
        For each batch ``(samples,)`` float64, from 0 to 1.
    """
    kl = [np.divide(totals, counts, out=np.zeros_like(totals), where=counts > 0) for totals, counts in scores]
    ordinary = float(np.quantile(np.concatenate(kl), _ORDINARY, method="higher"))
    if ordinary == 0:  # nearly all samples are as they were: those that differ are all there is to go by
        return [np.ones_like(each) for each in kl]
    return [np.divide(ordinary, each, out=np.ones_like(each), where=each > ordinary) for each in kl]


def mean_kl(scores: Sequence[Scores]) -> tuple[float, float]:
    """The KL over all samples, and its standard error."""
    return mean_and_error(np.concatenate([own[0] for own in scores]), np.concatenate([own[1] for own in scores]))


def _losing(entrant: Entrant) -> bool:
    stderr = 0.0 if np.isnan(entrant.stderr) else entrant.stderr
    return entrant.difference > 0.5 * stderr
