"""Makes weight banks: rounds every layer of a network to every format, one layer at a time."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from typing import TYPE_CHECKING, cast

from ..common.amounts import bytes_of
from ..common.run_options import RunOptions
from ..errors import InvalidInput
from ..formats import menus
from ..formats.capabilities import capability, held_scales
from ..formats.format import as_formats
from ..formats.ranges import ActivationRanges
from ..network.batches import as_batches
from ..network.checkpoints.plain_names import unwrapped
from ..network.discovery import discover, uses_of
from ..network.fingerprint import DataDigest, tensor_digest
from ..network.weight_uses import MIXTURES
from .bank import WeightBank
from .banks.folder import described_in, open_folder
from .banks.memory import Memory
from .blocks import Blocks
from .calibration import calibrate_ranges
from .inputs import InputRounding
from .rounder import BLOCK, NOTHING
from .rounders import Gptq, rounder_named
from .statistics import FLOAT_INPUT, statistics_in_waves

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
        ``"auto"`` takes what `formats.menu` gives for the layers and the target.
    rounder
        A rounder or its name; ``"auto"`` is `Gptq`, which rounds layers whose inputs are not seen to nearest.
    target
        The export target, if scales are to be rounded to what its runtime holds them in: vLLM and SGLang hold those of
        packed integers in the network's own float16 or bfloat16.
    layers
        Names of the layers; all by default.
    activation_range
        As for `measure`.
    output
        A folder for the bank, from which codes are read when they are needed. Where it holds the same bank already,
        or part of it, that is not made again. None to keep it in memory.
    run
        How many batches are read at most, and progress, layer by layer. ``memory_limit`` is for the sums over inputs:
        the network runs over the batches as many times as they take to gather within it, `statistics.MEMORY` bytes by
        default.

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
    run.only("round_weights", "max_batches", "memory_limit", "progress")
    model = unwrapped(model)
    asked = formats if formats == menus.AUTO else as_formats(formats)
    chosen = rounder_of(rounder)
    if target is not None:
        capability(target)  # refuses a name that is none
    data = list(itertools.islice(as_batches(batches, model), run.max_batches))
    rows = _chosen(model, data[0], layers)
    columns = tuple(each for each in menus.formats_for(asked, rows, target) if each.weights_only.name != "float")
    if not columns:
        raise InvalidInput("none of the formats stores weights: there is nothing to round, give one such as 'w4'")
    weights = {name: use.weight.detach() for name, use in uses_of(model, rows).items()}
    from_inputs = chosen.needs != NOTHING
    digest = _digest(data) if from_inputs else ""
    ranges = None
    if from_inputs and any(scheme.calibrated for scheme in _schemes(columns)):
        ranges = activation_range if isinstance(activation_range, ActivationRanges) else None
        ranges = ranges or _earlier_ranges(output, digest, columns, str(activation_range))
        ranges = ranges or calibrate_ranges(model, data, columns, rule=str(activation_range))
    bank = WeightBank(
        layers=rows,
        formats=columns,
        rounder=described(chosen),
        target=target or "",
        weights={row.name: tensor_digest(weights[row.name]) for row in rows},
        data=digest,
        samples=sum(batch.size for batch in data) if from_inputs else 0,
        as_nearest=(),
        store=Memory(),
        ranges=ranges,
    )
    store = Memory() if output is None else open_folder(output, bank.document(finished=False))
    found = {row.name: store.seen(row, columns) for row in rows}
    left = [row for row in rows if found[row.name] is None]
    limit = None if run.memory_limit is None else bytes_of("memory_limit", run.memory_limit)
    done = len(rows) - len(left)
    waves: Iterable[tuple[Sequence[Layer], Mapping[tuple[str, str], InputStatistics]]] = [(left, {})]
    if from_inputs:
        waves = statistics_in_waves(model, data, left, _roundings(left, columns, bank.ranges), limit)
    blocks = Blocks(model, data) if chosen.needs == BLOCK else None
    for wave, statistics in waves:
        for row in wave:
            around = None if blocks is None else blocks.of(row)
            seen = not from_inputs or (row.name, FLOAT_INPUT) in statistics
            kept = {entry: _held(target, entry, weights[row.name]) for entry in columns}
            rounded = encode_layer(chosen, weights[row.name], row, tuple(kept.values()), statistics, around)
            encoded = {entry: rounded[each] for entry, each in kept.items()}
            store.write(row, {entry: each.compact(entry) for entry, each in encoded.items()}, seen=seen)
            _say_unseen_experts(row, statistics)
            found[row.name] = seen
            done += 1
            run.report(done, len(rows))
    unseen = tuple(row.name for row in rows if not found[row.name])
    if unseen:
        logger.warning("no input of %s was seen: rounded to nearest", ", ".join(map(repr, unseen)))
    bank = dataclasses.replace(bank, as_nearest=unseen, store=store)
    return bank if isinstance(store, Memory) else bank.finished_in(store)


def _held(target: str | None, entry: Format, weight: Tensor) -> Format:
    """The format with scales as the target's runtime holds them."""
    held = held_scales(target, entry, str(weight.dtype).removeprefix("torch."))
    return dataclasses.replace(entry, held=held) if held else entry


