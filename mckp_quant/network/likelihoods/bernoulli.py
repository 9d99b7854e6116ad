"""Sigmoid outputs: independent yes or no answers, as for several labels at once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import InvalidInput
from ..labels import IGNORED_TARGET
from ..likelihood import not_padding, per_position, per_sample, rademacher, sign_of_terms, without_padding

if TYPE_CHECKING:
    from ..batch import Batch
    from ..likelihood import Draws


@dataclass(frozen=True)
class Bernoulli:
    """Logits of probabilities that do not have to sum to 1, their losses summed over outputs.

    ``(N, T, C)`` counts as sequences, per token; any other shape per sample. Targets have the shape of the logits, from
    0 to 1 (or bool); nan and `IGNORED_TARGET` do not count. ``S`` is diagonal, ``p (1 - p)``.
    """

    name: str = "bernoulli"

    def positions(self, logits: Tensor) -> int:
        """Tokens per sample."""
        return logits.shape[1] if logits.ndim == 3 else 1

    def mixes(self, logits: Tensor) -> bool:
        """Of tokens."""
        return self.positions(logits) > 1

    def counted(self, logits: Tensor, batch: Batch) -> Tensor:
        """What the keyword ``attention_mask`` does not call padding."""
        return not_padding(logits, batch, self.positions(logits))

    def curvature_probe(self, logits: Tensor, generator: Draws, batch: Batch | None = None) -> Tensor:
        """Rademacher signs times ``sqrt(p (1 - p))``."""
        z = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        deviation = (z.sigmoid() * (-z).sigmoid()).sqrt()
        return without_padding((deviation * rademacher(z, generator)).to(logits.dtype), batch)

    def divergence_gradient(self, logits: Tensor, wanted: Tensor, batch: Batch | None = None) -> Tensor:
        """The difference of the probabilities."""
        widest = torch.promote_types(logits.dtype, torch.float32)
        return (logits.to(widest).sigmoid() - wanted.to(widest).sigmoid()).to(logits.dtype)

    def mean_divergence(self, logits: Tensor, wanted: Tensor, batch: Batch) -> Tensor:
        """The Kullback-Leibler divergence in nats per sample or token."""
        return self.position_divergences(logits, wanted)[self.counted(logits, batch)].mean()

    def position_divergences(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The Kullback-Leibler divergence of every position."""
        p = wanted.sigmoid()
        yes, no = F.logsigmoid(wanted) - F.logsigmoid(logits), F.logsigmoid(-wanted) - F.logsigmoid(-logits)
        # An answer that the float network rules out adds nothing, whatever the other network thinks of it.
        return per_position((p * yes).where(p > 0, 0) + ((1 - p) * no).where(p < 1, 0))

    def mean_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy; raises InvalidInput for targets of another shape, or not from 0 to 1."""
        losses, known = self.position_losses(logits, targets)
        return losses.sum() / max(1, int(known.sum()))

    def position_losses(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Binary cross-entropies; raises InvalidInput as `mean_loss` does."""
        wanted, known = _answers(logits, targets)
        losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return per_position(losses.where(known, 0)), per_position(known) > 0

    def labelled(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Positions with any target that counts."""
        return (per_position(_answers(logits, targets)[1]) > 0).sum(dim=1).double().cpu()

    def signed_terms(self, gradient: Tensor, logits: Tensor, targets: Tensor, generator: Draws) -> tuple[Tensor, ...]:
        """An independent sign for every position."""
        return (gradient * sign_of_terms(gradient, self.positions(logits), generator),)

    def surprise(self, logits: Tensor, targets: Tensor | None) -> float:
        """Cross-entropy, or the entropy of the predictions; targets that do not fit count as none."""
        z = logits.detach().double()
        if targets is not None:
            with contextlib.suppress(InvalidInput):
                return float(self.mean_loss(z, targets))
        return float(per_position(F.binary_cross_entropy_with_logits(z, z.sigmoid(), reduction="none")).mean())

    def scores(self, logits: Tensor, reference: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Divergence, binary cross-entropy, and the share of answers that are right and that agree."""
        kl = self.position_divergences(logits, reference)
        agreement = _share((logits > 0) == (reference > 0), torch.ones_like(logits, dtype=torch.bool))
        counted = self.counted(logits, batch)
        every = counted.double()
        kl, agreement = kl.where(counted, 0), agreement * every
        loss, correct, labelled = torch.zeros_like(kl), torch.zeros_like(kl), torch.zeros_like(kl)
        if batch.targets is not None:
            wanted, known = _answers(logits, batch.targets)
            loss, answered = self.position_losses(logits, batch.targets)
            correct, labelled = _share((logits > 0) == (wanted > 0.5), known), answered.double()
        totals, counts = (kl, loss, correct, agreement), (every, labelled, labelled, every)
        return torch.stack([per_sample(total) for total in totals]), torch.stack(
            [per_sample(count) for count in counts]
        )


def _share(right: Tensor, known: Tensor) -> Tensor:
    """``(N, positions)`` float64: the share of the known answers of a position that are right; 0 where none is."""
    return per_position((right & known).double()) / per_position(known.double()).clamp(min=1)


def _answers(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Targets in the type of the logits, with 0 where they do not count, and where they do."""
    if targets.shape != logits.shape:
        raise InvalidInput(
            f"targets have the shape {tuple(targets.shape)}: for likelihood='bernoulli' it must be that of the logits, "
            f"{tuple(logits.shape)}"
        )
    wanted = targets.to(device=logits.device, dtype=logits.dtype)
    known = ~wanted.isnan() & (wanted != IGNORED_TARGET)
    outside = known & ~((wanted >= 0) & (wanted <= 1))
    if bool(outside.any()):
        raise InvalidInput(
            f"targets hold {float(wanted[outside][0]):g}: for likelihood='bernoulli' they must be from 0 to 1 "
            f"({IGNORED_TARGET} and nan do not count)"
        )
    return wanted.where(known, 0), known
