"""Finds the smallest policy of a front under a limit on what is measured, in few runs of the network.

Along a front what is measured falls as the budget grows, but not at every step: it is noisy, and formats interact. So
bisection finds a crossing; then points below it are run, since any of them may keep the limit by its own noise. The
next one is always that of the greatest expected gain (Mockus, 1975, *On Bayesian methods for seeking the extremum*):
how much smaller it is, times how probably it keeps the limit by a line through the measured points around it.
"""

from __future__ import annotations

import math
from statistics import NormalDist, linear_regression
from typing import TYPE_CHECKING

from ..common.checks import check_count
from ..common.renamed import OUTPUTS, renamed_keywords, run_keywords
from ..common.run_options import RunOptions
from ..network.outputs import Outputs
from ..solvers import NoSolution
from .limits import limit_of
from .meter import Meter
from .result import Measured, Smallest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import nn

    from ..common.amounts import Amount
    from ..rounding.bank import WeightBank
    from ..rounding.chosen_weights import Weights
    from .fronts import Front
    from .limits import Limit

_RUN = RunOptions()
_EDGE = 0.25  # of the evaluations, for each end of the interval
_TREND = 8  # measured points nearest to the crossing that the trend is drawn through
_FEWEST = 5  # points, from which on a trend says anything
_WORTH_A_RUN = 1e-5  # of the use, that a run must be expected to save
_NORMAL = NormalDist()


@renamed_keywords(**OUTPUTS, **run_keywords("progress"))
def smallest(
    model: nn.Module,
    front: Front,
    batches: Iterable[object],
    *,
    kl_at_most: float | None = None,
    loss_at_most: float | None = None,
    accuracy_drop_at_most: Amount | None = None,
    evaluations: int = 40,
    bank: WeightBank | Weights | None = None,
    outputs: Outputs = Outputs(),
    run: RunOptions = _RUN,
) -> Smallest:
    """Find the smallest policy of a front that keeps a limit on what is measured on these batches.

    Give batches that neither measured the table nor trained the network. The answer is about these samples: of many
    policies that are as good, one is taken that looks good on them. `Smallest.possible` and `Smallest.sure` say
    between which sizes it lies for others.

    Parameters
    ----------
    model
        The float network; it is left as it was.
    front
        What `front` returned for a table of this network.
    batches
        As for `measure`; a limit on loss or accuracy needs targets.
    kl_at_most
        The most divergence from the float network, in nats per sample or token.
    loss_at_most
        The most loss on the targets, that of the float network included, in nats.
    accuracy_drop_at_most
        How much less accurate than the float network it may be: ``0.01`` or ``"1%"`` is one percentage point. Exactly
        one of the three limits is given.
    evaluations
        How many points may be run, each once over all batches.
    bank
        The weights in every format, by the rounder of the table; by default they are rounded to nearest.
    outputs
        What the network returns, and what its numbers mean.
    run
        How many batches are read at most, and progress, after each point.

    Returns
    -------
    smallest
        The policy, what was measured, and the interval that the samples leave.

    Raises
    ------
    InvalidInput
        When an argument cannot be used, or the batches do not tell what is limited.
    NoSolution
        When no measured point keeps the limit; with the best of them.
    """
    run.only("smallest", "max_batches", "progress")
    check_count("evaluations", evaluations, 1)
    limit = limit_of(kl_at_most, loss_at_most, accuracy_drop_at_most)
    meter = Meter(model, front, batches, limit=limit, bank=bank, outputs=outputs, run=run)
    search = Search(meter, [each.used for each in front.points], limit.most, evaluations, run)
    search.find()
    return _result(search, front, limit)


