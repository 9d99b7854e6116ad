"""Runs the network under the points of a front, each once, and reads off what is judged."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..common.amounts import read
from ..common.checks import check_least
from ..errors import InvalidInput
from ..evaluation.evaluator import Evaluator, mean_and_error
from ..rounding.chosen_weights import as_weights
from .fronts import Front
from .result import ERRORS, Measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

    from ..common.amounts import Amount
    from ..common.run_options import RunOptions
    from ..evaluation.evaluator import Evaluation
    from ..network.outputs import Outputs
    from ..rounding.bank import WeightBank
    from ..rounding.chosen_weights import Weights
    from .point import Point

Figure = tuple[float, float]
_ACCURACY = 2  # the row of accuracies in the scores of an evaluation


@dataclass(frozen=True)
class Limit:
    """A limit on what is measured.

    Attributes
    ----------
    metric
        What is limited, in words.
    most
        The limit.
    of
        From an evaluation and that of the float network to the figure and its standard error.
    """

    metric: str
    most: float
    of: Callable[[Evaluation, Evaluation], Figure]


def limit_of(kl_at_most: float | None, loss_at_most: float | None, accuracy_drop_at_most: Amount | None) -> Limit:
    """The one limit that is given.

    Parameters
    ----------
    kl_at_most, loss_at_most, accuracy_drop_at_most
        As for `smallest`.

    Returns
    -------
    limit
        The limit.

    Raises
    ------
    InvalidInput
        When none or several are given, or a number cannot be used.
    """
    given = {
        "kl_at_most": kl_at_most,
        "loss_at_most": loss_at_most,
        "accuracy_drop_at_most": accuracy_drop_at_most,
    }
    named = [name for name, amount in given.items() if amount is not None]
    if len(named) != 1:
        raise InvalidInput(
            f"{'no limit is given' if not named else f'{len(named)} limits are given'}: give one of "
            "kl_at_most=, loss_at_most= and accuracy_drop_at_most="
        )
    if accuracy_drop_at_most is not None:
        drop = read("accuracy_drop_at_most", accuracy_drop_at_most)
        if drop.of(1) >= 1:
            raise InvalidInput(
                f"accuracy_drop_at_most is {accuracy_drop_at_most!r}: write 0.01 or '1%' for one percentage point"
            )
        return Limit("accuracy drop", float(drop.of(1)), _drop)
    check_least(named[0], given[named[0]], 0)
    if kl_at_most is not None:
        return Limit("KL", float(kl_at_most), lambda own, _: (own.kl, own.kl_stderr))
    assert loss_at_most is not None
    return Limit("loss", float(loss_at_most), lambda own, _: (own.loss, own.loss_stderr))


def _drop(own: Evaluation, reference: Evaluation) -> Figure:
    """How much less accurate than the float network, sample by sample: both find the same ones hard.

    Where all answers are the same, the samples leave room for a drop of 3 / n (the rule of three: Hanley and
    Lippman-Hand, 1983, *If nothing goes wrong, is everything all right?*), and the error is never below that.
    """
    lost = reference.totals[_ACCURACY] - own.totals[_ACCURACY]
    drop, stderr = mean_and_error(lost, own.counts[_ACCURACY])
    return drop, max(stderr, 3 / ERRORS / own.samples)


class Meter:
    """Measures points of a front, each once.

    Parameters
    ----------
    model, batches, outputs
        As for `smallest`.
    front
        The front.
    limit
        What is judged.
    bank
        What policies round the weights to.
    run
        How many batches are read at most.

    Attributes
    ----------
    known
        What was measured, by position in the front.

    Raises
    ------
    InvalidInput
        When it is no front, or one of another rounder.
    """

    def __init__(
        self,
        model: nn.Module,
        front: Front,
        batches: Iterable[object],
        *,
        limit: Limit,
        bank: WeightBank | Weights | None,
        outputs: Outputs,
        run: RunOptions,
    ) -> None:
        if not isinstance(front, Front):
            raise InvalidInput(f"front is a {type(front).__name__}: give what mckp_quant.front() returned")
        weights = as_weights(bank)
        weights.check("the front", front.table.rounder)
        self.known: dict[int, Measured] = {}
        self._front = front
        self._limit = limit
        self._evaluator = Evaluator(
            model,
            itertools.islice(batches, run.max_batches),
            outputs=outputs,
            bank=weights.bank,
            other_rounder=weights.other_rounder,
        )
        if math.isnan(limit.of(self._evaluator.reference, self._evaluator.reference)[0]):
            raise InvalidInput(
                f"the batches tell nothing of the {limit.metric}: give batches with targets, or limit the KL"
            )

    def at(self, position: int) -> Measured:
        """What is measured at a position of the front."""
        if position not in self.known:
            point = self._front.points[position]
            self.known[position] = self.of(point)
        return self.known[position]

    def of(self, point: Point) -> Measured:
        """What is measured of any point."""
        evaluation = self._evaluator.evaluate(point.policy)
        return Measured(point, evaluation, *self._limit.of(evaluation, self._evaluator.reference))
