"""The commands that let methods run the network itself: search, and what compare does with a network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..allocation.request import Request
from ..common.documents import PREFIX, plain
from ..errors import InvalidInput
from ..report.searched import search_report, standings_report
from .console import note, progress, show, show_json
from .networks import (
    MODEL_HELP,
    CalibrationOption,
    ContextOption,
    DeviceOption,
    DtypeOption,
    MaybeBatchSizeOption,
    MaybeDataOption,
    Source,
)
from .options import (
    ActivationsOption,
    AllowOption,
    AtLeastOption,
    BudgetOption,
    CostsOption,
    JsonOption,
    LikelihoodOption,
    OnOption,
    OutputOption,
    PinOption,
    SeedOption,
    TableArgument,
    TargetOption,
    TieOption,
    TieRuleOption,
    activations_from,
    check_output,
    choices_from,
    costs_from,
    pairs,
    table_from,
    ties_from,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..tables.table import SensitivityTable
from ..common.packages import PackageMissing
from ..solvers import NoSolution

ComparedModelOption = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help=f"Compare methods on a network. {MODEL_HELP}")
]
HeldOutOption = Annotated[
    str | None, typer.Option("--held-out", metavar="DATA", help="What methods are judged on, as for --data.")
]
MethodsOption = Annotated[
    str | None, typer.Option("--methods", metavar="NAME,NAME", help="Which methods, by default all that can run.")
]
EvaluationsOption = Annotated[
    int, typer.Option("--evaluations", help="Passes over the data that each search may make.")
]


def search(
    table: TableArgument,
    budget: BudgetOption,
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL_HELP)],
    output: OutputOption,
    data: MaybeDataOption = None,
    calibration: CalibrationOption = None,
    method: Annotated[
        str, typer.Option(help="evoq, emq, level_switch, differentiable, progressive or random.")
    ] = "evoq",
    fitness: Annotated[
        str | None, typer.Option(help="kl, squared, loss or error; by default the method's own.")
    ] = None,
    evaluations: Annotated[
        float | None, typer.Option(help="Passes over the data that may be made; by default what the method needs.")
    ] = None,
    limit: Annotated[float | None, typer.Option("--limit", help="Seconds that the search may take.")] = None,
    pin: PinOption = None,
    tie: TieOption = None,
    tie_rule: TieRuleOption = None,
    allow: AllowOption = None,
    target: TargetOption = None,
    at_least: AtLeastOption = None,
    costs: CostsOption = None,
    activations: ActivationsOption = None,
    on: OnOption = None,
    likelihood: LikelihoodOption = "categorical",
    batch_size: MaybeBatchSizeOption = None,
    context: ContextOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="FILE", help="Keeps what was measured; a later run goes on.")
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Search for a policy by running the network under many, within the budgets, and write the best one."""
    check_output(output)
    measured = table_from(table, on)
    request = Request(
        pairs("--budget", budget),
        pinned=pairs("--pin", pin),
        tied=ties_from(measured, tie, tie_rule),
        choices=choices_from(allow),
        target=target,
        at_least=pairs("--at-least", at_least),
        costs=costs_from(costs),
        activations=activations_from(activations),
    )
    source = Source(model, data, calibration, batch_size, context, device, dtype)
    network = source.network()
    batches = list(source.batches(network, stream=False))

    from ..common.run_options import RunOptions
    from ..network.outputs import Outputs
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
            seconds=limit,
            outputs=Outputs(likelihood=likelihood),
            run=RunOptions(seed=seed, checkpoint=checkpoint, progress=report),
        )
    found.policy.save(output)
    note(f"wrote {output}")
    if json:
        figures = {name: getattr(found, name) for name in ("fitness", "evaluations", "seconds", "stopped", "history")}
        show_json(plain({"schema": f"{PREFIX}/search/1", **figures, "policy": found.policy.document()}))
    else:
        show(search_report(found))


def compare_methods(
    source: Source,
    held_out: str | None,
    table: SensitivityTable,
    request: Request,
    methods: Sequence[str] | None,
    evaluations: int,
    likelihood: str,
    seed: int,
    json: bool,
) -> None:
    """Let methods choose policies and judge all of them on the same data.

    Parameters
    ----------
    source
        The network and the calibration data.
    held_out
        The data to judge on, as for ``--data``; None for the calibration data, which flatters searches.
    table, request, evaluations, likelihood, seed
        As for `search.run_method`.
    methods
        Their names; None for all.
    json
        Whether to print a document instead of a table.
    """
    from ..common.run_options import RunOptions
    from ..evaluation.evaluator import Evaluator
    from ..network.outputs import Outputs
    from ..search import METHODS, run_method
    from ..search.all_methods import UNIFORM

    network = source.network()
    batches = list(source.batches(network, stream=False))
    judged_on = batches
    if held_out is None:
        note("no --held-out: judged on the data that searches were made on, which flatters them")
    else:
        judged_on = list(_of(source, held_out).batches(network, stream=False))
    outputs = Outputs(likelihood=likelihood)
    judge = Evaluator(network, judged_on, outputs=outputs)
    rows, tables = [], {"gauss_newton": table}
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
                    outputs=outputs,
                    run=RunOptions(seed=seed, progress=report),
                )
            except (InvalidInput, NoSolution, PackageMissing) as error:
                if methods is not None or name == UNIFORM:  # the first: it says where no policy fits at all
                    raise
                note(f"{name} left out: {error}")
                continue
            rows.append((standing, None if standing.policy is None else judge.evaluate(standing.policy)))
    if not json:
        show(standings_report(rows))
        return
    documents = [
        {
            "method": standing.method,
            "policy": None if standing.policy is None else standing.policy.document(),
            "kl": None if measured is None else measured.kl,
            "kl_stderr": None if measured is None else measured.kl_stderr,
            "accuracy": None if measured is None else measured.accuracy,
            "evaluations": standing.evaluations,
            "seconds": standing.seconds,
            "status": standing.status,
        }
        for standing, measured in rows
    ]
    show_json(plain({"schema": f"{PREFIX}/methods/1", "rows": documents}))


def _of(source: Source, where: str) -> Source:
    """The same network with other data, named in the same way."""
    if source.calibration is not None:
        return dataclasses.replace(source, calibration=Path(where))
    return dataclasses.replace(source, data=where)
