"""The commands that work on a table alone, without torch: solve and compare."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..allocation import allocate
from ..comparison import compare_solvers
from ..files import PREFIX
from ..policy import KIND, VERSION
from ..report.text import comparison_report, policy_report
from .console import note, progress, show, show_json
from .options import (
    AllowOption,
    AtLeastOption,
    BudgetOption,
    CostsOption,
    JsonOption,
    MaybeOutputOption,
    OnOption,
    PinOption,
    SecondsOption,
    SeedOption,
    TableArgument,
    TargetOption,
    TieOption,
    TieRuleOption,
    check_output,
    choices_from,
    costs_from,
    names,
    pairs,
    table_from,
    ties_from,
)

if TYPE_CHECKING:
    from ..comparison import Comparison


def solve(
    table: TableArgument,
    budget: BudgetOption,
    solver: Annotated[str, typer.Option(help="The solver; 'compare' lists those that can run here.")] = "auto",
    pin: PinOption = None,
    tie: TieOption = None,
    tie_rule: TieRuleOption = None,
    allow: AllowOption = None,
    target: TargetOption = None,
    at_least: AtLeastOption = None,
    costs: CostsOption = None,
    on: OnOption = None,
    seconds: SecondsOption = 60.0,
    seed: SeedOption = 0,
    output: MaybeOutputOption = None,
    json: JsonOption = False,
) -> None:
    """Choose a format for every layer: the least predicted loss within the budgets, and a bound that proves it."""
    check_output(output)
    measured = table_from(table, on)
    with progress(f"solving with {solver}"):
        allocation = allocate(
            measured,
            pairs("--budget", budget),
            solver=solver,
            pinned=pairs("--pin", pin),
            tied=ties_from(measured, tie, tie_rule),
            choices=choices_from(allow),
            target=target,
            at_least=pairs("--at-least", at_least),
            costs=costs_from(costs),
            seconds=seconds,
            seed=seed,
        )
    policy = allocation.policy
    for each in allocation.notes:
        note(each)
    if output is not None:
        policy.save(output)
        note(f"wrote {output}")
    if json:
        show_json({"schema": f"{PREFIX}/{KIND}/{VERSION}", **policy.document()})
    else:
        show(policy_report(policy))


def compare(
    table: TableArgument,
    budget: BudgetOption,
    solver: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Which solvers; by default every one that can run here.")
    ] = None,
    pin: PinOption = None,
    tie: TieOption = None,
    tie_rule: TieRuleOption = None,
    allow: AllowOption = None,
    target: TargetOption = None,
    at_least: AtLeastOption = None,
    costs: CostsOption = None,
    on: OnOption = None,
    seconds: SecondsOption = 60.0,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Solve a table with every solver, and set side by side what each finds, how fast, and on what proof."""
    measured = table_from(table, on)
    with progress("comparing solvers") as report:
        comparison = compare_solvers(
            measured,
            pairs("--budget", budget),
            solvers=None if solver is None else names(solver),
            pinned=pairs("--pin", pin),
            tied=ties_from(measured, tie, tie_rule),
            choices=choices_from(allow),
            target=target,
            at_least=pairs("--at-least", at_least),
            costs=costs_from(costs),
            seconds=seconds,
            seed=seed,
            progress=report,
        )
    if json:
        show_json(_document(comparison))
    else:
        show(comparison_report(comparison))
    failed = [row.solver for row in comparison.rows if row.reason.startswith("failed")]
    if failed:
        note(f"failed: {', '.join(failed)}")
        raise typer.Exit(1)


def _document(comparison: Comparison) -> dict[str, Any]:
    return {
        "schema": f"{PREFIX}/comparison/1",
        "unit": comparison.unit,
        "reference": comparison.reference,
        "proved": comparison.proved,
        "budgets": [dataclasses.asdict(each) for each in comparison.index.budgets],
        "rows": [dataclasses.asdict(row) for row in comparison.rows],
    }
