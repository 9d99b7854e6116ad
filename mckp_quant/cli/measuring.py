"""The commands that measure a network, with torch: round and measure; they import it when called."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common.documents import PREFIX
from ..common.run_options import RunOptions
from ..errors import InvalidInput
from ..formats.format import as_formats
from ..formats.menus import AUTO
from ..report.measured import sensitivity_report
from ..report.planned import plan_report
from ..report.plots.sensitivities_plot import draw_sensitivities
from ..report.rounded import bank_report
from ..tables.table import KIND, VERSION
from .console import note, progress, show, show_json
from .groups.caches import KvCacheOptions
from .groups.floats import check_outside
from .groups.outputs import OutputsOptions
from .groups.pictures import PictureOptions
from .networks import NamedFirst, Source, announce
from .option_groups import Inputs, Only, with_groups
from .options import (
    FolderOption,
    ForceOption,
    JsonOption,
    MaybeResultOptions,
    RunningOptions,
    check_output,
    names,
)
from .parts.ranks import ranks

if TYPE_CHECKING:
    from torch import nn

    from ..formats.format import Format
    from ..rounding.bank import WeightBank
    from ..rounding.rounder import Rounder
    from ..tables.table import SensitivityTable

ActivationRangeOption = Annotated[
    str,
    typer.Option(
        "--activation-range", metavar="RULE", help="How ranges of activations are chosen: minmax, percentile or mse."
    ),
]
_MENU = 36  # about as many formats as "auto" stands for
LayersOption = Annotated[str | None, typer.Option(metavar="LAYER,LAYER", help="Only these; by default all.")]


@dataclass(frozen=True)
class TableResultOptions(MaybeResultOptions):
    """Where the table goes."""

    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write the table; needed but for --dry-run."),
    ] = None


@with_groups
def round(  # the command's name; the function of Python has no use here
    source: NamedFirst,
    running: Annotated[RunningOptions, Only(("memory_limit", "max_batches"))],
    output: FolderOption,
    formats: Annotated[str, typer.Option(help="The formats to round to; auto for some 36.")] = "w2,w3,w4,w5,w6,w8",
    rounder: Annotated[
        str, typer.Option(help="gptq, nearest, ...; auto is gptq where a layer's inputs are seen.")
    ] = "auto",
    target: Annotated[
        str | None, typer.Option("--target", help="The export target that scales are to be held for.")
    ] = None,
    activation_range: ActivationRangeOption = "mse",
    layers: LayersOption = None,
    imatrix: Annotated[
        Path | None,
        typer.Option(
            "--imatrix", metavar="FILE", help="A file of llama-imatrix, by which q4_k and its like weigh their errors."
        ),
    ] = None,
    architecture: Annotated[
        str, typer.Option(help="llama.cpp's name for the network, after which layers are found in --imatrix.")
    ] = "llama",
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Round every layer's weight to every format, as well as a rounder can, into a folder: a weight bank.

    Where the folder holds part of the same bank, only what is missing is made.
    """
    check_output(output / "bank.json")
    running.run()  # refuses what cannot be used, before the network is loaded
    wanted = formats if formats == AUTO else as_formats(formats)
    network = source.network()
    batches = source.batches(network)

    announce(batches, "a forward pass over each, to see the layers' inputs", running.max_batches)

    from ..rounding.banking import round_weights
    from ..rounding.banks.folder import clear_folder, size_of
    from ..rounding.ggml.imatrix import ImportanceMatrix
    from ..rounding.rounders import Importance, rounder_named

    chosen: str | Rounder = rounder if rounder == "auto" else rounder_named(rounder)
    if imatrix is not None:
        if rounder not in ("auto", Importance.name):
            raise InvalidInput(f"--rounder {rounder} and --imatrix: only importance reads such a file, leave one out")
        chosen = Importance(ImportanceMatrix.read(imatrix, architecture))
    if force:
        clear_folder(output)
    begun = time.perf_counter()
    with progress("rounding") as report:
        bank = round_weights(
            network,
            batches,
            wanted,
            rounder=chosen,
            target=target,
            layers=None if layers is None else names(layers),
            activation_range=activation_range,
            output=output,
            run=running.run(report),
        )
    seconds, sizes = time.perf_counter() - begun, size_of(output, bank.layers)
    note(f"wrote {output}")
    if json:
        facts = {"seconds": seconds, "bytes": sizes}
        show_json({"schema": f"{PREFIX}/rounded/1", "output": str(output), **bank.document(), **facts})
    else:
        show(bank_report(bank, sizes, seconds))


