"""The commands that let methods run the network itself: search, and compete, which sets methods side by side."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.checks import check_seconds, check_seed
from ..common.documents import PREFIX, plain
from ..common.packages import PackageMissing
from ..errors import InvalidInput
from ..policy.policy import KIND, VERSION
from ..report.plots.search_plot import draw_search
from ..report.searched import search_report, standings_report
from ..solvers import NoSolution
from .console import note, progress, show, show_json
from .groups.outputs import OutputsOptions
from .groups.pictures import PictureOptions
from .networks import Source, announce
from .option_groups import Inputs, Only, with_groups
from .options import BankOptions, JsonOption, ResultOptions, RunningOptions, TableOptions, names
from .request_options import RequestOptions, refuse_constraints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from ..allocation.request import Request
    from ..evaluation.figures import Evaluation
    from ..rounding.chosen_weights import Weights
    from ..search.all_methods import MethodResult
    from ..tables.table import SensitivityTable

_WHY = "searches on the network keep budgets, ties, pins and choices, and no constraints beyond these"


@with_groups
def search(
    table: TableOptions,
    asked: RequestOptions,
    source: Source,
    outputs: OutputsOptions,
    bank: BankOptions,
    running: Annotated[RunningOptions, Only(("seed", "checkpoint", "max_batches"))],
    result: ResultOptions,
    pictures: PictureOptions,
    inputs: Inputs,
    method: Annotated[
        str, typer.Option(help="evoq, emq, level_switch, differentiable, progressive or random.")
    ] = "evoq",
    fitness: Annotated[
        str | None, typer.Option(help="kl, squared, loss or error; by default the method's own.")
    ] = None,
    evaluations: Annotated[
        float | None, typer.Option(help="Passes over the data that may be made; by default what the method needs.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Time limit of the search; by default none.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Search for a policy by running the network under many, within the budgets, and write the best one."""
    result.check(inputs)
    pictures.check()
    check_seed(running.seed)
    if seconds is not None:
        check_seconds(seconds)
    request = asked.read()
    refuse_constraints(request, "search", _WHY)
    measured = table.read()
    network = source.network()
    batches = source.some_batches(network, running.max_batches)
    weights = bank.read()

    allowed = "as many passes over them as the method needs" if evaluations is None else f"up to {evaluations:g} passes"
    announce(batches, allowed)

    from ..search import search as run_search

    with progress(f"searching with {method}") as report:
        found = run_search(
            network,
            measured,
            request,
            batches,
            method=method,
            fitness=fitness,
            evaluations=evaluations,
            bank=weights,
            outputs=outputs.read(network),
            run=dataclasses.replace(running.run(report), seconds=seconds),
        )
    result.write(KIND, VERSION, found.policy.document(), inputs)
    pictures.draw(lambda: draw_search(found))
    if json:
        figures = {name: getattr(found, name) for name in ("fitness", "evaluations", "seconds", "stopped", "history")}
        head = {"schema": f"{PREFIX}/search/1", "request": request.document()}
        show_json(plain({**head, **figures, "policy": found.policy.document()}))
    else:
        show(search_report(found))


@with_groups
def compete(
    table: TableOptions,
    asked: RequestOptions,
    source: Source,
    outputs: OutputsOptions,
    bank: BankOptions,
    running: Annotated[RunningOptions, Only(("seed", "max_batches"))],
    held_out: Annotated[
        str | None,
        typer.Option(
            "--held-out",
            metavar="DATA",
            help="What methods are judged on, as for --data; by default the data of the searches, which flatters them.",
        ),
    ] = None,
    methods: Annotated[
        str | None, typer.Option("--methods", metavar="NAME,NAME", help="Which methods, by default all that can run.")
    ] = None,
    evaluations: Annotated[
        int, typer.Option("--evaluations", help="Passes over the data that each search may make.")
    ] = 200,
    json: JsonOption = False,
) -> None:
    """Let methods choose policies for a network, and judge all of them on the same data."""
    check_seed(running.seed)
    request = asked.read()
    refuse_constraints(request, "compete", _WHY)
    measured = table.read()
    network = source.network()
    batches = source.some_batches(network, running.max_batches)
    judged_on = batches
    if held_out is None:
        note("no --held-out: judged on the data that searches were made on, which flatters them")
    else:
        judged_on = _of(source, held_out).some_batches(network, running.max_batches)

    announce(batches, f"up to {evaluations} passes for each method, and one on the data that judge")

    from ..evaluation.evaluator import Evaluator

    weights = bank.read()
    judge = Evaluator(
        network, judged_on, outputs=outputs.read(network), bank=weights.bank, other_rounder=weights.other_rounder
    )
    chosen = None if methods is None else names(methods)
    rows = [
        (standing, None if standing.policy is None else judge.evaluate(standing.policy))
        for standing in _standings(network, batches, measured, request, chosen, evaluations, weights, outputs, running)
    ]
    if json:
        documents = [_row(standing, evaluation) for standing, evaluation in rows]
        show_json(plain({"schema": f"{PREFIX}/methods/1", "request": request.document(), "rows": documents}))
    else:
        show(standings_report(rows))


def _standings(
    network: nn.Module,
    batches: list[object],
    table: SensitivityTable,
    request: Request,
    methods: list[str] | None,
    evaluations: int,
    weights: Weights,
    outputs: OutputsOptions,
    running: RunningOptions,
) -> Iterator[MethodResult]:
    """What each method chooses; where none is named, those that cannot run are left out with a note."""
    from ..search import METHODS, run_method
    from ..search.all_methods import UNIFORM

    tables = {"gauss_newton": table}
    for name in METHODS if methods is None else methods:
        with progress(name) as report:
            try:
                standing = run_method(
                    name,
                    network,
                    table,
                    request,
                    batches,
                    evaluations=evaluations,
                    tables=tables,
                    bank=weights,
                    outputs=outputs.read(network),
                    run=running.run(report),
                )
            except (InvalidInput, NoSolution, PackageMissing) as error:
                if methods is not None or name == UNIFORM:  # the first: it says where no policy fits at all
                    raise
                note(f"{name} left out: {error}")
                continue
        yield standing


def _row(standing: MethodResult, evaluation: Evaluation | None) -> dict[str, Any]:
    return {
        "method": standing.method,
        "policy": None if standing.policy is None else standing.policy.document(),
        "kl": None if evaluation is None else evaluation.kl,
        "kl_stderr": None if evaluation is None else evaluation.kl_stderr,
        "accuracy": None if evaluation is None else evaluation.accuracy,
        "evaluations": standing.evaluations,
        "seconds": standing.seconds,
        "status": standing.status,
    }


def _of(source: Source, where: str) -> Source:
    """The same network with other data, named in the same way."""
    if source.calibration is not None:
        return dataclasses.replace(source, calibration=Path(where))
    return dataclasses.replace(source, data=where)
