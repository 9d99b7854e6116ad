"""The search of `refine`, round by round: propose candidates, race them, correct what is known."""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..allocation.allocating import as_policy
from ..common.checks import check_count, check_fraction
from ..errors import InvalidInput
from ..interactions.form import between_moves
from ..solvers import Status
from .correction import OF_EXPANSION, Correction
from .expansion import EXPANSION_PASSES
from .proposals import propose
from .racing import importance_of, mean_kl, paired, race, stages
from .result import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ..allocation.allocating import Allocation
    from ..policy.policy import Policy
    from ..tables.table import SensitivityTable
    from .measurements import Measurements
    from .racing import Entrant, Scores

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rounds:
    """How the rounds of a refinement go.

    Attributes
    ----------
    candidates
        How many are raced in a round.
    patience
        After how many rounds without a new incumbent to stop.
    expand
        Whether to expand the loss around the incumbent; without, and where the network cannot be differentiated, the
        search goes by the table. An expansion counts as seven evaluations, about what it takes.
    held_back
        The share of the batches that is held back from the search.

    Raises
    ------
    InvalidInput
        When a count is below 1, or the share is not between 0 and 1.
    """

    candidates: int = 6
    patience: int = 10
    expand: bool = True
    held_back: float = 0.125

    def __post_init__(self) -> None:
        """Refuse rounds in which nothing happens."""
        check_count("candidates", self.candidates, 1)
        check_count("patience", self.patience, 1)
        check_fraction("held_back", self.held_back)


