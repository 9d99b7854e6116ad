"""The command that writes a first recipe, without running it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...common.own_code import check_named
from ...errors import InvalidInput
from ...export.exporting import EXPORTERS
from ...formats.menus import AUTO
from ...pipeline.recipes.document import HELD_OUT
from ...pipeline.recipes.recipe import DataEntry, Recipe
from ...pipeline.settings import Settings
from ..console import note
from ..groups.outputs import OutputsOptions
from ..networks import NamedFirst
from ..option_groups import Only, with_groups
from ..options import ForceOption, RunningOptions, check_output
from ..request_options import RequestOptions

if TYPE_CHECKING:
    from ...allocation.request import Request

_DATA = "calibration"  # the name of the data set
RECIPE = Path("recipe.toml")


@with_groups
def recipe(
    source: NamedFirst,
    asked: RequestOptions,
    outputs: OutputsOptions,
    running: Annotated[RunningOptions, Only(("seed", "memory_limit", "max_batches"))],
    held_out: Annotated[
        str,
        typer.Option("--held-out", metavar="DATA", help="Batches that only judge, or a share of --data."),
    ] = str(HELD_OUT),
    formats: Annotated[str, typer.Option(help="The formats to choose from; auto for some 36 of weights.")] = AUTO,
    rounder: Annotated[str, typer.Option(help="What rounds the weights: auto, nearest, gptq or learned.")] = "auto",
    evaluations: Annotated[float, typer.Option(help="Passes over the data to improve the policy; 0 for none.")] = 40,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="TARGET", help=f"A toolchain to write files for: {', '.join(EXPORTERS)}."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the recipe.")] = RECIPE,
    force: ForceOption = False,
) -> None:
    """Write a recipe for 'run', with a comment for every key; nothing is run."""
    check_output(output)
    if output.exists() and not force:
        raise InvalidInput(f"-o {str(output)!r} exists already: name another file, or replace it with --force")
    if source.data is None and source.calibration is None:
        raise InvalidInput("Missing option '--data' (or '--calibration'): say where the batches come from")
    run = running.run()
    for kind, spec in (("model", source.model), ("data", source.data)):
        if spec is not None and not spec.endswith(".npz") and not (source.checkpoint or source.graph):
            check_named(kind, spec)
    text = None if source.calibration is None else str(source.calibration)
    data = DataEntry(source.data, text, source.batch_size, source.context)
    made = Recipe(
        model=source.model,
        data={_DATA: data},
        request=_for_targets(asked.read(), to or []),
        held_out=_judging(held_out, data),
        settings=Settings(formats=formats, rounder=rounder, evaluations=_plain(evaluations), exports=to or ()),
        device=source.device,
        dtype=source.dtype,
        likelihood=outputs.likelihood,
        class_dim=outputs.class_dim,
        heads=tuple(outputs.head or ()),
        outputs=outputs.outputs_from,
        seed=run.seed,
        max_batches=run.max_batches,
        memory_limit=run.memory_limit,
    )
    Recipe.from_document(made.document())  # what cannot be read is refused here, not when it is run
    made.save(output)
    note(f"wrote {output}: run it with mckp-quant run {output}")


def _plain(number: float) -> float:
    """A whole number as one, which reads better."""
    return int(number) if number.is_integer() else number


def _judging(held_out: str, data: DataEntry) -> float | DataEntry:
    """A share, or data like those that calibrate."""
    try:
        return float(held_out)
    except ValueError:
        return dataclasses.replace(data, batches=held_out, text=None)


def _for_targets(request: Request, targets: list[str]) -> Request:
    """The request for the one target that is exported to, where it names none."""
    aims = {EXPORTERS[target].capability for target in targets if target in EXPORTERS} - {None}
    if request.target is not None or len(aims) != 1:
        return request
    return dataclasses.replace(request, target=aims.pop())