def _say_unseen_experts(layer: Layer, statistics: Mapping[tuple[str, str], InputStatistics]) -> None:
    seen = statistics.get((layer.name, FLOAT_INPUT))
    if layer.kind in MIXTURES and seen is not None and bool((seen.rows <= 0).any()):
        experts = (seen.rows <= 0).nonzero().flatten().tolist()
        logger.warning(
            "no token reached expert %s of %r: rounded to nearest there", ", ".join(map(str, experts)), layer.name
        )


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
    """A rounder with its options, as files name it; an option that is a rounder itself is described likewise."""
    options = ", ".join(
        f"{each.name}={_option(getattr(rounder, each.name))}"
        for each in dataclasses.fields(rounder)  # type: ignore[arg-type]
    )
    return f"{rounder.name}({options})" if options else rounder.name


def _option(value: object) -> str:
    return described(cast("Rounder", value)) if dataclasses.is_dataclass(value) else repr(value)


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


def _earlier_ranges(
    output: str | os.PathLike[str] | None, data: str, formats: Sequence[Format], rule: str
) -> ActivationRanges | None:
    """The ranges of a bank that was begun in the folder, where they are the same."""
    found = None if output is None else described_in(output)
    if found is None or found["ranges"] is None or found["data"] != data or found["formats"] != tuple(formats):
        return None
    ranges: ActivationRanges = found["ranges"]
    return ranges if ranges.rule == rule else None


def _schemes(formats: Sequence[Format]) -> list[ActivationScheme]:
    found = [entry.activation_scheme for entry in formats if entry.activation_scheme is not None]
    return list(dict.fromkeys(found))


def _roundings(
    layers: Sequence[Layer], formats: Sequence[Format], ranges: ActivationRanges | None
) -> dict[str, dict[str, InputRounding]]:
    """From the names of activation schemes and layers to what rounds the layer's input, as far as ranges are known."""
    found: dict[str, dict[str, InputRounding]] = {}
    for scheme in _schemes(formats):
        own = found.setdefault(scheme.name, {})
        for layer in layers:
            if not scheme.calibrated:
                own[layer.name] = InputRounding(scheme)
                continue
            known = {} if ranges is None else ranges.ranges
            name = next((each for each in (layer.name, *layer.ties) if (each, scheme.name) in known), None)
            if name is not None:
                own[layer.name] = InputRounding(scheme, *known[name, scheme.name])
    return found


def _digest(data: Sequence[Batch]) -> str:
    digest, found = DataDigest(), ""
    for batch in data:
        found = digest.add(batch)
    return found
