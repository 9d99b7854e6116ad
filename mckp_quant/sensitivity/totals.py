"""Sums over the batches that were read, with their standard errors."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch

from .moments import Moments

if TYPE_CHECKING:
    from torch import Tensor

    from .task import Reading


NEGLIGIBLE = 0.01  # of the largest loss of a format: the error of a smaller loss decides nothing
RESOLVED = 2  # standard errors by which two formats of a layer have to differ to be told apart


class Totals:
    """The sums over the batches read so far.

    Parameters
    ----------
    shape
        Rows and columns of the table.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.moments = Moments(*shape)
        self.contributions: list[Tensor] = []
        self.sizes: list[float] = []
        self.samples: list[int] = []
        self.single_stderr: Tensor | None = None  # of the only batch, as its reading stated it
        self.surprises: list[float] = []
        self.unit = "nats per sample"

    def add(self, reading: Reading, samples: int) -> None:
        """Add a reading of a batch of so many samples."""
        for row, (sums, sizes) in enumerate(zip(reading.sums, reading.sizes, strict=True)):
            self.moments.add(row, sums, sizes)
        size = float(reading.sizes[0].sum())
        self.contributions.append(torch.stack([sums.sum(dim=0) for sums in reading.sums]) / (size or 1))
        self.sizes.append(size)
        self.samples.append(samples)
        self.single_stderr = reading.stderr if len(self.sizes) == 1 else None
        self.surprises.append(reading.surprise)
        self.unit = reading.unit

    @property
    def stderr(self) -> Tensor:
        """``(rows, columns)``; nan where it cannot be known."""
        stderr = self.moments.stderr
        return stderr if self.single_stderr is None else torch.where(stderr.isnan(), self.single_stderr, stderr)

    @property
    def relative_error(self) -> float:
        """The largest standard error relative to its loss, among the losses that are not `NEGLIGIBLE`; inf if unknown.

        Signed losses count by their magnitude.
        """
        size = self.moments.mean.abs()
        matters = (size > 0) & (size >= NEGLIGIBLE * size.amax(dim=0))
        if not bool(matters.any()):
            return 0.0
        return float((self.stderr / size)[matters].nan_to_num(nan=math.inf, posinf=math.inf).max())

    @property
    def surprise(self) -> float:
        """The mean loss over all samples, or what the network expects of it."""
        return sum(s * n for s, n in zip(self.surprises, self.samples, strict=True)) / sum(self.samples)

    def unresolved(self) -> list[tuple[int, int, int]]:
        """Row and two columns of each pair of formats next to each other in loss that the data cannot rank.

        They differ by less than `RESOLVED` standard errors. Both formats see the same samples and probes, which
        `Moments.separation` takes into account.
        """
        found = []
        for row, order in enumerate(self.moments.mean.argsort(dim=1).tolist()):
            for first, second in itertools.pairwise(order):
                distance, stderr = self.moments.separation(row, first, second)
                if distance < RESOLVED * stderr:
                    found.append((row, first, second))
        return found
