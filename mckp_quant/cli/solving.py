"""The commands that work on a table alone, without torch: solve, and compare where it is given no network."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..allocation.allocating import allocate
from ..allocation.comparison import compare_solvers
from ..allocation.request import Request
from ..common.documents import PREFIX
from ..errors import InvalidInput
from ..policy.policy import KIND, VERSION
from ..report.text import comparison_report, policy_report
from .console import note, progress, show, show_json
from .networks import CalibrationOption, MaybeDataOption, Source
from .options import (
    ActivationsOption,
    AllowOption,
    AtLeastOption,
    BudgetOption,
    ConvertOption,
    CostsOption,
    FallingOption,
    JsonOption,
    LikelihoodOption,
    MaxChangesOption,
    MaxFormatsOption,
    MaybeOutputOption,
    OnOption,
    PinOption,
    PreviousOption,
    RisingOption,
    SecondsOption,
    SeedOption,
    TableArgument,
    TargetOption,
    TieOption,
    TieRuleOption,
    activations_from,
    check_output,
    choices_from,
    constraints_from,
    costs_from,
    names,
    pairs,
    table_from,
    ties_from,
)
from .searching import ComparedModelOption, EvaluationsOption, HeldOutOption, MethodsOption, compare_methods

if TYPE_CHECKING:
    from ..allocation.comparison import Comparison


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
    max_formats: MaxFormatsOption = None,
    previous: PreviousOption = None,
    max_changes: MaxChangesOption = None,
    falling: FallingOption = None,
    rising: RisingOption = None,
    convert: ConvertOption = None,
    activations: ActivationsOption = None,
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
            constraints=constraints_from(max_formats, previous, max_changes, falling, rising, convert),
            activations=activations_from(activations),
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
    max_formats: MaxFormatsOption = None,
    previous: PreviousOption = None,
    max_changes: MaxChangesOption = None,
    falling: FallingOption = None,
    rising: RisingOption = None,
    convert: ConvertOption = None,
    activations: ActivationsOption = None,
    on: OnOption = None,
    model: ComparedModelOption = None,
    data: MaybeDataOption = None,
    calibration: CalibrationOption = None,
    held_out: HeldOutOption = None,
    methods: MethodsOption = None,
    evaluations: EvaluationsOption = 200,
    likelihood: LikelihoodOption = "categorical",
    seconds: SecondsOption = 60.0,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Set every solver side by side on a table; with --model, every method on the real network instead."""
    measured = table_from(table, on)
    if model is not None:
        request = Request(
            pairs("--budget", budget),
            at_least=pairs("--at-least", at_least),
            pinned=pairs("--pin", pin),
            tied=ties_from(measured, tie, tie_rule),
            costs=costs_from(costs),
            choices=choices_from(allow),
            target=target,
            constraints=constraints_from(max_formats, previous, max_changes, falling, rising, convert),
            activations=activations_from(activations),
        )
        source = Source(model, data, calibration)
        chosen = None if methods is None else names(methods)
        compare_methods(source, held_out, measured, request, chosen, evaluations, likelihood, seed, json)
        return
    if data or calibration or held_out or methods:
        raise InvalidInput("--data, --calibration, --held-out and --methods run a network: name it with --model")
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
            constraints=constraints_from(max_formats, previous, max_changes, falling, rising, convert),
            activations=activations_from(activations),
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
