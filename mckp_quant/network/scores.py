"""Scores of a network's outputs against the float network's and against the targets, sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..errors import InvalidInput, unknown
from .labels import IGNORED_TARGET
from .likelihood import LIKELIHOODS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from .batch import Batch


def score(logits: Tensor, reference: Tensor, batch: Batch, likelihood: str) -> NDArray[np.float64]:
    """Score one batch, in float64: the KL of a good format is far below the resolution of float32 sums.

    Parameters
    ----------
    logits
        ``(samples, classes)`` or ``(samples, tokens, classes)`` of the network that is judged.
    reference
        The same of the float network.
    batch
        The batch that they are of, with its targets, if any: ``(samples, ...)`` class numbers, or for a gaussian
        likelihood as many numbers per sample as the network puts out.
    likelihood
        ``"categorical"`` or ``"gaussian"``.

    Returns
    -------
    scores
        ``(2, 4, samples)``: for KL, loss, correct predictions and agreement the total over the sample's tokens, and
        over how many tokens that is (0 where the batch does not tell).

    Raises
    ------
    InvalidInput
        When shapes disagree, the float network's logits are not finite, targets are out of range, or the likelihood is
        unknown.
    """
    if likelihood not in _SCORES:
        raise unknown("likelihood", likelihood, _SCORES)
    LIKELIHOODS[likelihood].positions(reference)  # refuses shapes that it gives no meaning to
    if logits.shape != reference.shape:
        raise InvalidInput(
            f"the logits of batch {batch.index} have the shape {tuple(logits.shape)}, those of the float network "
            f"{tuple(reference.shape)}: compare networks with the same outputs"
        )
    if bool((reference.isnan() | reference.isposinf()).any()):
        raise InvalidInput(
            f"the float network's logits of batch {batch.index} are not finite: its outputs mean nothing"
        )
    totals, counts = _SCORES[likelihood](logits.double(), reference.to(logits.device).double(), batch)
    # A quantised network may overflow: its divergence is then infinite, and a search goes on.
    return torch.stack([totals.nan_to_num(nan=torch.inf, posinf=torch.inf), counts]).cpu().numpy()


def _categorical(logits: Tensor, reference: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    wanted, own = reference.log_softmax(dim=-1), logits.log_softmax(dim=-1)
    likely = wanted.exp()
    # A class that the float network rules out adds nothing, whatever the other network thinks of it.
    kl = torch.where(likely > 0, likely * (wanted - own), 0).sum(dim=-1)
    agreement = (own.argmax(dim=-1) == wanted.argmax(dim=-1)).double()
    counted = batch.counted(logits)
    every = torch.ones_like(kl) if counted is None else counted.double()
    if counted is not None:  # outputs at padding do not count, not even where they overflow
        kl, agreement = kl.where(counted, 0), agreement * every
    if batch.targets is None:
        loss, correct, labelled = torch.zeros_like(kl), torch.zeros_like(kl), torch.zeros_like(kl)
    else:
        targets = _class_targets(batch, own)
        known = targets != IGNORED_TARGET
        chosen = own.gather(-1, targets.where(known, 0).unsqueeze(-1)).squeeze(-1)
        loss = torch.where(known, -chosen, 0)
        correct = (known & (own.argmax(dim=-1) == targets)).double()
        labelled = known.double()
    totals, counts = (kl, loss, correct, agreement), (every, labelled, labelled, every)
    return torch.stack([_per_sample(total) for total in totals]), torch.stack([_per_sample(count) for count in counts])


def _per_sample(tokens: Tensor) -> Tensor:
    return tokens.reshape(len(tokens), -1).sum(dim=1)


def _class_targets(batch: Batch, logits: Tensor) -> Tensor:
    assert batch.targets is not None
    targets = batch.targets.to(logits.device)
    if targets.is_floating_point() or targets.shape != logits.shape[:-1]:
        raise InvalidInput(
            f"batch {batch.index} has {targets.dtype} targets of shape {tuple(targets.shape)}: for logits of shape "
            f"{tuple(logits.shape)} they must be class numbers of shape {tuple(logits.shape[:-1])}"
        )
    targets = targets.long()
    classes = logits.shape[-1]
    wrong = (targets != IGNORED_TARGET) & ((targets < 0) | (targets >= classes))
    if bool(wrong.any()):
        raise InvalidInput(
            f"batch {batch.index} has the target {int(targets[wrong][0])}: class numbers go from 0 to {classes - 1} "
            f"({IGNORED_TARGET} does not count)"
        )
    return targets


def _gaussian(logits: Tensor, reference: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    kl = _half_squared(logits - reference)
    none = torch.zeros_like(kl)
    every = torch.full_like(kl, LIKELIHOODS["gaussian"].positions(logits))
    if batch.targets is None:
        return torch.stack([kl, none, none, none]), torch.stack([every, none, none, none])
    if batch.targets.shape != logits.shape:
        raise InvalidInput(
            f"batch {batch.index} has targets of shape {tuple(batch.targets.shape)}: for likelihood='gaussian' it must "
            f"be that of the outputs, {tuple(logits.shape)}"
        )
    loss = _half_squared(logits - batch.targets.to(logits))
    return torch.stack([kl, loss, none, none]), torch.stack([every, every, none, none])


def _half_squared(difference: Tensor) -> Tensor:
    return _per_sample(difference.square()) / 2


_SCORES = {"categorical": _categorical, "gaussian": _gaussian}
