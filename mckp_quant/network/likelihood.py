"""What the outputs of a network mean: the loss, and random vectors with the covariance of its curvature."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .batch import Batch
    from .logits import Logits


@dataclass(frozen=True, eq=False)
class SampleDraws:
    """A stream of random numbers for every sample of a batch, whatever batch the sample is in.

    Attributes
    ----------
    generators
        One for each sample.
    """

    generators: tuple[torch.Generator, ...]

    @classmethod
    def of(cls, seed: int, first: int, count: int) -> SampleDraws:
        """Those of `count` samples, the first of which has the number `first` among all samples."""
        return cls(tuple(torch.Generator().manual_seed(sample_seed(seed, first + at)) for at in range(count)))


Draws: TypeAlias = torch.Generator | SampleDraws


def sample_seed(seed: int, number: int) -> int:
    """A seed for the sample of this number: neighbours share nothing, as they would with ``seed + number``."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:8], "big") >> 1


class Likelihood(Protocol):
    """The distribution of the targets given the logits ``z``, with ``S`` the Hessian of its loss in ``z``.

    Logits are one tensor, or for a network of several heads a tuple; so are its targets, and vectors of their shape.
    The loss of a sample is the mean over its positions; of several heads it is their weighted sum, and the sample has
    one position.
    """

    @property
    def name(self) -> str:
        """Its name in `LIKELIHOODS`; of several heads theirs."""
        ...

    def positions(self, logits: Logits) -> int:
        """How many terms the loss of one sample averages: 1, or the tokens of a sequence."""
        ...

    def mixes(self, logits: Logits) -> bool:
        """Whether one backward pass adds up the gradients of several terms of a sample's loss."""
        ...

    def counted(self, logits: Logits, batch: Batch) -> Tensor:
        """``(N, positions)`` bool on the logits' device: which positions are no padding."""
        ...

    def curvature_probe(self, logits: Logits, generator: Draws, batch: Batch | None = None) -> Logits:
        """Random ``v`` of the shape of the logits with ``E[v] = 0`` and ``E[v v'] = S``, independent per position.

        Where a batch is given, it is zero at the batch's padding.
        """
        ...

    def divergence_gradient(self, logits: Logits, wanted: Logits, batch: Batch | None = None) -> Logits:
        """The gradient in `logits` of every position's divergence from the distribution that `wanted` stands for."""
        ...

    def mean_divergence(self, logits: Logits, wanted: Logits, batch: Batch) -> Tensor:
        """The mean of that divergence over samples and positions, padding left out: a scalar with gradient."""
        ...

    def mean_loss(self, logits: Logits, targets: Logits) -> Tensor:
        """The mean over samples and positions of the negative log-likelihood in nats: a scalar."""
        ...

    def labelled(self, logits: Logits, targets: Logits) -> Tensor:
        """``(N,)`` float64 on the CPU: how many positions of each sample have a target that counts."""
        ...

    def signed_terms(self, gradient: Logits, logits: Logits, targets: Logits, generator: Draws) -> tuple[Logits, ...]:
        """Vectors whose squared products, added up, have the sum of the terms' squared products as their mean.

        `gradient` is that of the loss of every sample, times its positions.
        """
        ...

    def surprise(self, logits: Logits, targets: Logits | None) -> float:
        """The mean loss, or without targets the one that the network itself expects; nan where that means nothing."""
        ...

    def scores(self, logits: Logits, reference: Logits, batch: Batch) -> tuple[Tensor, Tensor]:
        """Totals and counts, see `score`: both ``(4, N)`` float64, from logits in float64."""
        ...


class OneHead(Likelihood, Protocol):
    """A likelihood of one head, whose logits are a tensor: what a sum of several is made of."""

    def position_divergences(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """``(N, positions)``, with gradient."""
        ...

    def position_losses(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Losses with gradient, 0 where no target counts; and where one does, bool. Both ``(N, positions)``."""
        ...


def unit(logits: Logits) -> str:
    """The unit of a loss averaged over samples and, for ``(N, T, C)``, tokens."""
    return "nats per token" if isinstance(logits, Tensor) and logits.ndim == 3 else "nats per sample"


def rademacher(like: Tensor, generator: Draws) -> Tensor:
    """Independent signs, +1 or -1 with equal probability, of the shape, dtype and device of `like`.

    Drawn on the CPU, so that a seed means the same on every device. With a stream for every sample, samples lie along
    the first dimension.
    """
    if isinstance(generator, SampleDraws):
        each = like.shape[1:]
        signs = torch.stack([torch.randint(0, 2, each, generator=g, dtype=torch.int8) for g in generator.generators])
    else:
        signs = torch.randint(0, 2, like.shape, generator=generator, dtype=torch.int8)
    return signs.mul_(2).sub_(1).to(device=like.device, dtype=like.dtype)


def sign_of_terms(gradient: Tensor, positions: int, generator: Draws) -> Tensor:
    """One sign for every sample and position, in a shape to multiply the gradient with."""
    terms = gradient[..., :1] if positions > 1 else gradient.reshape(len(gradient), -1)[:, :1]
    signs = rademacher(terms, generator)
    return signs if positions > 1 else signs.reshape(-1, *[1] * (gradient.ndim - 1))


def per_position(numbers: Tensor) -> Tensor:
    """``(N, positions)``: summed over the outputs of every token of a sequence, ``(N, T, C)``, or of every sample."""
    return numbers.sum(dim=-1) if numbers.ndim == 3 else numbers.reshape(len(numbers), -1).sum(dim=1, keepdim=True)


def per_sample(tokens: Tensor) -> Tensor:
    """``(N,)``: summed over everything that belongs to a sample."""
    return tokens.reshape(len(tokens), -1).sum(dim=1)


def not_padding(logits: Tensor, batch: Batch, positions: int) -> Tensor:
    """``(N, positions)`` bool on the logits' device: what the batch's ``attention_mask`` does not call padding."""
    counted = batch.counted(logits)
    if counted is None:
        counted = torch.ones(len(logits), positions, dtype=torch.bool, device=logits.device)
    return counted


def without_padding(vectors: Tensor, batch: Batch | None) -> Tensor:
    """Vectors of the shape of the logits with those of padding set to 0."""
    counted = None if batch is None else batch.counted(vectors)
    return vectors if counted is None or bool(counted.all()) else vectors * counted[:, :, None]
