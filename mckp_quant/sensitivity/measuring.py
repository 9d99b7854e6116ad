"""The front door of measuring: finds the layers, rounds their weights, and lets an estimator predict the loss."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..common.renamed import OUTPUTS, renamed_keywords, run_keywords
from ..common.run_options import RANKS, RunOptions
from ..errors import InvalidInput
from ..formats.format import as_formats
from ..formats.menus import AUTO, formats_for
from ..network.batches import evaluating
from ..network.checkpoints.plain_names import unwrapped
from ..network.checkpoints.state import file_facts
from ..network.discovery import Outside, uses_of
from ..network.fingerprint import Fingerprint
from ..network.outputs import Outputs
from ..network.tracing import trace_activations
from ..network.weight_uses import check_usable
from ..rounding.bank import WeightBank, rounder_of_bank
from ..tables.repair import negative_words
from ..tables.table import SensitivityTable
from .arguments import (
    bank_for,
    check_formats,
    chosen_layers,
    estimator_of,
    length_of,
    ranges_for,
    rounder_asked,
    told_of_shared,
)
from .cache import layer_weights
from .checkpoint import Checkpoint, options_of
from .columns import Menu
from .errors import limit_of
from .estimator import DataFreeEstimator
from .memory.fitting import fitted
from .parts.merging import unknown_cells
from .parts.parting import part_of, share_of
from .parts.ranks import of_all_ranks
from .reading import Stop, read_all
from .task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import nn

    from ..formats.format import Format
    from ..formats.ranges import ActivationRanges
    from ..layers import Activation, Layer
    from ..network.batch import Batch
    from ..rounding.rounder import Rounder
    from .estimator import AnyEstimator

logger = logging.getLogger(__name__)


@renamed_keywords(
    **OUTPUTS,
    **run_keywords("seed", "checkpoint", "cache", "memory_limit", "max_batches", "progress"),
    target="precision=...",
    probes="method=Hutchinson(probes=4), or another estimator that draws probes",
    metric="method=Metric(distance)",
)
def measure(
    model: nn.Module,
    batches: Iterable[object],
    *,
    formats: str | Iterable[str | Format],
    method: str | AnyEstimator = "gauss_newton",
    outputs: Outputs = Outputs(),
    layers: Iterable[str] | None = None,
    precision: float | None = None,
    activation_range: str | ActivationRanges = "mse",
    bank: WeightBank | str | Rounder | None = None,
    run: RunOptions = RunOptions(),
) -> SensitivityTable:
    """Predict how much the loss rises when one layer is stored in one format, for all layers and formats.

    The model runs in eval mode, on its own device and in its own precision, and is given back as it was: mode,
    gradients, hooks, buffers, random state. Products with the rounding errors are in float32 at least. Inputs the
    network was not trained on give the right scale; training inputs may underestimate it tenfold.

    Parameters
    ----------
    model
        The network.
    batches
        An iterable, consumed once, of tensors, ``(inputs, targets)`` pairs, or dicts of tensors for models that take
        keywords; ``labels`` among these become targets, shifted by one for causal language models. Samples lie along
        the first dimension.
    formats
        Names or `Format` objects, such as ``"w2,w4"``. Formats that also store the layer's input, such as ``"w4a8"``,
        are measured jointly, by the estimators that read inputs. ``"auto"`` takes the bank's; without one what
        `formats.menu` gives, some 36 formats of weights.
    method
        An estimator of `mckp_quant.sensitivity`, such as ``Hutchinson(probes=4)``, or its name for its default options.
        It says what is predicted or measured, in nats unless said otherwise:

        - ``"gauss_newton"``: the KL divergence from the float network to second order; no targets, one backward pass
          a batch for everything.
        - ``"measured_kl"``: that divergence, measured one layer at a time; a partial forward pass for every entry.
        - ``"measured_loss"``: the change of the loss, likewise; needs targets, and is mostly their noise above 3 bits.
        - ``Metric(distance)``: a distance of your own, likewise.
        - ``"hessian_form"``: ``dw' H dw / 2`` with the exact Hessian; needs targets, a product for every entry.
        - ``"empirical_fisher"``: mean squared first-order change of each sample's loss (MPQCO); needs targets.
        - ``"first_order"``: ``g . dw``, signed; needs targets. It is never added to another estimate.
        - ``"hutchinson"``, ``"hutchinson_blockwise"``, ``"hutch_plus_plus"``: average Hessian trace times squared error
          (HAWQ-V2), the trace by probes over all layers, layer by layer, or with leading eigenvalues; needs targets.
        - ``"weight_mse"``, ``"sqnr"``: squared error of the weight, absolute and relative; data are not used, only one
          batch's shapes.
    outputs
        What the network returns, and what its numbers mean.
    layers
        Names of the layers to measure; all by default.
    precision
        Stop as soon as no standard error exceeds this fraction of its loss; losses below a hundredth of their format's
        largest do not count. Where the batches end before, a warning is logged.
    activation_range
        How the ranges of inputs are chosen, on the first eight batches: see `calibrate_ranges`; or the
        ranges themselves. The table keeps them, for the policies that are made from it. A bank's own ranges, for which
        its weights were rounded, come before those of a rule.
    bank
        The weights in the formats, from `round_weights`; make it on other batches than these, because on the same ones
        the losses come out too low. Or a rounder, or its name, such as ``"gptq"``, for which a bank is made in memory:
        it sees every other batch, the table is measured on those between, and of a single batch both get every other
        sample. All batches are held in memory then. None rounds to nearest.
    run
        How the measurement is run:

        - ``seed``: the same seed, model and batches in the same order give the same table. In another order the probes
          meet other samples, and the table differs within its standard errors.
        - ``checkpoint``: a file that is written after every batch. If it exists, its batches are skipped and the
          measurement goes on: with the same arguments and batches, to the same numbers to the last bit. Of ranks each
          has one of its own, with its number behind the name.
        - ``cache``: a folder in which the clipping thresholds that were searched are kept, for measuring the same
          network again; not with ``bank=``, because it keeps no others than those of rounding to nearest.
        - ``memory_limit``: how many bytes measuring may take beside Python and its packages, and weights in mapped
          files, see `Plan`. Rounding errors that do not fit are computed again for every batch, and where the whole
          graph does not fit, the network is measured block by block; the numbers are the same to the last bit. A limit
          below what works is refused, with the least that does.
        - ``max_batches``: stop after so many batches.
        - ``part``: which of the batches are read, see `RunOptions`; the table is then one for `merge`. With
          ``"ranks"`` every process gets the whole table. Neither goes with ``precision``.
        - ``progress``: called after each batch with the number done and the total: ``max_batches`` where the batches do
          not tell, None where that is not given either.

    Returns
    -------
    table
        ``loss`` and ``stderr`` in nats per sample, or per token for sequences, and each batch's contribution.
        Operations are counted over all batches that were read. A layer that no sample reaches, or on which nothing
        that `outputs` takes depends, has an unknown loss: it is named in a warning, its losses are nan, and only its
        widest format is allowed, at a loss of 0 that leaves it out of predictions. ``rounder`` says what rounded the
        weights.

    Raises
    ------
    InvalidInput
        When an argument is not understood, the model has nothing to quantise or fails on a batch, there are no
        batches, no gradient reaches a layer on which the outputs depend, or the bank is of other weights, or lacks a
        layer or a format. The message names what was wrong.
    """
    run.only("measure", "seed", "checkpoint", "cache", "memory_limit", "max_batches", "progress", "part")
    model = unwrapped(model)
    asked = formats if formats == AUTO else as_formats(formats)
    if asked == AUTO and isinstance(bank, WeightBank):
        asked = bank.formats
    estimator = estimator_of(method)
    share = share_of(run, estimator, precision)
    check_formats(() if isinstance(asked, str) else asked, estimator, activation_range)
    limit = limit_of(run)
    check_usable(model)
    stop = Stop(precision, run.max_batches)
    total = min((count for count in (length_of(batches), run.max_batches) if count is not None), default=None)
    stream = outputs.batches(batches, model)
    first = next(stream)
    rows = chosen_layers(model, first, layers)
    columns = formats_for(asked, rows)
    source = bank if isinstance(bank, WeightBank) else rounder_asked(bank, columns)
    if source is not None and run.cache is not None:
        raise InvalidInput(
            f"run has cache={str(run.cache)!r}, which keeps weights that are rounded to nearest, and bank= asks for "
            "others: leave one of them out"
        )
    menu = Menu.of(columns, banked=source is not None)
    tensors = _activations(model, first, rows)
    again: Iterator[Batch] = itertools.chain([first], stream)
    known = source.ranges if isinstance(source, WeightBank) else None
    ranges, whole = ranges_for(columns, activation_range, known, model, again, run.max_batches)
    found: WeightBank | None = None
    if isinstance(source, WeightBank):
        source.check(model, [row.name for row in rows])
        found, whole = source, told_of_shared(whole, source)
    elif source is not None:
        held = list(itertools.islice(whole, run.max_batches))
        read = not isinstance(estimator, DataFreeEstimator)
        found, others = bank_for(source, columns, ranges, model, rows, held, read=read)
        whole, total = iter(others), len(others)
    with evaluating(model):
        stored = menu.weights if menu.schemes else columns
        cache = None if run.cache is None else Path(run.cache)
        room, blocks = fitted(model, first, estimator, outputs, rows, stored, limit, found)
        weights = layer_weights(model, rows, stored, cache, room, found)
        users = {name: use.module for name, use in uses_of(model, rows).items()}
        joint = menu.on(rows, users, ranges) if menu.schemes else None
        counted = _Counted(outputs.logits)
        task = Task(model, weights, outputs.distribution, counted, run.seed, joint, blocks)
        if isinstance(estimator, DataFreeEstimator):
            loss = estimator.losses(task).numpy()
            return SensitivityTable(
                layers=rows,
                formats=columns,
                loss=loss,
                stderr=np.zeros_like(loss),
                unit=estimator.unit,
                method=estimator.name,
                seed=run.seed,
                activations=tensors,
                rounder=rounder_of_bank(found),
                files=file_facts(model, rows),
                outside=Outside.of(model, rows).count,
            )
        checkpoint = fingerprint = None
        if run.checkpoint is not None or share.of > 1:
            options = options_of(estimator, outputs, run.seed, columns, ranges, found)
            fingerprint = Fingerprint.of(model, first, counted, options)
        if run.checkpoint is not None and fingerprint is not None:
            path = Path(run.checkpoint)
            own = path.with_name(f"{path.name}.{share.number}-of-{share.of}") if run.part == RANKS else path
            checkpoint = Checkpoint(own, fingerprint.of_part(share))
        totals, reach, data = read_all(
            task,
            estimator,
            whole,
            stop=stop,
            formats=[entry.name for entry in columns],
            progress=lambda done: run.report(done, None if total is None else share.count(total)),
            checkpoint=checkpoint,
            share=share,
        )
        part = None if fingerprint is None else part_of(share, data, fingerprint, totals, reach)
        blank = unknown_cells(reach.unknown() if part is None else reach.suspects(), rows, columns)
    table = SensitivityTable(
        layers=tuple(replace(row, macs=macs) for row, macs in zip(rows, reach.counted(rows), strict=True)),
        formats=columns,
        loss=np.where(blank, np.nan, totals.moments.mean.numpy()),
        stderr=np.where(blank, np.nan, totals.stderr.numpy()),
        unit=totals.unit,
        contributions=np.where(blank, np.nan, torch.stack(totals.contributions).numpy()),
        batch_sizes=np.array(totals.sizes),
        method=f"{estimator.name}, matched" if getattr(estimator, "matched", False) else estimator.name,
        samples=sum(totals.samples),
        seed=run.seed,
        ranges=ranges,
        activations=tensors,
        likelihood=outputs.distribution.name,
        classes=counted.classes if outputs.distribution.name == "categorical" else 0,
        rounder=rounder_of_bank(found),
        files=file_facts(model, rows),
        outside=Outside.of(model, rows).count,
        part=part,
    )
    if part is not None:
        return of_all_ranks(table) if run.part == RANKS else table
    negative = negative_words(table, table.loss < 0)
    if negative:
        logger.warning("%s", negative)
    return table


@dataclass
class _Counted:
    """What is taken of the outputs, and how many entries its last dimension had: the classes, where it has classes."""

    take: Callable[..., object] | None
    classes: int = 0

    def __call__(self, returned: object) -> object:
        logits = getattr(returned, "logits", returned) if self.take is None else self.take(returned)
        if isinstance(logits, torch.Tensor):
            self.classes = logits.shape[-1] if logits.ndim else 0
        return logits


def _activations(model: nn.Module, batch: Batch, layers: tuple[Layer, ...]) -> tuple[Activation, ...]:
    """The activation tensors, for budgets on peak memory; none, with a warning, where a model cannot be watched."""
    try:
        return trace_activations(model, batch, layers)
    except RuntimeError as error:
        logger.warning("the activation tensors could not be traced, so peaks need activations=...: %s", error)
        return ()
