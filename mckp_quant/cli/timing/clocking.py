"""The command that runs networks by the clock, with torch and ONNX Runtime, which it imports when called: time."""

from __future__ import annotations

from typing import Annotated

import typer

from ...bench.environment import environment
from ...common.run_options import RunOptions
from ...report.timed import timing_report
from ...timing.result import KIND, VERSION
from ...timing.running import Clocking
from ..console import note, progress, show, show_json
from ..networks import NamedFirst
from ..option_groups import Inputs, Only, with_groups
from ..options import JsonOption, ResultOptions, RunningOptions, names

_PANEL = "How it is timed"


@with_groups
def time(
    source: NamedFirst,
    result: ResultOptions,
    running: Annotated[RunningOptions, Only(("seed", "max_batches"))],
    inputs: Inputs,
    formats: Annotated[str, typer.Option(help="The formats to time; float is timed in any case.")] = "w4,w8,w8a8",
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime",
            metavar="TARGET",
            help="What computes: onnxruntime, onnxruntime_vnni or onnxruntime_nbits, as export writes it, on the "
            "processor.",
        ),
    ] = "onnxruntime",
    layers: Annotated[
        str | None, typer.Option(metavar="LAYER,LAYER", help="Only these; the others stay in float. By default all.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", rich_help_panel=_PANEL, help="How many samples a run computes.")
    ] = 1,
    threads: Annotated[
        int, typer.Option("--threads", rich_help_panel=_PANEL, help="Threads that the runtime may use.")
    ] = 1,
    rounds: Annotated[
        int,
        typer.Option("--rounds", rich_help_panel=_PANEL, help="In each all networks take turns; the median counts."),
    ] = 15,
    networks: Annotated[
        int | None,
        typer.Option(
            "--networks",
            rich_help_panel=_PANEL,
            help="How many networks to run; by default half as many again as there are differences between formats.",
        ),
    ] = None,
    clock: Annotated[
        str,
        typer.Option(
            "--clock", rich_help_panel=_PANEL, help="wall, or cpu: processor time, where other work disturbs."
        ),
    ] = "wall",
    json: JsonOption = False,
) -> None:
    """Measure what each layer takes in each format on this machine, and write the costs for a latency budget.

    The sum is checked on three whole networks; exit code 1 where it is off, or their order is wrong.
    """
    result.check(inputs)
    running.run()
    clocking = Clocking(rounds=rounds, threads=threads, clock=clock)  # refuses what cannot be used
    network = source.network()
    batches = source.some_batches(network, running.max_batches)

    from ...timing.measuring import time_network

    with progress("timing") as report:
        timing = time_network(
            network,
            batches,
            formats,
            target=runtime,
            layers=None if layers is None else names(layers),
            networks=networks,
            samples=samples,
            clocking=clocking,
            run=RunOptions(seed=running.seed, progress=report),
        )
    written = result.write(KIND, VERSION, {**timing.document(), **environment(("onnxruntime", "torch"))}, inputs)
    if json:
        show_json(written)
        if not timing.holds:
            note(f"mckp-quant: {timing.verdict}")
    else:
        show(timing_report(timing))
    if not timing.holds:
        raise typer.Exit(1)
