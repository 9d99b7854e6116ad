"""Class logits: a softmax, cross-entropy, and the Kullback-Leibler divergence between distributions over classes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import InvalidInput
from ..labels import IGNORED_TARGET
from ..likelihood import not_padding, per_sample, rademacher, sign_of_terms, without_padding

if TYPE_CHECKING:
    from ..batch import Batch
    from ..likelihood import Draws


@dataclass(frozen=True)
class Categorical:
    """Class scores ``(N, C)``, or ``(N, T, C)`` for sequences; targets are class indices ``(N,)`` or ``(N, T)``."""

    name: str = "categorical"

    def positions(self, logits: Tensor) -> int:
        """Tokens per sample; raises InvalidInput for logits of other dimensions."""
        if logits.ndim not in {2, 3} or logits.shape[-1] < 2:
            raise InvalidInput(
                f"categorical logits have the shape {tuple(logits.shape)}: they must be (samples, classes) or "
                "(samples, tokens, classes) with at least 2 classes; for dense outputs (N, C, H, W) write "
                "outputs=Outputs(class_dim=1), for regression Outputs(likelihood='gaussian')"
            )
        return logits.shape[1] if logits.ndim == 3 else 1

    def mixes(self, logits: Tensor) -> bool:
        """Of tokens."""
        return self.positions(logits) > 1

    def counted(self, logits: Tensor, batch: Batch) -> Tensor:
        """What the keyword ``attention_mask`` does not call padding."""
        return not_padding(logits, batch, self.positions(logits))

    def curvature_probe(self, logits: Tensor, generator: Draws, batch: Batch | None = None) -> Tensor:
        """``v = A r`` with Rademacher ``r``, ``A = diag(s) - p s'`` and ``s = sqrt(p)``.

        ``A A' = diag(p) - p p' = S`` since ``s . s = 1``. With one position a sample the signs are turned first, see
        `_turned`; in sequences the noise comes from products between tokens, and turning would save nothing.
        """
        logits = logits.detach()
        p = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
        signs = rademacher(p, generator)
        vectors = _factor(p, _turned(p, signs) if logits.ndim == 2 else signs).to(logits.dtype)
        return without_padding(vectors, batch)

    def divergence_gradient(self, logits: Tensor, wanted: Tensor, batch: Batch | None = None) -> Tensor:
        """``q - p``, the probabilities of both."""
        widest = torch.promote_types(logits.dtype, torch.float32)
        return (logits.to(widest).softmax(dim=-1) - wanted.to(widest).softmax(dim=-1)).to(logits.dtype)

    def mean_divergence(self, logits: Tensor, wanted: Tensor, batch: Batch) -> Tensor:
        """The Kullback-Leibler divergence in nats per sample or token."""
        each = self.position_divergences(logits, wanted)
        counted = batch.counted(logits)
        return each.mean() if counted is None else each[counted].mean()

    def position_divergences(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The Kullback-Leibler divergence of every position."""
        own, target = logits.log_softmax(dim=-1), wanted.log_softmax(dim=-1)
        each = F.kl_div(own, target, reduction="none", log_target=True).sum(dim=-1)
        return each.reshape(len(each), -1)

    def mean_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy; raises InvalidInput for targets that are no class indices of the right shape."""
        self._check(logits, targets)
        return F.cross_entropy(logits.flatten(0, -2), targets.to(logits.device).flatten(), ignore_index=IGNORED_TARGET)

    def position_losses(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropies; raises InvalidInput as `mean_loss` does."""
        self._check(logits, targets)
        own = targets.to(logits.device).flatten()
        losses = F.cross_entropy(logits.flatten(0, -2), own, ignore_index=IGNORED_TARGET, reduction="none")
        return losses.reshape(len(logits), -1), (own != IGNORED_TARGET).reshape(len(logits), -1)

    def _check(self, logits: Tensor, targets: Tensor) -> None:
        self.positions(logits)
        expected = tuple(logits.shape[:-1])
        if targets.is_floating_point() or tuple(targets.shape) != expected:
            raise InvalidInput(
                f"targets are {targets.dtype} of shape {tuple(targets.shape)}: for logits of shape "
                f"{tuple(logits.shape)} they must be whole class numbers of shape {expected}"
            )
        classes = logits.shape[-1]
        outside = ((targets < 0) | (targets >= classes)) & (targets != IGNORED_TARGET)
        if bool(outside.any()):
            raise InvalidInput(f"targets hold the class {int(targets[outside][0])}: the model has {classes} classes")

    def labelled(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Targets other than `IGNORED_TARGET`."""
        return (targets != IGNORED_TARGET).reshape(len(targets), -1).sum(dim=1).double().cpu()

    def signed_terms(self, gradient: Tensor, logits: Tensor, targets: Tensor, generator: Draws) -> tuple[Tensor, ...]:
        """An independent sign for every position."""
        return (gradient * sign_of_terms(gradient, self.positions(logits), generator),)

    def surprise(self, logits: Tensor, targets: Tensor | None) -> float:
        """Cross-entropy, or the entropy of the predictions; targets that do not fit count as none."""
        with torch.no_grad():
            if targets is not None:
                with contextlib.suppress(InvalidInput):
                    return float(self.mean_loss(logits.double(), targets))
            log_p = logits.double().log_softmax(dim=-1)
            return float(torch.special.entr(log_p.exp()).sum(dim=-1).mean())

    def scores(self, logits: Tensor, reference: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Divergence, cross-entropy, hits of the largest logit, and agreement with the reference."""
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
        return torch.stack([per_sample(total) for total in totals]), torch.stack(
            [per_sample(count) for count in counts]
        )


def _factor(p: Tensor, x: Tensor) -> Tensor:
    """``A x`` along the last dimension."""
    scaled = p.sqrt() * x
    return scaled - p * scaled.sum(dim=-1, keepdim=True)


def _factor_transposed(p: Tensor, x: Tensor) -> Tensor:
    """``A' x`` along the last dimension."""
    return p.sqrt() * (x - (p * x).sum(dim=-1, keepdim=True))


def _turned(p: Tensor, signs: Tensor) -> Tensor:
    """``Q r``, with an orthogonal ``Q`` that leaves ``A Q Q' A' = S`` and takes away variance.

    The square of ``u' A Q r`` varies only by the products of different columns of ``A Q``, so one column should carry
    as much of ``S`` as it can. ``Q`` is the Householder reflection (1958, *Unitary triangularization of a nonsymmetric
    matrix*) that makes one column the leading eigenvector of ``S``, nearly: one power step from the difference of the
    two likeliest classes. A sample that wavers between two classes then has next to no noise. Inexact directions cost
    variance, never a bias.
    """
    best, second = p.topk(2, dim=-1).indices.split(1, dim=-1)
    likeliest = torch.zeros_like(p).scatter_(-1, best, 1).scatter_(-1, second, -1)
    leading = F.normalize(_factor_transposed(p, likeliest), dim=-1)
    leading = F.normalize(_factor_transposed(p, _factor(p, leading)), dim=-1)
    nearest = leading.abs().argmax(dim=-1, keepdim=True)
    upwards = torch.where(leading.gather(-1, nearest) < 0, -1.0, 1.0).to(p.dtype)
    mirror = F.normalize(leading.scatter_add(-1, nearest, upwards), dim=-1)
    return signs - 2 * mirror * (mirror * signs).sum(dim=-1, keepdim=True)


def _class_targets(batch: Batch, logits: Tensor) -> Tensor:
    assert batch.targets is not None
    targets: Tensor = batch.targets.to(logits.device)
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
