"""Matches the features of a quantised network to those of the float network, on average."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..common.renamed import OUTPUTS, renamed_keywords
from ..errors import InvalidInput
from ..evaluation.evaluator import Evaluator
from ..network.batches import as_batch
from ..network.outputs import Outputs
from .features import FeatureMatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..network.batch import Batch

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class Matched:
    """A quantised network whose features were matched to those of the float network.

    Attributes
    ----------
    model
        A copy of the quantised network with other biases and normalisations; weights are as they were.
    original
        The quantised network that was given, untouched.
    strength
        How much of the difference between the features was taken away, one of `STRENGTHS`: 0 where nothing helped.
    before, after
        Divergence from the float network on halves of the data that the correction had not seen.
    corrected
        The names of the modules that were changed; empty for strength 0.
    """

    model: nn.Module
    original: nn.Module
    strength: float
    before: float
    after: float
    corrected: tuple[str, ...]


@renamed_keywords(**OUTPUTS)
def match_features(
    model: nn.Module, reference: nn.Module, batches: Iterable[object], *, outputs: Outputs = Outputs()
) -> Matched:
    """Make the features of a quantised network agree with those of the float network, on average.

    After EvoQ (Yuan, Chen, Hu and Peng, 2020), which calibrates outputs and intermediate features on the search's own
    samples; how is not public. Here every normalisation gets the scale and shift at which each channel has the float
    network's mean and spread on the same samples. Every layer that does not feed a normalisation gets the bias at which
    it has the float network's mean; where it has no bias, one is added. Corrections are made from the input to the
    output, each with those before it in place, in one pass in which all batches go through the network side by side; a
    module that is called several times is corrected for its first call. How much of them is applied, in `STRENGTHS`, is
    chosen by cross-validation: fitted on one half of the samples and judged on the other, both ways. Where nothing
    helps, nothing is done.

    Parameters
    ----------
    model
        The quantised network, such as `apply` makes; it is left as it was.
    reference
        The float network; it is left as it was.
    batches
        At least two, or one tensor of several samples. Targets are not used.
    outputs
        What both networks return, and what their numbers mean.

    Returns
    -------
    matched
        With a corrected copy.

    Raises
    ------
    InvalidInput
        When there is not enough to cross-validate, or the two networks do not have the same modules.
    """
    data, take = list(outputs.batches(batches, model)), outputs.logits
    if list(dict(model.named_modules())) != list(dict(reference.named_modules())):
        raise InvalidInput("the two networks have different modules: match a network to the one that it came from")
    halves = _halves(data)
    worth = dict.fromkeys(STRENGTHS, 0.0)
    for fit, judge in (halves, halves[::-1]):
        evaluator = Evaluator(reference, judge, outputs=dataclasses.replace(outputs, metric=None))
        for strength in STRENGTHS:
            made, _ = _corrected(model, reference, fit, strength, take)
            worth[strength] += evaluator.evaluate_model(made).kl / 2
    best = min(STRENGTHS, key=worth.__getitem__)
    made, names = _corrected(model, reference, data, best, take)
    return Matched(made, model, best, worth[0.0], worth[best], names)


def _halves(data: Sequence[Batch]) -> tuple[list[Batch], list[Batch]]:
    """Every other batch, and the others; a single batch is cut in the middle."""
    if len(data) > 1:
        return list(data[::2]), list(data[1::2])
    (batch,) = data
    if batch.size < 2 or not isinstance(batch.inputs, Tensor):
        raise InvalidInput(
            "features are matched on some samples and judged on others: give at least two batches, or one tensor of "
            "several samples"
        )
    middle = batch.size // 2
    return [as_batch(batch.inputs[:middle])], [as_batch(batch.inputs[middle:])]


def _corrected(
    model: nn.Module,
    reference: nn.Module,
    data: Sequence[Batch],
    strength: float,
    take: Callable[..., object] | None,
) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy with this much of the correction, and the names of what was changed."""
    made = copy.deepcopy(model)
    if not strength:
        return made, ()
    return made, FeatureMatch(reference, data, take).correct(made, strength, strength)
