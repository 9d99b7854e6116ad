"""Several heads: their losses and divergences added up with weights, sample by sample."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import InvalidInput
from ..likelihood import sign_of_terms
from ..logits import spread

if TYPE_CHECKING:
    from ..batch import Batch
    from ..likelihood import Draws, OneHead


@dataclass(frozen=True)
class Head:
    """One head.

    Attributes
    ----------
    name
        For messages.
    likelihood
        What its logits mean.
    weight
        What its mean over positions counts in the sum.
    """

    name: str
    likelihood: OneHead
    weight: float


@dataclass(frozen=True)
class Several:
    """Heads that are independent given the network's input: the loss of a sample is the weighted sum of theirs.

    Of a head with positions, the mean over those positions of the sample counts that are no padding (or, for the loss,
    have a target). So a sample is one term, and the curvature ``S`` is block-diagonal over heads and positions.

    Attributes
    ----------
    heads
        In the order of the logits and of the targets.
    """

    heads: tuple[Head, ...]

    @property
    def name(self) -> str:
        """The heads' likelihoods, with the weights that are not 1."""
        return " + ".join(
            each.likelihood.name if each.weight == 1 else f"{each.weight:g} {each.likelihood.name}"
            for each in self.heads
        )

    def positions(self, logits: tuple[Tensor, ...]) -> int:
        """One; raises InvalidInput for logits that a head's likelihood gives no meaning to."""
        for each, own in zip(self.heads, logits, strict=True):
            try:
                each.likelihood.positions(own)
            except InvalidInput as error:
                raise InvalidInput(f"head {each.name!r}: {error}") from error
        return 1

    def mixes(self, logits: tuple[Tensor, ...]) -> bool:
        """Of the positions of any head; heads are sent back one by one."""
        return any(each.likelihood.mixes(own) for each, own in zip(self.heads, logits, strict=True))

    def counted(self, logits: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Samples of which any position of any head counts."""
        found = [each.likelihood.counted(own, batch).any(dim=1, keepdim=True) for each, own in self._with(logits)]
        return torch.stack(found).any(dim=0)

    def curvature_probe(
        self, logits: tuple[Tensor, ...], generator: Draws, batch: Batch | None = None
    ) -> tuple[Tensor, ...]:
        """The heads' own, independent, each times the root of what a position counts."""
        return tuple(
            each.likelihood.curvature_probe(own, generator) * spread(share, own).sqrt()
            for (each, own), share in zip(self._with(logits), self._shares(logits, batch), strict=True)
        )

    def divergence_gradient(
        self, logits: tuple[Tensor, ...], wanted: tuple[Tensor, ...], batch: Batch | None = None
    ) -> tuple[Tensor, ...]:
        """The heads' own, each times what a position counts."""
        return tuple(
            each.likelihood.divergence_gradient(own, goal) * spread(share, own)
            for (each, own), goal, share in zip(self._with(logits), wanted, self._shares(logits, batch), strict=True)
        )

    def mean_divergence(self, logits: tuple[Tensor, ...], wanted: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """The weighted sum of the heads' divergences, in nats per sample; samples of padding alone do not count."""
        parts = [
            # What padding overflows to must not reach the sum.
            (each.likelihood.position_divergences(own, goal).where(share > 0, 0) * share).sum(dim=1)
            for (each, own), goal, share in zip(self._with(logits), wanted, self._shares(logits, batch), strict=True)
        ]
        return torch.stack(parts).sum(dim=0)[self.counted(logits, batch)[:, 0]].mean()

    def mean_loss(self, logits: tuple[Tensor, ...], targets: tuple[Tensor | None, ...]) -> Tensor:
        """The weighted sum of the heads' losses, over the samples with any target; raises InvalidInput without some."""
        parts, seen = [], []
        for (each, own), (losses, known) in zip(self._with(logits), self._losses(logits, targets), strict=True):
            parts.append((losses * _share(each.weight, known.to(losses))).sum())
            seen.append(known.any(dim=1).to(own.device))
        return torch.stack(parts).sum() / max(1, int(torch.stack(seen).any(dim=0).sum()))

    def labelled(self, logits: tuple[Tensor, ...], targets: tuple[Tensor | None, ...]) -> Tensor:
        """One for every sample of which any head has a target that counts."""
        own = [
            each.likelihood.labelled(own, self._target(each, goal)) > 0
            for (each, own), goal in zip(self._with(logits), targets, strict=True)
        ]
        return torch.stack(own).any(dim=0).double()

    def signed_terms(
        self,
        gradient: tuple[Tensor, ...],
        logits: tuple[Tensor, ...],
        targets: tuple[Tensor | None, ...],
        generator: Draws,
    ) -> tuple[tuple[Tensor, ...], ...]:
        """One vector for all heads, a sign for every position; where each head has one position, a vector for each."""
        signed = []
        for (each, own), slope, (_, known) in zip(
            self._with(logits), gradient, self._losses(logits, targets), strict=True
        ):
            share = _share(each.weight, known.to(slope))
            root = share.rsqrt().where(share > 0, 0)  # the gradient has the share already
            signs = sign_of_terms(slope, each.likelihood.positions(own), generator)
            signed.append(slope * spread(root, own) * signs)
        if self.mixes(logits):
            return (tuple(signed),)
        return tuple(
            tuple(own if at == place else torch.zeros_like(own) for at, own in enumerate(signed))
            for place in range(len(signed))
        )

    def surprise(self, logits: tuple[Tensor, ...], targets: tuple[Tensor | None, ...] | None) -> float:
        """The mean over those heads for which it means something."""
        goals = (None,) * len(self.heads) if targets is None else targets
        found = [
            each.likelihood.surprise(own, goal) for (each, own), goal in zip(self._with(logits), goals, strict=True)
        ]
        known = [each for each in found if not math.isnan(each)]
        return sum(known) / len(known) if known else math.nan

    def scores(self, logits: tuple[Tensor, ...], reference: tuple[Tensor, ...], batch: Batch) -> tuple[Tensor, Tensor]:
        """Weighted sums of KL and loss over heads; hits and agreements are means over the heads that know them.

        The loss is known where all heads have targets.
        """
        goals = (None,) * len(self.heads) if batch.targets is None else batch.targets
        means, known = [], []
        for (each, own), wanted, goal in zip(self._with(logits), reference, goals, strict=True):
            try:
                totals, counts = each.likelihood.scores(own, wanted, dataclasses.replace(batch, targets=goal))
            except InvalidInput as error:
                raise InvalidInput(f"head {each.name!r}: {error}") from error
            means.append((totals / counts.clamp(min=1)).cpu())
            known.append((counts > 0).cpu())
        values, there = torch.stack(means), torch.stack(known)  # (heads, 4, samples)
        weights = torch.tensor([each.weight for each in self.heads], dtype=torch.float64)
        summed = (weights[:, None, None] * values).sum(dim=0)
        averaged = values.where(there, 0).sum(dim=0) / there.sum(dim=0).clamp(min=1)
        counts = there.any(dim=0).double()
        if any(goal is None for goal in goals):
            counts[1] = 0
            summed[1] = 0
        return torch.cat([summed[:2], averaged[2:]]), counts

    def _with(self, logits: tuple[Tensor, ...]) -> list[tuple[Head, Tensor]]:
        return list(zip(self.heads, logits, strict=True))

    def _shares(self, logits: tuple[Tensor, ...], batch: Batch | None) -> list[Tensor]:
        """For each head ``(N, positions)``: what the position counts in the divergence of its sample."""
        shares = []
        for each, own in self._with(logits):
            positions = each.likelihood.positions(own)
            counted = own.new_ones(len(own), positions)
            if batch is not None:
                counted = each.likelihood.counted(own, batch).to(counted)
            shares.append(_share(each.weight, counted))
        return shares

    def _losses(self, logits: tuple[Tensor, ...], targets: tuple[Tensor | None, ...]) -> list[tuple[Tensor, Tensor]]:
        found = []
        for (each, own), goal in zip(self._with(logits), targets, strict=True):
            try:
                found.append(each.likelihood.position_losses(own, self._target(each, goal)))
            except InvalidInput as error:
                raise InvalidInput(f"head {each.name!r}: {error}") from error
        return found

    def _target(self, head: Head, target: Tensor | None) -> Tensor:
        if target is None:
            raise InvalidInput(f"head {head.name!r} has no targets, and the loss is the sum over all heads: give them")
        return target


def _share(weight: float, counted: Tensor) -> Tensor:
    """``(N, positions)``: a head's weight, divided evenly among the positions of each sample that count."""
    return weight * counted / counted.sum(dim=1, keepdim=True).clamp(min=1)
