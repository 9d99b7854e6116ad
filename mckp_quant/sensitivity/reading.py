"""Reads batches with an estimator: adds its readings up, stops when they are precise enough, and warns."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..common.checks import check_positive
from ..common.run_options import ALL, Share
from ..errors import InvalidInput
from ..network.fingerprint import batch_digest
from .reach import Reach
from .totals import RESOLVED, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..network.batch import Batch
    from .checkpoint import Checkpoint
    from .estimator import Estimator
    from .task import Reading, Task

logger = logging.getLogger(__name__)

MEMORISED = 0.01  # nats of loss per sample or token, below which inputs look like ones that the network has memorised


@dataclass
class Data:
    """All batches of which several processes read a share each.

    Attributes
    ----------
    batches
        How many they are.
    digest
        Of all of them, in order.
    """

    batches: int = 0
    digest: str = ""

    def add(self, batch: Batch) -> None:
        """Add the next batch."""
        self.batches += 1
        self.digest = hashlib.sha256(f"{self.digest}{batch_digest(batch)}".encode()).hexdigest()[:40]


@dataclass(frozen=True)
class Stop:
    """When enough batches have been read.

    Attributes
    ----------
    precision
        The relative standard error that is precise enough, in the sense of `Totals.relative_error`; None to read on.
    max_batches
        How many batches to read at most; None for all.

    Raises
    ------
    InvalidInput
        When `precision` is no finite number above 0.
    """

    precision: float | None = None
    max_batches: int | None = None

    def __post_init__(self) -> None:
        """Refuse a precision that no measurement has."""
        if self.precision is not None:
            check_positive("precision", self.precision)


def read_all(
    task: Task,
    estimator: Estimator,
    batches: Iterable[Batch],
    *,
    stop: Stop,
    formats: Sequence[str],
    progress: Callable[[int], None],
    checkpoint: Checkpoint | None = None,
    share: Share = ALL,
) -> tuple[Totals, Reach, Data]:
    """Read batches with an estimator until there are no more or the stop rule holds.

    Parameters
    ----------
    task
        What to measure.
    estimator
        The estimator.
    batches
        The batches; no more are taken than are read.
    stop
        When to stop.
    formats
        Names of the formats, for messages.
    progress
        Called with the number of batches read, after each.
    checkpoint
        Where to keep what was read after each batch, and from where to go on.
    share
        Which of the batches are read; the others are only counted.

    Returns
    -------
    totals, reach, data
        What was read, what reached which layer, and, where there are several shares, what all batches were. Doubts are
        logged as warnings, of several shares when they are put together.

    Raises
    ------
    InvalidInput
        When the estimator does, an entry is not finite, no target counts, there are fewer batches than shares, or the
        checkpoint is of something else.
    """
    data = Data()
    reach = Reach(task)
    totals = Totals(task.shape) if checkpoint is None else checkpoint.load(task, reach)
    done = len(totals.sizes)
    finished = done > 0 and _precise(totals, stop)
    if checkpoint is not None and stop.max_batches is not None:
        checkpoint.check_count(share.count(stop.max_batches))
    own = samples = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(reach.attached())
        read = stack.enter_context(estimator.reading(task))
        for position, batch in enumerate(batches):
            task.state.begin(task.seed, samples, batch.size)
            samples += batch.size
            if share.of > 1:
                data.add(batch)
            if share.takes(position):
                own += 1
                if checkpoint is not None and own <= done:
                    checkpoint.check_batch(own - 1, batch)
                    if finished and own == done:
                        break
                else:
                    reach.begin(batch)
                    reading = read(batch)
                    _check(task, reading, formats, batch)
                    if bool(reading.sizes[0].sum()):  # where no target counts, nothing is known of any layer
                        reach.note(batch, reading.sums, measured=reading.measured)
                    totals.add(reading, batch.size)
                    if checkpoint is not None:
                        checkpoint.batches.append(batch_digest(batch))
                        checkpoint.save(task, totals, reach)
                    progress(own)
                    if _precise(totals, stop):
                        break
            if position + 1 == stop.max_batches:
                break
    if checkpoint is not None:
        checkpoint.check_count(own)
    if share.of > 1:
        if data.batches < share.of:
            raise InvalidInput(
                f"part is '{share}', and there are {data.batches} batches: ask for at most {data.batches} parts, or "
                "give smaller batches"
            )
        return totals, reach, data
    check_targets(totals)
    warn([weight.layer.name for weight in task.weights], totals, stop, formats)
    return totals, reach, data


def check_targets(totals: Totals) -> None:
    """Refuse what no target of any batch counts for; raises InvalidInput."""
    if not sum(totals.sizes):
        raise InvalidInput("no target of any batch counts: all are marked as ignored")


def _precise(totals: Totals, stop: Stop) -> bool:
    return stop.precision is not None and len(totals.sizes) > 1 and totals.relative_error <= stop.precision


def _check(task: Task, reading: Reading, formats: Sequence[str], batch: Batch) -> None:
    for row, sums in enumerate(reading.sums):
        wrong = ~torch.isfinite(sums).all(dim=0)
        if bool(wrong.any()):
            name, column = task.weights[row].layer.name, int(wrong.int().argmax())
            raise InvalidInput(
                f"the estimate of layer {name!r} in format {formats[column]!r} is not finite on batch {batch.index}: "
                "the inputs hold nan, or the network or its derivative overflows"
            )


def warn(layers: Sequence[str], totals: Totals, stop: Stop, formats: Sequence[str]) -> None:
    """Log what gives reason to doubt the numbers of these layers and formats."""
    error = totals.relative_error
    if stop.precision is not None:
        reached = error <= stop.precision
        logger.log(
            logging.INFO if reached else logging.WARNING,
            "stopped after %d batches with a relative standard error of %.3g: the precision of %.3g is %s",
            len(totals.sizes),
            error,
            stop.precision,
            "reached" if reached else "not reached; give more batches",
        )
    unresolved = totals.unresolved()
    if unresolved:
        row, first, second = unresolved[0]
        logger.warning(
            "%d of %d pairs of neighbouring formats cannot be told apart, such as %r and %r of layer %r: their losses "
            "differ by less than %d standard errors; give more batches",
            len(unresolved),
            len(layers) * (len(formats) - 1),
            formats[first],
            formats[second],
            layers[row],
            RESOLVED,
        )
    if totals.surprise < MEMORISED:
        logger.warning(
            "the network's mean loss on these inputs is %.2g nats: if it was trained on them, the sensitivities are "
            "several times too small; measure on inputs that it has not seen",
            totals.surprise,
        )
