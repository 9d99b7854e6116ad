"""Runs the network under the points of a front, each once, and reads off what is judged."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..evaluation.evaluator import Evaluator
from ..rounding.chosen_weights import as_weights
from .fronts import Front
from .result import Measured

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from ..common.run_options import RunOptions
    from ..network.outputs import Outputs
    from ..rounding.bank import WeightBank
    from ..rounding.chosen_weights import Weights
    from .limits import Limit
    from .point import Point


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
    step
        See `Limit.step`.

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

        self.step = limit.step(self._evaluator.reference)

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
