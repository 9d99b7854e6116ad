"""Estimates the memory and time that measuring a network takes, without measuring; the weights need not be there."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common.renamed import OUTPUTS, renamed_fields, renamed_keywords, run_keywords
from ..common.run_options import RunOptions
from ..formats.blocks import GGML
from ..formats.format import as_formats
from ..formats.menus import AUTO, formats_for
from ..network.checkpoints.plain_names import unwrapped
from ..network.discovery import discover, uses_of
from ..network.outputs import Outputs
from ..network.weight_uses import MIXTURES
from ..rounding.bank import WeightBank
from ..rounding.rounder import INPUTS
from .arguments import check_formats, facts_of, rounder_asked
from .columns import Menu, stores_weights
from .engine.rates import Rates, measured_rates
from .errors import limit_of
from .memory.fitting import blocks_of
from .memory.graph import graph_of
from .memory.needs import needs_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import nn

    from ..formats.format import Format
    from ..layers import Layer
    from ..rounding.rounder import Rounder
    from .estimator import AnyEstimator

_PASSES = 3  # a gradient evaluation in forward passes: one forward, two for the backward


@renamed_fields(weights="weight_bytes")
@dataclass(frozen=True)
class Plan:
    """What measuring will take; sizes are in bytes.

    Attributes
    ----------
    layers
        The layers that will be measured.
    formats
        The formats.
    method
        The estimator's name.
    samples
        In a batch.
    batches
        How many there are; None where that is not known.
    parameters
        Numbers in the whole network.
    weight_bytes
        What the network's parameters and buffers take.
    mapped
        How much of the weights lies in mapped files and need not be in memory; weights on the meta device are taken to
        be loaded so.
    gradients
        What the largest weight gradient takes, on the first batch, to check the hooks.
    activations
        What one batch leaves for its backward pass, with four copies of the logits for the probes.
    blocks
        How many blocks there are of which only inputs are kept; 0 where the whole graph fits under the limit.
    errors
        What the rounding errors of all layers would take.
    banked
        What the codes of a bank take, and of a rounder that makes them the sums over its inputs; 0 where weights are
        rounded to nearest.
    thresholds
        What the rounding errors follow from: a byte for every scale.
    held
        How much of the rounding errors is in memory at any time; the rest is computed again for every batch.
    largest
        What is computed of them at a time takes; 0 where all are held.
    least
        The smallest limit there can be.
    flops
        Floating-point operations of one gradient evaluation of one batch, counted operation by operation: three
        times those of its forward pass.
    evaluations
        Gradient evaluations that the estimator takes for a batch.
    rates
        How fast this machine is.
    """

    layers: tuple[Layer, ...]
    formats: tuple[Format, ...]
    method: str
    samples: int
    batches: int | None
    parameters: int
    weight_bytes: int
    mapped: int
    gradients: int
    activations: int
    blocks: int
    errors: int
    banked: int
    thresholds: int
    held: int
    largest: int
    least: int
    flops: int
    evaluations: float
    rates: Rates

    @property
    def peak(self) -> int:
        """Bytes at the peak, without what Python and its packages take."""
        fixed = self.weight_bytes - self.mapped + self.banked + self.thresholds + self.gradients
        return fixed + self.activations + self.held + self.largest

    @property
    def seconds_to_round(self) -> float:
        """Seconds to round all weights to all formats, once."""
        row = self.rates.row
        weights = sum(layer.elements * (layer.row / row if row else 1) for layer in self.layers)
        return weights * sum(self.rates.rounded)

    @property
    def seconds_per_batch(self) -> float:
        """Seconds for one batch, if all of the network ran as fast as a matrix product."""
        again = (self.errors - self.held) / self.errors if self.errors else 0.0
        weights = sum(layer.elements for layer in self.layers)
        forward = 1 / _PASSES if self.blocks else 0.0  # blocks run forward once more
        computing = (self.evaluations + forward) * self.flops / self.rates.flops
        return computing + again * weights * sum(self.rates.again)

    def document(self) -> dict[str, Any]:
        """The plan in plain types, for JSON."""
        names = (
            "method",
            "samples",
            "batches",
            "parameters",
            "weight_bytes",
            "mapped",
            "gradients",
            "activations",
            "blocks",
            "errors",
            "banked",
            "thresholds",
            "held",
        )
        more = ("largest", "least", "peak", "flops", "evaluations", "seconds_to_round", "seconds_per_batch", "seconds")
        return {
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
            "formats": [entry.name for entry in self.formats],
            **{name: getattr(self, name) for name in (*names, *more)},
            "rates": dataclasses.asdict(self.rates),
        }

    @property
    def seconds(self) -> float:
        """Seconds for everything; nan where the number of batches is not known."""
        return math.nan if self.batches is None else self.seconds_to_round + self.batches * self.seconds_per_batch


@renamed_keywords(**OUTPUTS, **run_keywords("memory_limit"))
def plan(
    model: nn.Module,
    batch: object,
    *,
    formats: str | Iterable[str | Format],
    method: str | AnyEstimator = "gauss_newton",
    outputs: Outputs = Outputs(),
    batches: int | None = None,
    rates: Rates | None = None,
    bank: WeightBank | str | Rounder | None = None,
    run: RunOptions = RunOptions(),
) -> Plan:
    """Estimate what `measure` will take, from one forward pass.

    Parameters
    ----------
    model
        The network. On the meta device it takes no memory, and the forward pass no time.
    batch
        A batch as for `measure`, of the size that is planned.
    formats, method, outputs, bank
        As for `measure`; the figures for a method are those of its default options. The codes of a bank in a folder
        are read when they are needed. Batches that only a rounder sees, which run forward, count like the others.
    batches
        How many batches there will be, if that is known.
    rates
        How fast the machine is; by default that is measured, in a fraction of a second for each format.
    run
        Its `memory_limit`, as for `measure`; nothing else is taken.

    Returns
    -------
    plan
        The estimate. Memory is counted tensor by tensor. The time is a lower bound where layers are too small to keep
        the machine busy, as in small networks.

    Raises
    ------
    InvalidInput
        When an argument is not understood, or the model has nothing to quantise or fails on the batch.
    """
    run.only("plan", "memory_limit")
    model = unwrapped(model)
    asked = formats if formats == AUTO else as_formats(formats)
    if asked == AUTO and isinstance(bank, WeightBank):
        asked = bank.formats
    facts = facts_of(method)
    check_formats(() if isinstance(asked, str) else asked, facts, "mse")
    entry = next(outputs.batches([batch], model))
    rows = discover(model, entry)
    columns = formats_for(asked, rows)
    uses = uses_of(model, rows)
    dtypes = {name: use.weight.dtype for name, use in uses.items()}
    rounder = rounder_asked(bank, columns)
    banked = rounder is not None or isinstance(bank, WeightBank)
    menu = Menu.of(columns, banked=banked)
    stored = menu.weights
    blocks = blocks_of(model, entry, facts)
    graph = graph_of(model, entry, outputs.logits, blocks.modules)
    codes = bank.in_memory if isinstance(bank, WeightBank) else 0
    if rounder is not None:
        codes = sum(
            _codes(layer, stored, dtypes[layer.name]) + _sums(layer, uses[layer.name].module, rounder, menu)
            for layer in rows
        )
    free = needs_of(model, rows, stored, dtypes, graph, blocks, codes)
    needs = free.under(limit_of(run), blocks)
    return Plan(
        layers=rows,
        formats=columns,
        method=facts.name,
        samples=entry.size,
        batches=batches,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weight_bytes=needs.weight_bytes,
        mapped=needs.mapped,
        gradients=needs.gradient,
        activations=needs.activations,
        blocks=len(blocks.modules) if needs.streamed else 0,
        errors=sum(needs.errors),
        banked=needs.banked,
        thresholds=needs.thresholds,
        held=needs.held,
        largest=needs.piece if needs.unheld else 0,
        least=free.least(blocks),
        flops=_PASSES * graph.flops,
        evaluations=facts.passes.of(len(rows), len(columns), len(menu.schemes)),
        rates=rates or measured_rates(next(model.parameters()), rows[0], stored, bank if rounder is None else rounder),
    )


def _codes(layer: Layer, formats: Iterable[Format], dtype: torch.dtype) -> int:
    """Bytes of a layer's codes in a bank: a byte for each, or two for small floats; values of a user's own formats."""
    found = 0
    for entry in filter(stores_weights, formats):
        scheme = entry.weight_scheme
        if scheme is None:
            found += layer.elements * dtype.itemsize
            continue
        if scheme.family == GGML:
            found += entry.weights_only.storage_bytes(layer)
            continue
        found += layer.elements * (1 if scheme.family == "integer" else 2)
        found += scheme.scales(layer) * ((2 if scheme.scale == "float16" else 4) + (0 if scheme.symmetric else 1))
    return found


def _sums(layer: Layer, module: nn.Module, rounder: Rounder | None, menu: Menu) -> int:
    """Bytes of what a rounder sums over a layer's inputs: products of their entries, for every way of storing them."""
    if rounder is None or rounder.needs != INPUTS or (layer.kind == "embedding" and not layer.ties):
        return 0
    groups = layer.shape[0] if layer.kind in MIXTURES else int(getattr(module, "groups", 1))
    return 8 * groups * layer.row**2 * (1 + len(menu.schemes))
