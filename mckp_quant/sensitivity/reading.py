"""Reads batches with an estimator: adds its readings up, stops when they are precise enough, and warns."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..common.checks import check_positive
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
) -> tuple[Totals, Reach]:
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

    Returns
    -------
    totals, reach
        What was read, and what reached which layer. Doubts are logged as warnings.

    Raises
    ------
    InvalidInput
        When the estimator does, an entry is not finite, no target counts, or the checkpoint is of something else.
    """
    reach = Reach(task)
    totals = Totals(task.shape) if checkpoint is None else checkpoint.load(task, reach)
    done = len(totals.sizes)
    finished = done > 0 and _finished(totals, stop)
    if checkpoint is not None and stop.max_batches is not None:
        checkpoint.check_count(stop.max_batches)
    seen = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(reach.attached())
        read = stack.enter_context(estimator.reading(task))
        for position, batch in enumerate(batches):
            seen = position + 1
            if checkpoint is not None and position < done:
                checkpoint.check_batch(position, batch)
                if finished and seen == done:
                    break
                continue
            reach.begin(batch)
            reading = read(batch)
            _check(task, reading, formats, batch)
            if bool(reading.sizes[0].sum()):  # where no target counts, nothing is known of any layer
                reach.note(batch, reading.sums, measured=reading.measured)
            totals.add(reading, batch.size)
            if checkpoint is not None:
                checkpoint.batches.append(batch_digest(batch))
                checkpoint.save(task, totals, reach)
            progress(position + 1)
            if _finished(totals, stop):
                break
    if checkpoint is not None:
        checkpoint.check_count(seen)
    if not sum(totals.sizes):
        raise InvalidInput("no target of any batch counts: all are marked as ignored")
    _warn(task, totals, stop, formats)
    return totals, reach


def _finished(totals: Totals, stop: Stop) -> bool:
    if stop.max_batches is not None and len(totals.sizes) >= stop.max_batches:
        return True
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


def _warn(task: Task, totals: Totals, stop: Stop, formats: Sequence[str]) -> None:
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
            task.shape[0] * (task.shape[1] - 1),
            formats[first],
            formats[second],
            task.weights[row].layer.name,
            RESOLVED,
        )
    if totals.surprise < MEMORISED:
        logger.warning(
            "the network's mean loss on these inputs is %.2g nats: if it was trained on them, the sensitivities are "
            "several times too small; measure on inputs that it has not seen",
            totals.surprise,
        )
