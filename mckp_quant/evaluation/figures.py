"""What is measured of a network against the float one: KL, loss, accuracy, the caller's own figure; with errors."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ..errors import InvalidInput, unknown
from .face import evaluation_face

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..common.display import Face
    from ..network.batch import Batch
    from ..network.logits import Logits
    from ..network.outputs import Outputs

ROWS = {"kl": 0, "loss": 1, "accuracy": 2, "agreement": 3}  # of the arrays of an evaluation
_FIGURES = (*ROWS, "perplexity", "metric")


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
        ``(4, samples)`` float64: how many tokens each of these sums is over. Where the batches have weights, both are
        multiples of them.
    metric, metric_stderr
        Mean of the caller's own figure, see `Outputs`; needs targets.
    metric_name
        What it is called; empty where none was asked for.
    metric_values
        ``(samples,)`` float64: it, sample by sample; nan where it has no value.

    Of several heads KL and loss are weighted sums, and accuracy and agreement means over the heads that have them.
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
    metric: float = math.nan
    metric_stderr: float = math.nan
    metric_name: str = ""
    metric_values: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        """The figures that there are, in a few lines."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        return self._face().html()

    def _face(self) -> Face:
        names = {name: name for name in _FIGURES} | {"metric": self.metric_name}
        figures = [(shown, getattr(self, name), getattr(self, f"{name}_stderr")) for name, shown in names.items()]
        return evaluation_face(self.samples, self.unit, figures)

    @property
    def perplexity(self) -> float:
        """``exp(loss)`` of a network with class logits for every token, such as a language model; nan of others."""
        known = self.unit == "nats per token" and not math.isnan(self.accuracy)
        return float(np.exp(self.loss)) if known else math.nan

    @property
    def perplexity_stderr(self) -> float:
        """Its standard error, to first order."""
        return self.perplexity * self.loss_stderr

    def difference(self, other: Evaluation, figure: str) -> tuple[float, float]:
        """How much larger a figure is than that of another network on the same samples, with its paired error.

        Parameters
        ----------
        other
            An evaluation of another network on the same batches.
        figure
            ``"kl"``, ``"loss"``, ``"accuracy"``, ``"agreement"``, ``"perplexity"`` or ``"metric"``.

        Returns
        -------
        difference, stderr
            In the figure's unit; the error is over samples, taken pair by pair as in `kl_difference`, and that of a
            perplexity to first order. nan where either network lacks the figure.

        Raises
        ------
        InvalidInput
            When the figure is unknown, or the evaluations are of other numbers of samples.
        """
        if figure not in _FIGURES:
            raise unknown("figure", figure, _FIGURES)
        if self.samples != other.samples:
            raise InvalidInput(
                f"the evaluations are of {self.samples} and of {other.samples} samples: compare two on the same batches"
            )
        if figure == "metric":
            if self.metric_values is None or other.metric_values is None:
                return math.nan, math.nan
            return _of_values(self.metric_values - other.metric_values)
        row = ROWS["loss" if figure == "perplexity" else figure]
        with np.errstate(invalid="ignore"):  # two overflows: their difference is unknown
            if figure != "perplexity":
                return mean_and_error(self.totals[row] - other.totals[row], self.counts[row])
            slopes = [each.perplexity * (each.totals[row] - each.loss * each.counts[row]) for each in (self, other)]
            _, error = mean_and_error(slopes[0] - slopes[1], self.counts[row])
            return self.perplexity - other.perplexity, error

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
        return self.difference(other, "kl")


def judged(outputs: Outputs, logits: Logits, batch: Batch) -> NDArray[np.float64]:
    """``(samples,)`` the caller's figure on one batch; nan where there are no targets, or no figure is asked for."""
    if outputs.metric is None or batch.targets is None:
        return np.full(batch.size, math.nan)
    name = outputs.metric_name
    try:
        found: object = outputs.metric(logits, batch.targets)
    except Exception as error:
        raise InvalidInput(
            f"metric {name!r} failed on batch {batch.index}: {type(error).__name__}: {error}; it is called with the "
            "logits and the targets of a batch"
        ) from error
    if not isinstance(found, Tensor) or tuple(found.shape) != (batch.size,):
        what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"type {type(found).__name__}"
        raise InvalidInput(
            f"metric {name!r} returned a result of {what} for the {batch.size} samples of batch {batch.index}: it must "
            f"return a tensor with one number for each, of shape ({batch.size},)"
        )
    return found.detach().double().cpu().numpy()


def _of_values(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard error over samples; those without a value do not count."""
    known = np.isfinite(values)
    return mean_and_error(np.where(known, values, 0), known.astype(np.float64))


def summary(
    scores: list[NDArray[np.float64]], measured_in: str, outputs: Outputs, values: list[NDArray[np.float64]]
) -> Evaluation:
    """Put the scores of batches, see `score`, and the caller's figures on them into one evaluation."""
    totals, counts = np.concatenate(scores, axis=2)
    for array in (totals, counts):
        array.setflags(write=False)
    kl, loss, accuracy, agreement = (mean_and_error(*pair) for pair in zip(totals, counts, strict=True))
    found = Evaluation(*kl, *loss, *accuracy, *agreement, totals.shape[1], measured_in, totals, counts)
    if outputs.metric is None:
        return found
    own = np.concatenate(values)
    own.setflags(write=False)
    metric, stderr = _of_values(own)
    return dataclasses.replace(
        found, metric=metric, metric_stderr=stderr, metric_name=outputs.metric_name, metric_values=own
    )


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
