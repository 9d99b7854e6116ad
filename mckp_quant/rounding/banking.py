"""Makes weight banks: rounds every layer of a network to every format, one layer at a time."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
from typing import TYPE_CHECKING

from ..common.run_options import RunOptions
from ..errors import InvalidInput
from ..formats.format import as_formats
from ..formats.ranges import ActivationRanges
from ..network.batches import as_batches
from ..network.discovery import discover, uses_of
from ..network.fingerprint import batch_digest, tensor_digest
from .bank import Memory, WeightBank
from .blocks import Blocks
from .calibration import calibrate_ranges
from .inputs import InputRounding
from .rounder import BLOCK, NOTHING
from .rounders import Gptq, rounder_named
from .statistics import FLOAT_INPUT, gather_statistics

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from ..formats.format import Format
    from ..formats.schemes import ActivationScheme
    from ..layers import Layer
    from ..network.batch import Batch
    from .blocks import BlockRun
    from .encoded import StoredWeight
    from .rounder import InputStatistics, Rounder

logger = logging.getLogger(__name__)

AUTO = "auto"


def round_weights(
    model: nn.Module,
    batches: Iterable[object],
    formats: str | Iterable[str | Format],
    *,
    rounder: str | Rounder = AUTO,
    target: str | None = None,
    layers: Iterable[str] | None = None,
    activation_range: str | ActivationRanges = "mse",
    output: str | os.PathLike[str] | None = None,
    run: RunOptions = RunOptions(),
) -> WeightBank:
    """Round the weights of a network to formats, as well as a rounder can.

    The inputs of all layers are those of the float network. The last pass for one policy, on the inputs of the network
    quantised so far, is `finish`.

    Parameters
    ----------
    model
        The float network; it is given back as it was.
    batches
        As for `measure`; targets are not used. Round on other batches than those that the table is measured on: on
        the same ones the table promises too little loss.
    formats
        Names or `Format` objects. Where a format also stores the layer's input, the weight is rounded for that.
    rounder
        A rounder or its name; ``"auto"`` is `Gptq`, which rounds layers whose inputs are not seen to nearest.
    target
        The export target, if the scales are to be held as it stores them.
    layers
        Names of the layers; all by default.
    activation_range
        As for `measure`.
    output
        A folder for the bank, from which codes are read when they are needed. Where it holds the same bank already,
        or part of it, that is not made again. None to keep it in memory.
    run
        How many batches are read at most, and progress, layer by layer.

    Returns
    -------
    bank
        With the codes of every layer in every format.

    Raises
    ------
    InvalidInput
        When an argument is not understood, the model fails on a batch, or the input of a layer holds nan; when the
        folder holds another bank.
    """
    run.only("round_weights", "max_batches", "progress")
    columns = tuple(entry for entry in as_formats(formats) if entry.weights_only.name != "float")
    if not columns:
        raise InvalidInput("none of the formats stores weights: there is nothing to round, give one such as 'w4'")
    chosen = rounder_of(rounder)
    data = list(itertools.islice(as_batches(batches, model), run.max_batches))
    rows = _chosen(model, data[0], layers)
    schemes = {
        entry.activation_scheme.name: entry.activation_scheme
        for entry in columns
        if entry.activation_scheme is not None
    }
    statistics: Mapping[tuple[str, str], InputStatistics] = {}
    if chosen.needs != NOTHING:
        roundings = _roundings(model, data, rows, columns, schemes, activation_range)
        statistics = gather_statistics(model, data, rows, roundings)
    unseen = [row.name for row in rows if chosen.needs != NOTHING and (row.name, FLOAT_INPUT) not in statistics]
    if unseen:
        logger.warning("no input of %s was seen: rounded to nearest", ", ".join(map(repr, unseen)))
    weights = {name: use.weight.detach() for name, use in uses_of(model, rows).items()}
    bank = WeightBank(
        layers=rows,
        formats=columns,
        rounder=described(chosen),
        target=target or "",
        weights={row.name: tensor_digest(weights[row.name]) for row in rows},
        data=_digest(data) if chosen.needs != NOTHING else "",
        samples=sum(batch.size for batch in data) if chosen.needs != NOTHING else 0,
        as_nearest=tuple(unseen),
        store=Memory(),
    )
    codes: dict[tuple[str, str], StoredWeight] = {}
    blocks = Blocks(model, data) if chosen.needs == BLOCK else None
    for done, row in enumerate(rows):
        around = None if blocks is None else blocks.of(row)
        for entry, encoded in encode_layer(chosen, weights[row.name], row, columns, statistics, around).items():
            codes[row.name, entry.name] = encoded.compact(entry)
        run.report(done + 1, len(rows))
    return dataclasses.replace(bank, store=Memory(codes))


def encode_layer(
    rounder: Rounder,
    weight: Tensor,
    layer: Layer,
    formats: Sequence[Format],
    statistics: Mapping[tuple[str, str], InputStatistics],
    block: BlockRun | None = None,
) -> dict[Format, StoredWeight]:
    """Round one layer; formats that see the same inputs are rounded together. `block` is that around the layer."""
    made: dict[Format, StoredWeight] = {}
    by_scheme: dict[str, list[Format]] = {}
    for entry in formats:
        scheme = FLOAT_INPUT if entry.activation_scheme is None else entry.activation_scheme.name
        by_scheme.setdefault(scheme, []).append(entry)
    for scheme, entries in by_scheme.items():
        seen = statistics.get((layer.name, scheme), statistics.get((layer.name, FLOAT_INPUT)))
        if seen is not None and block is not None:
            seen = dataclasses.replace(seen, block=block)
        encoded = rounder.encode(weight, layer, [entry.weights_only for entry in entries], seen)
        made.update(zip(entries, encoded, strict=True))
    return {entry: made[entry] for entry in formats}


def rounder_of(rounder: str | Rounder) -> Rounder:
    """The rounder itself, or that of a name; raises InvalidInput where it is neither."""
    if isinstance(rounder, str):
        return Gptq() if rounder == AUTO else rounder_named(rounder)
    if isinstance(rounder, type) or not hasattr(rounder, "encode"):
        raise InvalidInput(f"rounder is {rounder!r}: give a name, such as 'gptq', or a rounder, such as Gptq()")
    return rounder


def described(rounder: Rounder) -> str:
    """A rounder with its options, as files name it."""
    options = ", ".join(f"{each.name}={getattr(rounder, each.name)!r}" for each in dataclasses.fields(rounder))  # type: ignore[arg-type]
    return f"{rounder.name}({options})" if options else rounder.name


def _chosen(model: nn.Module, batch: Batch, names: Iterable[str] | None) -> tuple[Layer, ...]:
    wanted = None if names is None else list(names)
    found = discover(model, batch, wanted)
    if wanted is None:
        return found
    known = {layer.name: layer for layer in found}
    missing = next((name for name in wanted if name not in known), None)
    if missing is not None:
        raise InvalidInput(f"there is no layer {missing!r}: known are {', '.join(known)}")
    return tuple(layer for layer in found if layer.name in set(wanted))


def _roundings(
    model: nn.Module,
    data: Sequence[Batch],
    layers: Sequence[Layer],
    formats: Sequence[Format],
    schemes: Mapping[str, ActivationScheme],
    activation_range: str | ActivationRanges,
) -> dict[str, dict[str, InputRounding]]:
    ranges: ActivationRanges | None = None
    if any(scheme.calibrated for scheme in schemes.values()):
        if isinstance(activation_range, ActivationRanges):
            ranges = activation_range
        else:
            ranges = calibrate_ranges(model, data, formats, rule=activation_range)
    found: dict[str, dict[str, InputRounding]] = {}
    for name, scheme in schemes.items():
        own = found.setdefault(name, {})
        for layer in layers:
            known = next(
                (each for each in (layer.name, *layer.ties) if ranges is not None and (each, name) in ranges.ranges),
                None,
            )
            if not scheme.calibrated:
                own[layer.name] = InputRounding(scheme)
            elif ranges is not None and known is not None:
                own[layer.name] = InputRounding(scheme, *ranges.of(known, scheme))
    return found


def _digest(data: Sequence[Batch]) -> str:
    return hashlib.sha256("".join(batch_digest(batch) for batch in data).encode()).hexdigest()[:40]
