"""The commands that work on a table alone, without torch: solve and compare."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..allocation.allocating import allocate
from ..allocation.comparison import compare_solvers
from ..common.documents import PREFIX
from ..costs.files import targets_of
from ..policy.policy import KIND, VERSION
from ..report.plots.policy_plot import draw_policy
from ..report.text import comparison_report, policy_report
from .console import note, progress, show, show_json
from .groups.floats import tell_floats
from .groups.pictures import PictureOptions
from .option_groups import Inputs, Only, with_groups
from .options import JsonOption, MaybeResultOptions, RunningOptions, SecondsOption, SeedOption, TableOptions, names
from .request_options import RequestOptions

if TYPE_CHECKING:
    from ..allocation.comparison import Comparison
    from ..allocation.request import Request
    from ..costs.costs import Budget


@with_groups
def solve(
    table: TableOptions,
    asked: RequestOptions,
    result: MaybeResultOptions,
    pictures: PictureOptions,
    inputs: Inputs,
    solver: Annotated[str, typer.Option(help="The solver; 'compare' lists those that can run here.")] = "auto",
    seconds: SecondsOption = 60.0,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Choose a format for every layer: the least predicted loss within the budgets, and a bound that proves it."""
    result.check(inputs)
    pictures.check()
    request = asked.read()
    measured = table.read()
    with progress(f"solving with {solver}"):
        allocation = allocate(measured, request, solver=solver, seconds=seconds, seed=seed)
    policy = allocation.policy
    for each in allocation.notes:
        note(each)
    if request.target is None and measured.files:  # of a table that knows its network
        for each in targets_of(measured, policy.formats):
            note(each)
    tell_floats(policy, measured)
    written = result.write(KIND, VERSION, policy.document(), inputs)
    pictures.draw(lambda: draw_policy(policy))
    if json:
        show_json(written)
    else:
        show(policy_report(policy))


@with_groups
def compare(
    table: TableOptions,
    asked: RequestOptions,
    running: Annotated[RunningOptions, Only(("seed",))],
    solver: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Which solvers; by default every one that can run here.")
    ] = None,
    seconds: SecondsOption = 60.0,
    json: JsonOption = False,
) -> None:
    """Set every solver side by side on a table; 'compete' does so with methods on a network."""
    request = asked.read()
    measured = table.read()
    with progress("comparing solvers") as report:
        comparison = compare_solvers(
            measured,
            request,
            solvers=None if solver is None else names(solver),
            seconds=seconds,
            run=running.run(report),
        )
    if json:
        show_json(_document(comparison, request))
    else:
        show(comparison_report(comparison))
    failed = [row.solver for row in comparison.rows if row.reason.startswith("failed")]
    if failed:
        note(f"failed: {', '.join(failed)}")
        raise typer.Exit(1)


def _document(comparison: Comparison, request: Request) -> dict[str, Any]:
    return {
        "schema": f"{PREFIX}/comparison/1",
        "request": request.document(),
        "unit": comparison.unit,
        "reference": comparison.reference,
        "proved": comparison.proved,
        "budgets": [_budget(each) for each in comparison.index.budgets],
        "rows": [dataclasses.asdict(row) for row in comparison.rows],
    }


def _budget(budget: Budget) -> dict[str, Any]:
    # The document is older than the field's name, and keeps its own.
    return {"weights" if name == "n_weights" else name: entry for name, entry in dataclasses.asdict(budget).items()}
