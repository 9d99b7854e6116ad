"""Regression: the means of a Gaussian of unit variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import InvalidInput
from ..likelihood import per_position, per_sample, rademacher, sign_of_terms

if TYPE_CHECKING:
    from ..batch import Batch
    from ..likelihood import Draws


@dataclass(frozen=True)
class Gaussian:
    """Means of a Gaussian of unit variance: half the squared error, summed over outputs.

    ``(N, T, C)`` counts as sequences, per token; any other shape per sample. ``S`` is the identity. Targets have the
    shape of the outputs; nan among them does not count.
    """

    name: str = "gaussian"

    def positions(self, logits: Tensor) -> int:
        """Tokens per sample."""
        return logits.shape[1] if logits.ndim == 3 else 1

    def mixes(self, logits: Tensor) -> bool:
        """Of tokens."""
        return self.positions(logits) > 1

    def counted(self, logits: Tensor, batch: Batch) -> Tensor:
        """All positions."""
        return torch.ones(len(logits), self.positions(logits), dtype=torch.bool, device=logits.device)

    def curvature_probe(self, logits: Tensor, generator: Draws, batch: Batch | None = None) -> Tensor:
        """Rademacher signs."""
        return rademacher(logits, generator)

    def divergence_gradient(self, logits: Tensor, wanted: Tensor, batch: Batch | None = None) -> Tensor:
        """The difference of the means."""
        return logits - wanted

    def mean_divergence(self, logits: Tensor, wanted: Tensor, batch: Batch) -> Tensor:
        """Half the squared distance of a sample."""
        return (logits - wanted).flatten(1).square().sum(dim=1).mean() / 2

    def position_divergences(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Half the squared distance at every position."""
        return per_position((logits - wanted).square()) / 2

    def mean_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Half the squared error; raises InvalidInput for targets of another shape."""
        self._check(logits, targets)
        if bool(targets.isnan().any()):
            losses, known = self.position_losses(logits, targets)
            return losses.sum() / max(1, int(known.sum()))
        error = logits - targets.to(device=logits.device, dtype=logits.dtype)
        return error.square().sum() / (2 * len(logits) * self.positions(logits))

    def position_losses(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Half the squared errors; raises InvalidInput as `mean_loss` does."""
        self._check(logits, targets)
        wanted = targets.to(device=logits.device, dtype=logits.dtype)
        known = ~wanted.isnan()
        losses = per_position((logits - wanted.where(known, 0)).square().where(known, 0)) / 2
        return losses, per_position(known) > 0

    def _check(self, logits: Tensor, targets: Tensor) -> None:
        if targets.shape != logits.shape:
            raise InvalidInput(
                f"targets have the shape {tuple(targets.shape)}: for likelihood='gaussian' it must be that of the "
                f"outputs, {tuple(logits.shape)}"
            )

    def labelled(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Positions with a target that is not nan."""
        self._check(logits, targets)
        return (per_position(~targets.isnan()) > 0).sum(dim=1).double().cpu()

    def signed_terms(self, gradient: Tensor, logits: Tensor, targets: Tensor, generator: Draws) -> tuple[Tensor, ...]:
        """An independent sign for every position."""
        return (gradient * sign_of_terms(gradient, self.positions(logits), generator),)

    def surprise(self, logits: Tensor, targets: Tensor | None) -> float:
        """Nothing: a squared error has no scale of its own."""
        return float("nan")

    def scores(self, logits: Tensor, reference: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Half the squared distances from the reference and from the targets; nothing is hit or agrees."""
        kl = per_sample((logits - reference).square()) / 2
        none = torch.zeros_like(kl)
        every = torch.full_like(kl, self.positions(logits))
        if batch.targets is None:
            return torch.stack([kl, none, none, none]), torch.stack([every, none, none, none])
        if batch.targets.shape != logits.shape:
            raise InvalidInput(
                f"batch {batch.index} has targets of shape {tuple(batch.targets.shape)}: for likelihood='gaussian' it "
                f"must be that of the outputs, {tuple(logits.shape)}"
            )
        targets = batch.targets.to(logits)
        known = ~targets.isnan()
        loss = per_sample((logits - targets).square().where(known, 0)) / 2
        labelled = (per_position(known) > 0).sum(dim=1).to(kl)
        return torch.stack([kl, loss, none, none]), torch.stack([every, labelled, none, none])
