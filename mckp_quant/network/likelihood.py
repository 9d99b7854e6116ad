"""What the outputs of a network mean: the loss, and random vectors with the covariance of its curvature."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InvalidInput
from .labels import IGNORED_TARGET


class Likelihood(Protocol):
    """The distribution of the targets given the logits ``z``, with ``S`` the Hessian of its loss in ``z``."""

    @property
    def name(self) -> str:
        """Its name in `LIKELIHOODS`."""
        ...

    def positions(self, logits: Tensor) -> int:
        """How many terms the loss of one sample averages: 1, or the tokens of a sequence."""
        ...

    def curvature_probe(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """Random ``v`` of the shape of the logits with ``E[v] = 0`` and ``E[v v'] = S``, independent per position."""
        ...

    def divergence_gradient(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The gradient in `logits` of every position's divergence from the distribution that `wanted` stands for."""
        ...

    def mean_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean over samples and positions of the negative log-likelihood in nats: a scalar."""
        ...

    def labelled(self, logits: Tensor, targets: Tensor) -> Tensor:
        """``(N,)`` float64 on the CPU: how many positions of each sample have a target that counts."""
        ...

    def surprise(self, logits: Tensor, targets: Tensor | None) -> float:
        """The mean loss, or without targets the one that the network itself expects; nan where that means nothing."""
        ...


def unit(logits: Tensor) -> str:
    """The unit of a loss averaged over samples and, for ``(N, T, C)``, tokens."""
    return "nats per token" if logits.ndim == 3 else "nats per sample"


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

    def curvature_probe(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """``v = A r`` with Rademacher ``r``, ``A = diag(s) - p s'`` and ``s = sqrt(p)``.

        ``A A' = diag(p) - p p' = S`` since ``s . s = 1``. With one position a sample the signs are turned first, see
        `_turned`; in sequences the noise comes from products between tokens, and turning would save nothing.
        """
        logits = logits.detach()
        p = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
        signs = rademacher(p, generator)
        return _factor(p, _turned(p, signs) if logits.ndim == 2 else signs).to(logits.dtype)

    def divergence_gradient(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """``q - p``, the probabilities of both."""
        widest = torch.promote_types(logits.dtype, torch.float32)
        return (logits.to(widest).softmax(dim=-1) - wanted.to(widest).softmax(dim=-1)).to(logits.dtype)

    def mean_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy; raises InvalidInput for targets that are no class indices of the right shape."""
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
        return F.cross_entropy(logits.flatten(0, -2), targets.to(logits.device).flatten(), ignore_index=IGNORED_TARGET)

    def labelled(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Targets other than `IGNORED_TARGET`."""
        return (targets != IGNORED_TARGET).reshape(len(targets), -1).sum(dim=1).double().cpu()

    def surprise(self, logits: Tensor, targets: Tensor | None) -> float:
        """Cross-entropy, or the entropy of the predictions; targets that do not fit count as none."""
        with torch.no_grad():
            if targets is not None:
                with contextlib.suppress(InvalidInput):
                    return float(self.mean_loss(logits.double(), targets))
            log_p = logits.double().log_softmax(dim=-1)
            return float(torch.special.entr(log_p.exp()).sum(dim=-1).mean())


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


@dataclass(frozen=True)
class Gaussian:
    """Means of a Gaussian of unit variance: half the squared error, summed over outputs.

    ``(N, T, C)`` counts as sequences, per token; any other shape per sample. ``S`` is the identity.
    """

    name: str = "gaussian"

    def positions(self, logits: Tensor) -> int:
        """Tokens per sample."""
        return logits.shape[1] if logits.ndim == 3 else 1

    def curvature_probe(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """Rademacher signs."""
        return rademacher(logits, generator)

    def divergence_gradient(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The difference of the means."""
        return logits - wanted

    def mean_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Half the squared error; raises InvalidInput for targets of another shape."""
        if targets.shape != logits.shape:
            raise InvalidInput(
                f"targets have the shape {tuple(targets.shape)}: for likelihood='gaussian' it must be that of the "
                f"outputs, {tuple(logits.shape)}"
            )
        error = logits - targets.to(device=logits.device, dtype=logits.dtype)
        return error.square().sum() / (2 * len(logits) * self.positions(logits))

    def labelled(self, logits: Tensor, targets: Tensor) -> Tensor:
        """All positions."""
        return torch.full((len(logits),), self.positions(logits), dtype=torch.float64)

    def surprise(self, logits: Tensor, targets: Tensor | None) -> float:
        """Nothing: a squared error has no scale of its own."""
        return float("nan")


LIKELIHOODS: dict[str, Likelihood] = {"categorical": Categorical(), "gaussian": Gaussian()}


def rademacher(like: Tensor, generator: torch.Generator) -> Tensor:
    """Independent signs, +1 or -1 with equal probability, of the shape, dtype and device of `like`.

    Drawn on the CPU, so that a seed means the same on every device.
    """
    signs = torch.randint(0, 2, like.shape, generator=generator, dtype=torch.int8)
    return signs.mul_(2).sub_(1).to(device=like.device, dtype=like.dtype)