class Search:
    """The state of a search between rounds."""

    def __init__(
        self,
        measured: Measurements,
        correction: Correction,
        allocation: Allocation,
        evaluations: float,
        rounds: Rounds,
        seed: int,
        attempt: int = 0,
    ) -> None:
        self.correction = correction
        self.incumbents: list[NDArray[np.int64]] = []
        self.steps: list[Step] = []
        self.stopped = ""
        self.start_kl = math.nan
        self._measured = measured
        self._allocation = allocation
        self._limit = evaluations
        self._rounds = rounds
        self._rng = np.random.default_rng([seed, 2 + attempt])
        self._scores: list[Scores] = []
        self._importance: list[NDArray[np.float64]] = []
        self._around: Correction | None = None  # of the expansion around the incumbent
        self._known: set[bytes] = set()
        self._seed = seed
        self._attempt = attempt

    @property
    def spent(self) -> float:
        """Passes over the batches of the search."""
        return self._measured.spent

    @property
    def kl(self) -> float:
        """Of the incumbent, on these batches."""
        return mean_kl(self._scores)[0]

    def to_the_end(self, choice: NDArray[np.int64], after_round: Callable[[float], None]) -> tuple[int, float, float]:
        """Search from a selection until something stops it, and confirm; see `confirm` for what it gives."""
        self.start(choice)
        while self.stopped == "":
            self.round()
            after_round(self.spent)
        return self.confirm()

    def start(self, choice: NDArray[np.int64]) -> None:
        """Measure the selection to start from; raises InvalidInput where its network overflows."""
        self._scores = self._measured.on_search(choice)
        self.incumbents = [choice]
        self._known.add(choice.tobytes())
        self.start_kl = self.kl
        if math.isnan(self.kl):
            raise InvalidInput(
                "the batches to search on hold nothing but padding, so nothing can be measured on them: give more "
                "batches, or another seed, which holds others back"
            )
        if not math.isfinite(self.kl):
            raise InvalidInput(
                f"the policy to start from has a KL of {self.kl}: its network overflows; allow the layers more bits"
            )
        self._importance = importance_of(self._scores)
        self.correction.observe(choice, self.kl, 0.0)
        self._expand()

    def round(self) -> None:
        """Race candidates once, or set `stopped` to the reason why not."""
        count = self._affordable()
        if count < 1:
            self.stopped = "the evaluations are spent"
            return
        quiet = next((at for at, step in enumerate(reversed(self.steps)) if step.accepted), len(self.steps))
        if quiet >= self._rounds.patience:
            self.stopped = f"nothing improved in {quiet} rounds"
            return
        known = self._around or self.correction
        chosen = propose(known.posterior(), self.incumbents[-1], self._known, count, self._rng)
        if not chosen:
            self.stopped = "nothing else within the budgets is left to propose"
            return
        entrants = race(chosen, self._scores, self._measured.measure, self._importance)
        for entrant in entrants:
            self._known.add(entrant.choice.tobytes())
            self._learn(entrant)
        best = self._best(entrants)
        accepted = best is not None and self._better(best)
        before = self.incumbents[-1]
        if best is not None and accepted:
            self.incumbents.append(best.choice)
            self._scores = self._measured.known(best.choice, self._measured.search)
            self._expand()
        self.steps.append(
            Step(
                attempt=self._attempt,
                evaluations=self.spent,
                candidates=len(chosen),
                difference=math.nan if best is None else best.difference,
                stderr=math.nan if best is None else best.stderr,
                accepted=accepted,
                kept=False,
                kl=self.kl,
                changes=self._changes(before, self.incumbents[-1]),
            )
        )
        logger.info("%.1f evaluations: KL %.4g, %s", self.spent, self.kl, "better" if accepted else "no better")

    def confirm(self) -> tuple[int, float, float]:
        """Find the last incumbent that is no worse than the start on all batches, nor clearly worse on those held back.

        On the batches held back alone it may be worse by up to a standard error: that is no evidence against what the
        larger part of the batches says. Gives its place, and its difference there with a standard error.
        """
        if len(self.incumbents) == 1:
            return 0, 0.0, 0.0
        start = self._measured.on_rest(self.incumbents[0])
        before = self._measured.known(self.incumbents[0], self._measured.search)
        for place in range(len(self.incumbents) - 1, 0, -1):
            if place < len(self.incumbents) - 1 and self.spent + self._measured.confirming > self._limit:
                break
            rest = self._measured.on_rest(self.incumbents[place])
            difference, stderr = paired(rest, start)
            searched = self._measured.known(self.incumbents[place], self._measured.search)
            everywhere, _ = paired([*searched, *rest], [*before, *start])
            if everywhere <= 0 and not difference > stderr:
                return place, difference, stderr
        logger.info("no improvement held on the batches held back")
        return 0, 0.0, 0.0

    def record(self, place: int) -> list[Step]:
        """Every round, with those kept whose changes are in the incumbent at a place."""
        accepted = 0
        steps = []
        for step in self.steps:
            accepted += step.accepted
            steps.append(dataclasses.replace(step, kept=step.accepted and accepted <= place))
        return steps

    def policy(self, corrected: SensitivityTable, choice: NDArray[np.int64]) -> Policy:
        """The policy of a selection, with its costs, its origin, and the prediction of the corrected table.

        What the table said of it before is known to be wrong: measuring found it better than what the table preferred.
        """
        problem = self._allocation.problem
        solution = dataclasses.replace(
            self._allocation.solution,
            choice=problem.label[choice],
            value=self.correction.posterior().predict(choice),
            bound=-math.inf,
            cost=tuple(problem.cost[:, choice].sum(axis=1).tolist()),
            status=Status.FEASIBLE,
        )
        policy = as_policy(corrected, solution, self._allocation.index)
        return dataclasses.replace(
            policy,
            status="improved by measuring; predicted by the table as these measurements correct it",
            ground="none",
            tolerance=math.nan,
            solver=f"refine after {self._allocation.policy.solver}",
            seed=self._seed,
        )

    def _expand(self) -> None:
        """Expand the loss around the incumbent for the search to go by, where that can be done and paid for."""
        self._around = None
        left = self._limit - self.spent - 2 * self._measured.confirming - _cost(1, self._measured.sizes)
        if left < EXPANSION_PASSES:
            return
        change = self._measured.expand(self.incumbents[-1], self._importance)
        if change is not None:
            problem = self.correction.problem
            moved = problem.equivalent(value=change, cost=problem.cost, budget=problem.budget)
            pairs = between_moves(problem, self.incumbents[-1])
            moved = moved if pairs is None else moved.with_pairs(pairs)
            self._around = Correction(moved, OF_EXPANSION)

    def _learn(self, entrant: Entrant) -> None:
        """Correct the entries that the search goes by, and those of the table."""
        if not (math.isfinite(entrant.difference) and math.isfinite(entrant.stderr)):
            return
        # The error over samples counts even where all were seen: other samples will judge the policy.
        variance = entrant.stderr**2
        if self._around is not None:
            self._around.observe(entrant.choice, entrant.difference, variance)
        seen = slice(entrant.batches)
        scores = self._measured.known(entrant.choice, entrant.batches)
        plain, stderr = paired(scores, self._scores[seen])
        self.correction.observe(entrant.choice, self.kl + plain, stderr**2)

    def _best(self, entrants: list[Entrant]) -> Entrant | None:
        """The best candidate by the corrected entries, of those measured on all batches."""
        whole = [entrant for entrant in entrants if entrant.batches == self._measured.search]
        posterior = (self._around or self.correction).posterior()
        return min(whole, key=lambda entrant: posterior.change(self.incumbents[-1], entrant.choice)[0], default=None)

    def _better(self, entrant: Entrant) -> bool:
        """Whether a candidate was measured better, all samples counting alike, and is so by the corrected entries."""
        if not entrant.difference < 0:
            return False
        scores = self._measured.known(entrant.choice, self._measured.search)
        change, _ = (self._around or self.correction).posterior().change(self.incumbents[-1], entrant.choice)
        return paired(scores, self._scores)[0] <= 0 and change < 0

    def _affordable(self) -> int:
        """How many candidates a round can race so that enough is left for the confirmation."""
        left = self._limit - self.spent - 2 * self._measured.confirming
        count = self._rounds.candidates
        while count > 0 and _cost(count, self._measured.sizes) > left:
            count -= 1
        return count

    def _changes(self, before: NDArray[np.int64], after: NDArray[np.int64]) -> tuple[str, ...]:
        old, new = self._measured.policy(before), self._measured.policy(after)
        return tuple(
            f"{layer}: {first.name} -> {second.name}"
            for layer, first, second in zip(old.layer_names, old.formats, new.formats, strict=True)
            if first != second
        )


def _cost(count: int, sizes: Sequence[int]) -> float:
    """Passes over batches of these sizes that a race of so many candidates takes at most."""
    cost, before = 0, 0
    for stage in stages(len(sizes)):
        cost += count * sum(sizes[before:stage])
        before, count = stage, (count + 1) // 2
    return cost / sum(sizes)
