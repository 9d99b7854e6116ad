"""Measures how much the loss rises when keys or values of one attention are stored in one format.

As `GaussNewton` does for weights: with a random ``v_n`` in the logits of sample ``n`` whose covariance is the curvature
of the loss there, ``a_n = <g_n, Q(k) - k>``, where ``g_n`` is the gradient that reaches the keys from ``v_n``; the loss
is the mean of ``a_n^2 / 2``. One backward pass serves all attentions and formats. Probes are those that `measure` draws
for the same seed and samples, so the contributions of both can stand in one table.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...common.checks import check_count
from ...common.run_options import RunOptions
from ...errors import InvalidInput
from ...formats.cache_formats import CACHE_SCHEMES, cache_formats
from ...layers import Layer
from ...network.attention.calls import AttentionCalls, distinct_heads
from ...network.batches import evaluating, forward
from ...network.checkpoints.plain_names import unwrapped
from ...network.likelihood import SampleDraws, unit
from ...network.logits import heads_of
from ...network.outputs import Outputs
from ...network.weight_uses import check_usable
from ...rounding.caches import round_cache
from ...tables.table import SensitivityTable
from ..arguments import length_of
from ..engine.labelled import per_unit_sizes
from ..task import Reading
from ..totals import Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from ...formats.format import Format
    from ...network.batch import Batch

METHOD = "gauss_newton"


def measure_kv_cache(
    model: nn.Module,
    batches: Iterable[object],
    *,
    context: int,
    sequences: int = 1,
    formats: str | Iterable[str | Format] = "kv16,kv8,kv4,kv_fp8",
    outputs: Outputs = Outputs(),
    run: RunOptions = RunOptions(),
) -> SensitivityTable:
    """Predict how much the loss rises when keys or values of one attention are stored in one format.

    Parameters
    ----------
    model
        The network. Its attention has to be `torch.nn.functional.scaled_dot_product_attention`; of transformers that
        is ``attn_implementation="sdpa"``.
    batches
        As for `measure`.
    context, sequences
        How many tokens of how many sequences the cache is to hold: the bytes are those of so many.
    formats
        Names, see `mckp_quant.formats.cache_formats`.
    outputs
        What the network returns.
    run
        ``seed``, ``max_batches`` and ``progress``, as for `measure`.

    Returns
    -------
    table
        A row for the keys and one for the values of every attention, such as ``"blocks.0.keys"``. With
        `with_kv_cache` it joins the table of the weights.

    Raises
    ------
    InvalidInput
        When no attention is seen, one is not the same in every batch, or the network fails on a batch.
    """
    run.only("measure_kv_cache", "seed", "max_batches", "progress")
    check_count("context", context, 1)
    check_count("sequences", sequences, 1)
    entries = cache_formats(formats)
    model = unwrapped(model)
    check_usable(model)
    total = min((count for count in (length_of(batches), run.max_batches) if count is not None), default=None)
    seen: dict[str, Layer] = {}
    totals: Totals | None = None
    samples = 0
    with evaluating(model):
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for done, batch in enumerate(itertools.islice(outputs.batches(batches, model), run.max_batches), start=1):
            draws = SampleDraws.of(run.seed, samples, batch.size)
            samples += batch.size
            reading, layers = _read(model, batch, entries, outputs, draws, (sequences, context))
            if seen and list(seen) != list(layers):
                raise InvalidInput(
                    f"batch {batch.index} runs other attentions than the first: {', '.join(layers)}, not "
                    f"{', '.join(seen)}; give batches that all take the same way"
                )
            seen = layers
            totals = totals or Totals((len(layers), len(entries)))
            totals.add(reading, batch.size)
            run.report(done, total)
    assert totals is not None  # there is a batch, or reading them has raised
    return SensitivityTable(
        layers=tuple(seen.values()),
        formats=entries,
        loss=totals.moments.mean.numpy(),
        stderr=totals.stderr.numpy(),
        unit=totals.unit,
        contributions=torch.stack(totals.contributions).numpy(),
        batch_sizes=np.array(totals.sizes),
        method=METHOD,
        samples=samples,
        seed=run.seed,
        likelihood=outputs.distribution.name,
    )


def with_kv_cache(weights: SensitivityTable, caches: SensitivityTable) -> SensitivityTable:
    """One table of weights and caches, for budgets on both: ``weight_bytes``, ``kv_cache_bytes``, ``memory_bytes``.

    Parameters
    ----------
    weights
        What `measure` gave.
    caches
        What `measure_kv_cache` gave, on the same batches with the same seed.

    Returns
    -------
    table
        First the rows of the weights, then those of the caches; each is allowed its own formats only. Budgets on whole
        files know nothing of caches, and are gone.

    Raises
    ------
    InvalidInput
        When the two are not of the same batches and seed.
    """
    same = ("unit", "samples", "seed", "likelihood")
    other = next((name for name in same if getattr(weights, name) != getattr(caches, name)), None)
    if other is not None:
        raise InvalidInput(
            f"the tables of weights and of the cache differ in {other}: {getattr(weights, other)!r} and "
            f"{getattr(caches, other)!r}; measure both on the same batches with the same seed"
        )
    if any(not layer.is_cache for layer in caches.layers) or any(layer.is_cache for layer in weights.layers):
        raise InvalidInput("give the table of measure() first, then that of measure_kv_cache()")
    both = None
    if weights.contributions is not None and caches.contributions is not None:
        if not np.array_equal(weights.batch_sizes, caches.batch_sizes):  # type: ignore[arg-type]
            raise InvalidInput(
                "the tables of weights and of the cache are of batches of other sizes: measure both on the same batches"
            )
        pairs = zip(weights.contributions, caches.contributions, strict=True)
        both = np.stack([_blocks(own, other) for own, other in pairs])
    return dataclasses.replace(
        weights,
        layers=(*weights.layers, *caches.layers),
        formats=(*weights.formats, *caches.formats),
        loss=_blocks(weights.loss, caches.loss),
        stderr=_blocks(weights.stderr, caches.stderr),
        contributions=both,
        files=(),
    )


def _blocks(own: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Both along the diagonal, nan elsewhere."""
    found = np.full((own.shape[0] + other.shape[0], own.shape[1] + other.shape[1]), np.nan)
    found[: own.shape[0], : own.shape[1]] = own
    found[own.shape[0] :, own.shape[1] :] = other
    return found


