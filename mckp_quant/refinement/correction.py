"""Corrects a table by measurements of whole policies, which say how far each of its entries is off."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..solvers import Problem

_FACTORS = (0.5, 0.5)  # mean and deviation of the factor of pairwise terms
_SCALES = (0.3, 0.5, 1.0, 1.5, 2.5)  # of the deviations, of which the most likely one is taken


@dataclass(frozen=True)
class Doubt:
    """How far off the entries of a problem may be before anything is measured, relative to their size.

    Attributes
    ----------
    common, group, entry
        Standard deviations of a scale that all entries share, of one for each group, and of one for each entry.
    misfit
        What no table can explain, because losses do not quite add up: relative to what was measured.
    """

    common: float
    group: float
    entry: float
    misfit: float


OF_TABLE = Doubt(common=1.0, group=0.5, entry=0.3, misfit=0.03)
OF_EXPANSION = Doubt(common=0.3, group=0.3, entry=0.3, misfit=0.1)


@dataclass(eq=False)
class Correction:
    """The entries of a problem as normal variables, and the measurements of selections that they are corrected by.

    The measured loss of a selection is the sum of its entries, plus a factor times its pairwise terms where the problem
    has some. Before anything is measured, an entry is what the table says, give or take a scale that it shares with all
    others, one that it shares with its group, and one of its own. Sums of normal variables are normal, so the entries
    given the measurements follow in closed form (Bayesian linear regression: Lindley and Smith, 1972, *Bayes estimates
    for the linear model*). Where the quadratic model saturates, the scales come out below 1.

    Attributes
    ----------
    problem
        The problem whose values are corrected.
    doubt
        How far off they may be.
    choices
        Selections that were measured, as positions.
    losses
        What was measured.
    variances
        The squared standard errors of `losses`; of what is compared with one selection, those of the paired difference.
    """

    problem: Problem
    doubt: Doubt = OF_TABLE
    choices: list[NDArray[np.int64]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    variances: list[float] = field(default_factory=list)

    def observe(self, choice: NDArray[np.int64], loss: float, variance: float) -> None:
        """Add a measurement; one of the same selection is replaced."""
        for at, known in enumerate(self.choices):
            if np.array_equal(known, choice):
                self.losses[at], self.variances[at] = loss, variance
                return
        self.choices.append(choice)
        self.losses.append(loss)
        self.variances.append(variance)

    def posterior(self) -> Posterior:
        """What is known of the entries now."""
        mean, features = self._prior_mean(), self._features(self.choices)
        if not self.losses:
            return Posterior(self.problem, mean, self._prior_covariance(1.0))
        target = np.array(self.losses)
        noise = np.array(self.variances) + (self.doubt.misfit * np.abs(target)) ** 2
        best: tuple[float, NDArray[np.float64], NDArray[np.float64]] | None = None
        for scale in _SCALES:
            covariance = self._prior_covariance(scale)
            across = covariance @ features.T
            own = features @ across + np.diag(noise)
            jitter = 1e-12 * float(np.trace(own)) / len(own) or 1.0  # where nothing varies, any scale will do
            factor = np.linalg.cholesky(own + jitter * np.eye(len(own)))
            misfit = np.linalg.solve(factor, target - features @ mean)
            evidence = -0.5 * float(misfit @ misfit) - float(np.log(np.diag(factor)).sum())
            if best is None or evidence > best[0]:
                gain = np.linalg.solve(factor, across.T)
                best = evidence, mean + gain.T @ misfit, covariance - gain.T @ gain
        assert best is not None
        return Posterior(self.problem, best[1], best[2])

    def _prior_mean(self) -> NDArray[np.float64]:
        return np.append(self.problem.value, [] if self.problem.pairs is None else [_FACTORS[0]])

    def _prior_covariance(self, scale: float) -> NDArray[np.float64]:
        size = self.problem.value
        group = self.problem.group
        doubt = self.doubt
        shared = doubt.common**2 + doubt.group**2 * (group[:, None] == group[None, :])
        alone = np.diag((doubt.entry * size) ** 2)
        covariance: NDArray[np.float64] = scale**2 * (shared * np.outer(size, size) + alone)
        if self.problem.pairs is None:
            return covariance
        whole = np.zeros((len(size) + 1, len(size) + 1))
        whole[:-1, :-1] = covariance
        whole[-1, -1] = _FACTORS[1] ** 2
        return whole

    def _features(self, choices: list[NDArray[np.int64]]) -> NDArray[np.float64]:
        return features_of(self.problem, choices)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Entries, and behind them the factor of the pairwise terms, as jointly normal variables.

    Attributes
    ----------
    problem
        The problem; its pairwise terms are those that the factor multiplies.
    mean
        ``(n,)`` float64.
    covariance
        ``(n, n)`` float64.
    """

    problem: Problem
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @property
    def value(self) -> NDArray[np.float64]:
        """``(n_choices,)`` the entries."""
        return self.mean[: self.problem.n_choices]

    def as_problem(self, drawn: NDArray[np.float64] | None = None) -> Problem:
        """The problem with corrected values and terms, or with values that were drawn."""
        entries = self.mean if drawn is None else drawn
        made = self.problem.equivalent(
            value=entries[: self.problem.n_choices].copy(), cost=self.problem.cost, budget=self.problem.budget
        )
        pairs = self.problem.pairs
        if pairs is None:
            return made
        return made.with_pairs(type(pairs)(pairs.first, pairs.second, max(0.0, float(entries[-1])) * pairs.value))

    def draw(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """``(n,)`` entries drawn at random."""
        deviations, vectors = self._axes
        return np.asarray(self.mean + vectors @ (rng.standard_normal(len(deviations)) * deviations))

    @cached_property
    def _axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Standard deviations along the axes on which entries vary by themselves, and these as columns."""
        variances, vectors = np.linalg.eigh(self.covariance)
        return np.sqrt(np.maximum(variances, 0)), vectors

    def predict(self, choice: NDArray[np.int64]) -> float:
        """The loss of a selection."""
        return float(features_of(self.problem, [choice])[0] @ self.mean)

    def change(self, choice: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[float, float]:
        """By how much another selection is worse, and how uncertain that is, as a standard deviation."""
        step = features_of(self.problem, [other])[0] - features_of(self.problem, [choice])[0]
        return float(step @ self.mean), math.sqrt(max(0.0, float(step @ self.covariance @ step)))


def features_of(problem: Problem, choices: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """``(n, n_choices)`` which choices a selection holds, and in one more column the sum of its pairwise terms."""
    wide = problem.n_choices + (problem.pairs is not None)
    features = np.zeros((len(choices), wide))
    for row, choice in zip(features, choices, strict=True):
        row[choice] = 1
        if problem.pairs is not None:
            row[-1] = math.fsum(problem.pairs.among(choice))
    return features