class Search:
    """The points of a front, of which each is measured once at most.

    Parameters
    ----------
    meter
        Measures them; `Meter`, or what stands in for one.
    uses
        What each uses, rising.
    most
        The limit.
    evaluations
        How many may be run.
    run
        Whose progress is told.
    """

    def __init__(self, meter: Meter, uses: Sequence[int], most: float, evaluations: int, run: RunOptions) -> None:
        self.meter = meter
        self._uses = uses
        self._count = len(uses)
        self._most = most
        self._evaluations = evaluations
        self._run = run

    @property
    def spent(self) -> int:
        """How many points were run."""
        return len(self.meter.known)

    @property
    def measured(self) -> list[Measured]:
        """What was run, by rising use."""
        return [self.meter.known[at] for at in sorted(self.meter.known)]

    def first(self, keeps: Callable[[Measured], bool]) -> int:
        """The first measured position of which this holds; one past the last where there is none."""
        return min((at for at, each in self.meter.known.items() if keeps(each)), default=self._count)

    def find(self) -> None:
        """Run what is worth running: the crossing, both ends of the interval, and then what lies below."""
        self.find_edge(self.keeps, self._evaluations)
        more = int(_EDGE * self._evaluations)
        self.find_edge(lambda each: each.figure - each.margin <= self._most, self.spent + more)
        self.find_edge(lambda each: each.figure + each.margin <= self._most, self.spent + more)
        self.descend()

    def find_edge(self, keeps: Callable[[Measured], bool], most: int) -> None:
        """Halve the stretch below the first point of which this holds, until at most so many points were run."""
        while self.spent < min(most, self._evaluations):
            high = self.first(keeps)
            low = max((at for at in self.meter.known if at < high), default=-1)
            if high - low <= 1:
                return
            self._measure((low + high) // 2)

    def descend(self) -> None:
        """Run the point of the greatest expected gain, as long as there is one that is worth it."""
        while self.spent < self._evaluations:
            best = self.first(self.keeps)
            open_ones = [at for at in range(best) if at not in self.meter.known]
            if not open_ones:
                return
            gains = [self._gain(at, best) for at in open_ones]
            greatest = max(gains)
            if greatest < _WORTH_A_RUN and best < self._count:
                return
            self._measure(open_ones[gains.index(greatest)])

    def _gain(self, at: int, best: int) -> float:
        """How much less than the best one a point uses, on a logarithmic scale, times how probably it keeps the limit.

        While none keeps it, or where a point uses nothing, any gain is as good as another.
        """
        if best == self._count or self._uses[at] <= 0:
            return self._probability(at)
        return self._probability(at) * math.log(self._uses[best] / self._uses[at])

    def _probability(self, at: int) -> float:
        near = sorted(self.meter.known, key=lambda other: abs(other - at))[:_TREND]
        figures = [self.meter.known[each].figure for each in near]
        if len(near) < _FEWEST or not all(map(math.isfinite, figures)):
            return 1 / (1 + abs(near[0] - at)) if near else 1.0  # without a trend the nearest first
        slope, level = linear_regression(near, figures)
        squares = sum((figure - slope * place - level) ** 2 for place, figure in zip(near, figures, strict=True))
        spread = max(math.sqrt(squares / (len(near) - 2)), self.meter.step)
        above = slope * at + level - self._most
        return _NORMAL.cdf(-above / spread) if spread > 0 else float(above <= 0)

    def keeps(self, each: Measured) -> bool:
        """Whether the limit is kept."""
        return each.figure <= self._most

    def _measure(self, at: int) -> None:
        self.meter.at(at)
        self._run.report(self.spent, self._evaluations)


def _result(search: Search, front: Front, limit: Limit) -> Smallest:
    measured = search.measured
    best = next((each for each in measured if each.figure <= limit.most), None)
    if best is None:
        near = min(measured, key=lambda each: math.inf if math.isnan(each.figure) else each.figure)
        raise NoSolution(
            f"no policy of the front keeps the {limit.metric} at most {limit.most:.4g}: the best of {len(measured)} "
            f"that were run has {near.figure:.4g} +- {near.stderr:.2g}, with {front.amount(near.point.used)}; allow "
            "more, or give formats of more bits"
        )
    possible = next(each for each in measured if each.figure - each.margin <= limit.most)
    sure = next((each for each in measured if each.figure + each.margin <= limit.most), None)
    words = (
        f"{front.amount(best.point.used)} keep the {limit.metric} at {best.figure:.4g} +- {best.stderr:.2g}, at most "
        f"{limit.most:.4g}, on {best.evaluation.samples} samples; "
    )
    if sure is None:
        words += f"on others it may take from {front.amount(possible.point.used)} up: no policy keeps it beyond doubt"
    elif sure is possible:
        words += "the samples leave no doubt about that"
    else:
        words += (
            f"on others it may take from {front.amount(possible.point.used)} to {front.amount(sure.point.used)} (two "
            "standard errors to either side)"
        )
    return Smallest(best, limit.metric, limit.most, possible, sure, tuple(measured), front, len(measured), words)