@with_groups
def measure(
    source: NamedFirst,
    outputs: OutputsOptions,
    running: RunningOptions,
    result: TableResultOptions,
    pictures: PictureOptions,
    inputs: Inputs,
    kv: KvCacheOptions,
    formats: Annotated[
        str, typer.Option(help="The formats to measure; auto for the bank's, or some 36 of weights.")
    ] = "w2,w3,w4,w5,w6,w7,w8",
    method: Annotated[
        str | None,
        typer.Option(
            help="The estimator; by default gauss_newton, and of onnx:FILE measured_kl, which needs no gradients."
        ),
    ] = None,
    activation_range: ActivationRangeOption = "mse",
    probes: Annotated[int | None, typer.Option(help="Random probes for each batch; 1 by default.")] = None,
    layers: LayersOption = None,
    rounder: Annotated[
        str | None,
        typer.Option(
            "--rounder",
            metavar="NAME",
            help="What rounds the weights: nearest, gptq or auto, on every other batch; by default nearest.",
        ),
    ] = None,
    bank: Annotated[
        Path | None,
        typer.Option("--bank", metavar="FOLDER", help="The weights that are measured, as 'round' writes them."),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option("--precision", help="Stop at this relative standard error of every loss that matters."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="K/N",
            help="Read every N-th batch only, beginning with the K-th; 'merge' puts the parts together.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="TARGET",
            help="Also learn what this target's file takes, for the budget file_bytes: onnxruntime, onnxruntime_nbits, "
            "or gguf=FILE.gguf; may be repeated. torchao and compressed_tensors are always known.",
        ),
    ] = None,
    allow_float: Annotated[
        bool,
        typer.Option("--allow-float", help="Measure a network of which more than 5 % is in no layer and stays float."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the layers and what it would take in memory and time.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Measure how much each layer suffers from each format, and write the table."""
    if result.output is None and not dry_run:
        raise InvalidInput("Missing option '--output' / '-o': say where to write the table")
    if not dry_run:
        result.check(inputs)
        pictures.check()
    replace(running.run(), part=part)  # refuses what cannot be used, before the network is loaded
    kv.check(part)
    if rounder is not None and bank is not None:
        raise InvalidInput(f"--rounder {rounder} and --bank {str(bank)!r}: the bank says what rounded it, give one")
    wanted = formats if formats == AUTO else as_formats(formats)
    method = method or ("measured_kl" if source.graph else "gauss_newton")
    weights = rounder if bank is None else _bank_from(bank)
    network = source.network(weights=not dry_run)
    if dry_run:
        _show_plan(source, network, wanted, method, weights, outputs, running, json)
        return
    check_outside(network, allowed=allow_float)
    batches = source.batches(network)

    from ..network.weight_uses import uses_in
    from ..sensitivity.arguments import estimator_of
    from ..sensitivity.measuring import measure as measure_network

    estimator, declared = estimator_of(method, probes), outputs.read(network)
    entries = _MENU if isinstance(wanted, str) else len(wanted)
    evaluations = estimator.passes.of(len(uses_in(network)), entries, 0)
    takes = f"what takes as long as some {3 * evaluations:.0f} forward passes of each"

    with ranks(part) as (own, speaks), progress("measuring") as report:
        if speaks:
            announce(batches, takes, running.max_batches)
        table = measure_network(
            network,
            batches,
            formats=wanted,
            method=estimator,
            outputs=declared,
            layers=None if layers is None else names(layers),
            precision=precision,
            activation_range=activation_range,
            bank=weights,
            run=replace(running.run(report), part=own),
        )
    if not speaks:
        return
    if source.graph:
        table = _known(table, network)
    asked = RunOptions(seed=running.seed, max_batches=running.max_batches)
    table = kv.added(table, network, source.batches(network), declared, asked)
    if target:
        from .exporting import with_file_sizes

        table = with_file_sizes(table, target, network, lambda: source.some_batches(network, 1))
    written = result.write(KIND, VERSION, table.document(), inputs)
    pictures.draw(lambda: draw_sensitivities(table))
    if json:
        show_json(written)
    else:
        show(sensitivity_report(table))


def _known(table: SensitivityTable, network: nn.Module) -> SensitivityTable:
    from ..onnx_models import OnnxNetwork, without_guesses

    assert isinstance(network, OnnxNetwork)
    return without_guesses(table, network)


def _bank_from(folder: Path) -> WeightBank:
    from ..rounding.bank import WeightBank

    return WeightBank.load(folder)


def _show_plan(
    source: Source,
    network: nn.Module,
    formats: str | tuple[Format, ...],
    method: str,
    weights: str | WeightBank | None,
    outputs: OutputsOptions,
    running: RunningOptions,
    json: bool,
) -> None:
    from ..sensitivity.planning import plan

    planned = plan(
        network,
        source.first_batch(network),
        formats=formats,
        method=method,
        bank=weights,
        outputs=outputs.read(network),
        batches=running.max_batches,
        run=RunOptions(memory_limit=running.memory_limit),
    )
    if json:
        show_json({"schema": f"{PREFIX}/plan/1", **planned.document()})
    else:
        show(plan_report(planned))
