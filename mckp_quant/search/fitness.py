"""How a search judges the network under a policy: on real data, against the float network or against the targets."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ..errors import unknown
from ..evaluation.evaluator import Evaluator
from ..network.batches import as_batch
from ..network.outputs import Outputs
from ..rounding.chosen_weights import Weights

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from ..policy.policy import Policy

# From the name of a fitness to what it is, for messages and help.
FITNESS = {
    "kl": "KL divergence from the float network, nats",
    "squared": "half the squared distance of the logits from the float network's",
    "loss": "cross-entropy of the targets, nats",
    "error": "share of targets missed; equal shares are ordered by cross-entropy",
}
_TIE = 1e-6  # of a nat: smaller than one image among a hundred thousand


class NetworkFitness:
    """A fitness that runs the network; a policy costs one pass over the batches.

    Parameters
    ----------
    model
        The float network.
    batches
        As for `measure`; ``"loss"`` and ``"error"`` need targets.
    kind
        One of `FITNESS`.
    outputs
        What the network returns, and what its numbers mean.
    weights
        What policies round its weights to; by default to nearest.

    Raises
    ------
    InvalidInput
        When the kind is unknown, or the batches do not fit the model.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[object],
        kind: str = "kl",
        *,
        outputs: Outputs = Outputs(),
        weights: Weights | None = None,
    ) -> None:
        if kind not in FITNESS:
            raise unknown("fitness", kind, FITNESS)
        self._kind = kind
        compared = dataclasses.replace(outputs.squared if kind == "squared" else outputs, metric=None)
        inputs = [_without_targets(batch) for batch in batches] if kind in {"kl", "squared"} else batches
        chosen = Weights() if weights is None else weights
        self.evaluator = Evaluator(
            model, inputs, outputs=compared, bank=chosen.bank, other_rounder=chosen.other_rounder
        )

    def __call__(self, policy: Policy) -> float:
        """The fitness, lower is better; nan where it needs targets and there are none."""
        found = self.evaluator.evaluate(policy)
        if self._kind == "error":
            return 1 - found.accuracy + _TIE * found.loss
        return found.loss if self._kind == "loss" else found.kl


def _without_targets(batch: object) -> object:
    """The inputs alone: a fitness that asks for no labels must not depend on them."""
    return as_batch(batch).inputs
