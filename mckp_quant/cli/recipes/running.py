"""The command that runs a recipe: every step is kept in a folder, and skipped where its result is there and fits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ...common.documents import PREFIX
from ...common.run_options import RunOptions
from ...errors import InvalidInput
from ...pipeline.recipes.recipe import FILE as RECIPE
from ...pipeline.recipes.recipe import DataEntry, Recipe
from ...report.quantized import step_line
from ..console import note, progress, show, show_json, show_text
from ..groups.outputs import OutputsOptions
from ..networks import Source
from ..options import JsonOption, check_output

if TYPE_CHECKING:
    from torch import nn

    from ...pipeline.result import Decision
    from ...pipeline.work import Work


def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, as 'recipe' writes it.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Where the results of the steps are kept; by default RECIPE-output beside the recipe.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Delete the results that are in the folder, and begin anew.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Go from a network to a checked result: round, measure, allocate, refine, finish, validate, export, report.

    A step whose result is in the folder and fits is skipped, so a run that was stopped goes on where it was. The
    folder also gets the recipe that repeats the run, and provenance.json. Exit code 1 if the network is useless.
    """
    if not recipe.exists():
        raise InvalidInput(
            f"there is no recipe {os.fspath(recipe)!r}: name one that is there, or write it with: "
            "mckp-quant recipe MODEL --data DATA --budget NAME=VALUE"
        )
    asked = Recipe.load(recipe)
    folder = recipe.with_name(f"{recipe.stem}-output") if output is None else output
    check_output(folder / "provenance.json")
    work = _work(asked, folder, None if _is_its_own(recipe, folder) else asked)

    from ...pipeline.running import run_steps
    from ...pipeline.steps.judging import judged_of
    from ...pipeline.steps.reporting import report_of
    from ...pipeline.work import Telling

    def decided(decision: Decision) -> None:
        cost = decision.seconds
        line = step_line(decision.step, decision.decided, cost, skipped=decision.skipped, again=decision.again)
        if json:
            note(line)
        else:
            show(Text(line))

    _, provenance = run_steps(work, Telling(step=progress, decided=decided), force=force)
    judged = judged_of(work)
    note(f"wrote {folder}")
    if json:
        result = {"output": str(folder), "chosen": judged.chosen, "validation": judged.best.document()}
        show_json({"schema": f"{PREFIX}/run/1", **result, "provenance": provenance})
    else:
        show_text(f"\n{report_of(work).rstrip()}")
    if judged.best.useless:
        raise typer.Exit(1)


def _is_its_own(recipe: Path, folder: Path) -> bool:
    """Whether a recipe lies where a run writes the recipe that repeats it: a person's own is not written over."""
    repeats = folder / RECIPE
    return repeats.exists() and repeats.samefile(recipe)


def _work(asked: Recipe, folder: Path, repeating: Recipe | None) -> Work:
    """The network and the data of a recipe, loaded."""
    first = _source(asked, next(iter(asked.data.values())))
    network = first.network()

    from ...pipeline.calibration import CalibrationSet, part_data
    from ...pipeline.state import State
    from ...pipeline.steps import STEPS
    from ...pipeline.work import Work
    from ...rounding.banking import rounder_of

    sets = {name: CalibrationSet(_batches(asked, each, network), each.weight) for name, each in asked.data.items()}
    held_out = asked.held_out
    data = part_data(
        sets,
        _batches(asked, held_out, network) if isinstance(held_out, DataEntry) else held_out,
        network,
        rounder_of(asked.settings.rounder),
        seed=asked.seed,
        max_batches=asked.max_batches,
    )
    outputs = OutputsOptions(asked.likelihood, asked.class_dim, list(asked.heads), asked.outputs).read()
    limits = RunOptions(seed=asked.seed, memory_limit=asked.memory_limit)
    state = State(folder)
    return Work(network, data, asked.request, asked.settings, outputs, limits, state, STEPS, recipe=repeating)


def _batches(asked: Recipe, entry: DataEntry, network: nn.Module) -> Any:
    return _source(asked, entry).batches(network)


def _source(asked: Recipe, entry: DataEntry) -> Source:
    return Source(
        model=asked.model,
        data=entry.batches,
        calibration=None if entry.text is None else Path(entry.text),
        batch_size=entry.batch_size,
        context=entry.context,
        device=asked.device,
        dtype=asked.dtype,
    )
