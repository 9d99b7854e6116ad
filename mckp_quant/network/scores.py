"""Scores of a network's outputs against the float network's and against the targets, sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..errors import InvalidInput
from .logits import heads_of, mapped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .batch import Batch
    from .likelihood import Likelihood
    from .logits import Logits


def score(logits: Logits, reference: Logits, batch: Batch, likelihood: Likelihood) -> NDArray[np.float64]:
    """Score one batch, in float64: the KL of a good format is far below the resolution of float32 sums.

    Parameters
    ----------
    logits
        ``(samples, classes)`` or ``(samples, tokens, classes)`` of the network that is judged; of several heads a
        tuple.
    reference
        The same of the float network.
    batch
        The batch that they are of, with its targets, if any, as the likelihood takes them.
    likelihood
        What the logits mean.

    Returns
    -------
    scores
        ``(2, 4, samples)``: for KL, loss, correct predictions and agreement the total over the sample's tokens, and
        over how many tokens that is (0 where the batch does not tell); both times the batch's weight.

    Raises
    ------
    InvalidInput
        When shapes disagree, the float network's logits are not finite, or targets are out of range.
    """
    likelihood.positions(reference)  # refuses shapes that it gives no meaning to
    for own, wanted in zip(heads_of(logits), heads_of(reference), strict=True):
        if own.shape != wanted.shape:
            raise InvalidInput(
                f"the logits of batch {batch.index} have the shape {tuple(own.shape)}, those of the float network "
                f"{tuple(wanted.shape)}: compare networks with the same outputs"
            )
        if bool((wanted.isnan() | wanted.isposinf()).any()):
            raise InvalidInput(
                f"the float network's logits of batch {batch.index} are not finite: its outputs mean nothing"
            )
    wide = mapped(lambda own, wanted: wanted.to(own.device).double(), logits, reference)
    totals, counts = likelihood.scores(mapped(lambda own: own.double(), logits), wide, batch)
    # A quantised network may overflow: its divergence is then infinite, and a search goes on.
    found = torch.stack([totals.nan_to_num(nan=torch.inf, posinf=torch.inf), counts])
    return (found if batch.weight == 1 else found * batch.weight).cpu().numpy()
