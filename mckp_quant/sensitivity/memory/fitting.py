"""Fits a measurement into the memory that it may take."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ...network.blocks.finding import WHOLE, Blocks, find_blocks
from ...network.discovery import uses_of
from ..errors import HELD
from .graph import graph_of
from .needs import needs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from ...formats.format import Format
    from ...layers import Layer
    from ...network.batch import Batch
    from ...network.outputs import Outputs
    from ...rounding.bank import WeightBank
    from ..estimator import AnyEstimator

logger = logging.getLogger(__name__)


def fitted(
    model: nn.Module,
    batch: Batch,
    estimator: AnyEstimator,
    outputs: Outputs,
    layers: Sequence[Layer],
    formats: Sequence[Format],
    limit: int | None,
    bank: WeightBank | None,
) -> tuple[int, Blocks]:
    """Choose how a network is measured under a limit.

    Parameters
    ----------
    model, estimator, outputs, layers, bank
        As for `measure`.
    batch
        The first batch; the others are taken to be like it.
    formats
        Of weights.
    limit
        In bytes; None for no limit.

    Returns
    -------
    held, blocks
        How many bytes of rounding errors stay in memory, and the blocks that are computed again: none where the whole
        graph fits.

    Raises
    ------
    InvalidInput
        When nothing fits.
    """
    if limit is None:
        return HELD, WHOLE
    blocks = blocks_of(model, batch, estimator)
    graph = graph_of(model, batch, outputs.logits, blocks.modules)
    dtypes = {name: use.weight.dtype for name, use in uses_of(model, layers).items()}
    free = needs_of(model, layers, formats, dtypes, graph, blocks, 0 if bank is None else bank.in_memory)
    needs = free.under(limit, blocks)
    if needs.streamed:
        logger.info("%d blocks are computed again one by one, to keep to the memory limit", len(blocks.modules))
        return needs.held, blocks
    if blocks.why:
        logger.info("the network is measured as a whole: %s", blocks.why)
    return needs.held, Blocks({}, blocks.why)


def blocks_of(model: nn.Module, batch: Batch, estimator: AnyEstimator | type[AnyEstimator]) -> Blocks:
    """The blocks of a network that an estimator can compute again; none, and why, where it needs the whole graph."""
    if not getattr(estimator, "streams", False):
        return Blocks({}, f"method={estimator.name!r} needs the whole graph")
    return find_blocks(model, batch)
