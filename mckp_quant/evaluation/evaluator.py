"""Measures how far a quantised network is from the float one on data: KL, loss, accuracy, agreement, with errors."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from ..common.renamed import OUTPUTS, renamed_keywords
from ..network.batches import evaluating, forward
from ..network.likelihood import unit
from ..network.logits import heads_of, mapped
from ..network.outputs import Outputs
from ..network.scores import score
from .figures import judged, summary
from .simulation import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from ..network.batch import Batch
    from ..network.logits import Logits
    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from .figures import Evaluation


@renamed_keywords(**OUTPUTS)
def evaluate(
    model: nn.Module, reference: nn.Module, batches: Iterable[object], *, outputs: Outputs = Outputs()
) -> Evaluation:
    """Measure a network against a reference.

    Both run in eval mode without gradients and are given back as they were. Batches are read one at a time and logits
    are not kept, so a generator over much data will do; `Evaluator` keeps the reference's instead.

    Parameters
    ----------
    model
        The network to judge, such as `apply` makes.
    reference
        The float network.
    batches
        As for `measure`; with targets, loss and accuracy are measured too. A target of -100 does not count.
    outputs
        What both networks return, and what their numbers mean.

    Returns
    -------
    evaluation
        The figures.

    Raises
    ------
    InvalidInput
        When a batch does not fit the models, targets do not fit the logits, or the reference's logits are not finite.
    """
    scores, values, take = [], [], outputs.logits
    with evaluating(model), evaluating(reference), torch.no_grad():
        for batch in outputs.batches(batches, model):
            wanted = forward(reference, batch, take)
            logits = forward(model, batch, take)
            scores.append(score(logits, wanted, batch, outputs.distribution))
            values.append(judged(outputs, logits, batch))
    return summary(scores, unit(wanted), outputs, values)


class Evaluator:
    """Measures many policies of one network on a fixed list of batches.

    The float network runs once and its logits are kept, so a policy costs one pass over the batches.

    Parameters
    ----------
    model
        The float network; it must not change while the evaluator is in use.
    batches, outputs
        As for `evaluate`; the batches are kept.
    bank, other_rounder
        As for `apply`: what policies round the weights to.

    Attributes
    ----------
    outputs
        What the network returns, and what its numbers mean.
    passes
        How many times a quantised network has run over all batches so far.
    simulator
        What puts the network under policies.
    reference
        The float network's own figures: its KL is 0.
    """

    @renamed_keywords(**OUTPUTS)
    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[object],
        *,
        outputs: Outputs = Outputs(),
        bank: WeightBank | None = None,
        other_rounder: bool = False,
    ) -> None:
        self.passes = 0
        self.simulator = Simulator(model, bank, other_rounder=other_rounder)
        self.outputs = outputs
        self._take = outputs.logits
        self._batches: list[Batch] = list(outputs.batches(batches, model))
        with evaluating(model), torch.no_grad():
            self._logits = [forward(model, batch, self._take) for batch in self._batches]
        self.reference = self._summary(self._logits)

    def evaluate(self, policy: Policy) -> Evaluation:
        """Measure the network under a policy; raises InvalidInput where `apply` would."""
        return self.evaluate_model(self.simulator.apply(policy))

    def evaluate_model(self, model: nn.Module) -> Evaluation:
        """Measure another network, such as one that was quantised elsewhere; it is given back as it was."""
        self.passes += 1
        with evaluating(model), torch.no_grad():
            return self._summary(forward(model, batch, self._take) for batch in self._batches)

    @property
    def classes(self) -> int:
        """How many classes the network tells apart, or how many numbers it puts out."""
        return heads_of(self._logits[0])[0].shape[-1]

    @property
    def guessing(self) -> float:
        """The KL of a network that gives all classes the same probability, whatever its input: at most their ln."""
        return self._summary(mapped(torch.zeros_like, each) for each in self._logits).kl

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when the float network's logits on these batches do."""
        content = hashlib.sha256()
        for logits in self._logits:
            for head in heads_of(logits):
                content.update(head.float().cpu().numpy().tobytes())
        return content.hexdigest()[:16]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Samples in each batch."""
        return tuple(batch.size for batch in self._batches)

    def data(self, position: int) -> tuple[Batch, Logits]:
        """One of the batches, and the float network's logits on it."""
        return self._batches[position], self._logits[position]

    def on_batches(self, model: nn.Module, positions: Iterable[int]) -> list[NDArray[np.float64]]:
        """Measure another network on some batches only, so that a search can stop where it has seen enough.

        Parameters
        ----------
        model
            The network; it is given back as it was.
        positions
            Which batches.

        Returns
        -------
        scores
            For each of these batches ``(2, 4, samples)``, as `score` gives them.
        """
        made = []
        with evaluating(model), torch.no_grad():
            for at in positions:
                logits = forward(model, self._batches[at], self._take)
                made.append(score(logits, self._logits[at], self._batches[at], self.outputs.distribution))
        return made

    def _summary(self, logits: Iterable[Logits]) -> Evaluation:
        scores, values = [], []
        for own, wanted, batch in zip(logits, self._logits, self._batches, strict=True):
            scores.append(score(own, wanted, batch, self.outputs.distribution))
            values.append(judged(self.outputs, own, batch))
        return summary(scores, unit(self._logits[0]), self.outputs, values)