def _read(
    model: nn.Module,
    batch: Batch,
    formats: Sequence[Format],
    outputs: Outputs,
    draws: SampleDraws,
    room: tuple[int, int],
) -> tuple[Reading, dict[str, Layer]]:
    """One backward pass: half the squared products of every attention, and what was seen."""
    taken: list[tuple[str, Tensor]] = []
    layers: dict[str, Layer] = {}

    def watch(name: str, kind: str, module: nn.Module, numbers: Tensor) -> Tensor:
        if numbers.ndim != 4 or len(numbers) != batch.size:
            raise InvalidInput(
                f"{name!r} has the shape {tuple(numbers.shape)} on batch {batch.index} of {batch.size} samples: "
                "expected (samples, heads, tokens, width)"
            )
        heads, width = distinct_heads(module, numbers), numbers.shape[3]
        layers[name] = Layer(name, kind, (*room, heads, width), heads * width, 0)
        # An alias holds the gradient of this call alone, whatever else uses the same numbers.
        own = (numbers if numbers.requires_grad else numbers.detach().requires_grad_()).view_as(numbers)
        taken.append((name, own))
        return own

    with torch.enable_grad(), AttentionCalls(model, watch):
        logits = forward(model, batch, outputs.logits)
    if not taken:
        raise InvalidInput(
            f"no attention of {type(model).__name__} is seen: it has to call "
            "torch.nn.functional.scaled_dot_product_attention, which attn_implementation='sdpa' does in transformers"
        )
    likelihood = outputs.distribution
    counted = likelihood.counted(logits, batch)
    positions = likelihood.positions(logits)
    vectors = likelihood.curvature_probe(logits, draws, batch)
    pairs = [each for each in zip(heads_of(logits), heads_of(vectors), strict=True) if each[0].requires_grad]
    if not pairs:
        raise InvalidInput(f"the logits of batch {batch.index} depend on no attention in a way that has a gradient")
    starts, along = zip(*pairs, strict=True)
    gradients = torch.autograd.grad(starts, [own for _, own in taken], along, allow_unused=True)
    products = {name: torch.zeros(batch.size, len(formats), dtype=torch.float64) for name in layers}
    for (name, own), gradient in zip(taken, gradients, strict=True):
        if gradient is not None:
            products[name] += _products(own.detach(), gradient, layers[name].kind, formats)
    counts = counted.sum(dim=1).double().cpu()
    halves = tuple(product.square() / (2 * positions) for product in products.values())
    sizes = per_unit_sizes(counts, positions, batch.size)
    return Reading(sums=halves, sizes=(sizes,) * len(halves), unit=unit(logits)), layers


def _products(numbers: Tensor, gradient: Tensor, kind: str, formats: Sequence[Format]) -> Tensor:
    """``(samples, n_formats)`` float64 on the CPU: the gradient times what each format changes."""
    columns = []
    for entry in formats:
        error = round_cache(numbers, kind, CACHE_SCHEMES[entry.name]).float() - numbers.float()
        columns.append((gradient.float() * error).flatten(1).sum(dim=1))
    return torch.stack(columns, dim=1).double().cpu()
