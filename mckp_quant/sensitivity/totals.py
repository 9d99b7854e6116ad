"""Sums over the batches that were read, with their standard errors."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import torch

from .moments import Moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

    @classmethod
    def of_parts(cls, parts: Sequence[Totals]) -> Totals:
        """The sums over the batches of several processes, where every process has read each `len(parts)`-th batch."""
        rows, columns = parts[0].moments.mean.shape
        found = cls((rows, columns))
        for own in parts:
            found.moments.merge(own.moments)
        order = [divmod(at, len(parts)) for at in range(sum(len(own.sizes) for own in parts))]
        for name in ("contributions", "sizes", "samples", "surprises"):
            setattr(found, name, [getattr(parts[which], name)[turn] for turn, which in order])
        found.unit = parts[0].unit
        return found

    def state(self) -> dict[str, Any]:
        """All of it, for a document; `restore` takes it back."""
        return {
            "moments": self.moments.state(),
            "contributions": torch.stack(self.contributions) if self.contributions else [],
            "sizes": self.sizes,
            "samples": self.samples,
            "alone": self.single_stderr,
            "surprises": self.surprises,
            "unit": self.unit,
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take back what `state` gave; numbers survive to the last bit."""
        self.moments.restore({name: _tensor(rows) for name, rows in document["moments"].items()})
        self.contributions = list(_tensor(document["contributions"]))
        self.sizes = [float(size) for size in document["sizes"]]
        self.samples = [int(count) for count in document["samples"]]
        self.single_stderr = None if document["alone"] is None else _tensor(document["alone"])
        self.surprises = [float("nan") if each is None else float(each) for each in document["surprises"]]
        self.unit = str(document["unit"])

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


def _tensor(rows: Any) -> Tensor:
    """Float64 from lists in which nan is None."""
    if isinstance(rows, list):
        return torch.stack([_tensor(row) for row in rows]) if rows else torch.zeros(0, dtype=torch.float64)
    return torch.tensor(float("nan") if rows is None else float(rows), dtype=torch.float64)
