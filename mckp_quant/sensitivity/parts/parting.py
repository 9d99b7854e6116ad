"""Which part of the batches a process reads, and what it hands on for `merge`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...common.documents import plain
from ...common.run_options import RANKS, Share
from ...errors import InvalidInput
from ...tables.parts.part import Part
from ..estimator import DataFreeEstimator
from .ranks import share_of_rank

if TYPE_CHECKING:
    from ...common.run_options import RunOptions
    from ...network.fingerprint import Fingerprint
    from ..estimator import AnyEstimator
    from ..reach import Reach
    from ..reading import Data
    from ..totals import Totals


def share_of(run: RunOptions, estimator: AnyEstimator, precision: float | None) -> Share:
    """Which of the batches this process reads.

    Parameters
    ----------
    run
        What was asked.
    estimator
        The estimator.
    precision
        The precision at which to stop; None to read all batches.

    Returns
    -------
    share
        One of one where nothing was asked.

    Raises
    ------
    InvalidInput
        When the estimator reads no batches, so that there is nothing to share; when there is a precision, which no
        process can know alone; or when ranks are asked for and `torch.distributed` is not initialised.
    """
    if run.part is None:
        return Share()
    free = isinstance(estimator, DataFreeEstimator)
    if run.part == RANKS:
        share = share_of_rank()
        return Share() if free else _whole(share, precision)
    share = Share.read(run.part)
    if free:
        raise InvalidInput(
            f"part is {run.part!r}, and method={estimator.name!r} reads no batches that could be shared: leave it out"
        )
    return _whole(share, precision)


def part_of(share: Share, data: Data, fingerprint: Fingerprint, totals: Totals, reach: Reach) -> Part | None:
    """What the others have to know of a share that was read; None where there are no others."""
    if share.of == 1:
        return None
    sums = {**totals.state(), "reach": {**reach.document(), "suspects": reach.suspects()}}
    sums["tolerance"] = fingerprint.tolerance
    return Part(share, data.batches, data.digest, plain(fingerprint.document()), plain(sums))


def _whole(share: Share, precision: float | None) -> Share:
    if share.of > 1 and precision is not None:
        raise InvalidInput(
            f"precision is {precision:g}, which no part can know alone: leave it out, and give max_batches"
        )
    return share
