"""Measures how far a quantised network is from the float one on data: KL, loss, accuracy, agreement, with errors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..common.renamed import OUTPUTS, renamed_keywords
from ..network.batches import evaluating, forward
from ..network.likelihood import unit
from ..network.logits import heads_of, mapped
from ..network.outputs import Outputs
from ..network.scores import score
from .simulation import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import nn

    from ..network.batch import Batch
    from ..network.logits import Logits
    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured on one network against the float one.

    Every figure is a mean over samples, or over tokens where the network has logits for each, with its standard error
    over samples: the tokens of one sequence are not independent. A figure that the data cannot give is nan.

    Attributes
    ----------
    kl, kl_stderr
        Kullback-Leibler divergence from the float network's distribution to this one's, in nats; for a gaussian
        likelihood half the squared distance of the outputs, which is the same thing at unit variance.
    loss, loss_stderr
        Cross-entropy of the targets in nats (gaussian: half the squared error); needs targets.
    accuracy, accuracy_stderr
        Share of targets that have the largest logit; needs targets and a categorical likelihood.
    agreement, agreement_stderr
        Share of samples or tokens where this network and the float one have the same largest logit.
    samples
        How many samples were seen.
    unit
        ``"nats per sample"`` or ``"nats per token"``.
    totals
        ``(4, samples)`` float64: for each sample the sum of KL, loss, hits and agreements over its tokens.
    counts
        ``(4, samples)`` float64: how many tokens each of these sums is over.
    """

    kl: float
    kl_stderr: float
    loss: float
    loss_stderr: float
    accuracy: float
    accuracy_stderr: float
    agreement: float
    agreement_stderr: float
    samples: int
    unit: str
    totals: NDArray[np.float64]
    counts: NDArray[np.float64]

    def kl_difference(self, other: Evaluation) -> tuple[float, float]:
        """How much larger this KL is than another one on the same samples.

        The difference is taken sample by sample. Both networks find the same samples hard, so its standard error is
        much smaller than those of the two figures suggest.

        Parameters
        ----------
        other
            An evaluation of another network on the same batches.

        Returns
        -------
        difference, stderr
            In `unit`.
        """
        with np.errstate(invalid="ignore"):  # two overflows: their difference is unknown
            return mean_and_error(self.totals[0] - other.totals[0], self.counts[0])


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
    scores, take = [], outputs.logits
    with evaluating(model), evaluating(reference), torch.no_grad():
        for batch in outputs.batches(batches, model):
            wanted = forward(reference, batch, take)
            scores.append(score(forward(model, batch, take), wanted, batch, outputs.distribution))
    return _summary(scores, unit(wanted))


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
        pairs = zip(logits, self._logits, self._batches, strict=True)
        scores = [score(own, wanted, batch, self.outputs.distribution) for own, wanted, batch in pairs]
        return _summary(scores, unit(self._logits[0]))


def _summary(scores: list[NDArray[np.float64]], measured_in: str) -> Evaluation:
    totals, counts = np.concatenate(scores, axis=2)
    for array in (totals, counts):
        array.setflags(write=False)
    kl, loss, accuracy, agreement = (mean_and_error(*pair) for pair in zip(totals, counts, strict=True))
    return Evaluation(*kl, *loss, *accuracy, *agreement, totals.shape[1], measured_in, totals, counts)


def mean_and_error(totals: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """Mean per token, and its standard error over samples, that of a ratio (Cochran, 1977, *Sampling Techniques*).

    Parameters
    ----------
    totals
        ``(samples,)`` float64, the sum over the tokens of each sample.
    counts
        ``(samples,)`` float64, how many tokens that is over.

    Returns
    -------
    mean, stderr
        nan where nothing counts, and for the error of a single sample.
    """
    tokens = counts.sum()
    if tokens == 0:
        return float("nan"), float("nan")
    mean = totals.sum() / tokens
    seen = int((counts > 0).sum())
    if seen < 2 or not np.isfinite(mean):
        return float(mean), float("nan")
    residual = totals - mean * counts
    return float(mean), float(np.sqrt(seen / (seen - 1) * (residual**2).sum()) / tokens)
