"""The commands that ask how good a policy is and improve it: stability, and refine, which runs the network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ..allocation.allocating import allocate
from ..common.documents import PREFIX
from ..report.improved import refinement_report, stability_report
from ..report.text import policy_report
from ..stability.resolving import check_stability
from ..stability.sanity import check_table
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
    ClassDimOption,
    CostsOption,
    JsonOption,
    LikelihoodOption,
    MaybeOutputOption,
    OnOption,
    OutputOption,
    PinOption,
    SecondsOption,
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

SearchCheckpointOption = Annotated[
    Path | None, typer.Option("--checkpoint", metavar="FILE", help="Keeps what was measured; a later run goes on.")
]


def stability(
    table: TableArgument,
    budget: BudgetOption,
    draws: Annotated[int, typer.Option(help="How many tables to draw.")] = 1000,
    rule: Annotated[
        str, typer.Option(help="What the robust policy has least of: worst, or expected regret.")
    ] = "worst",
    pin: PinOption = None,
    tie: TieOption = None,
    tie_rule: TieRuleOption = None,
    allow: AllowOption = None,
    target: TargetOption = None,
    at_least: AtLeastOption = None,
    costs: CostsOption = None,
    activations: ActivationsOption = None,
    on: OnOption = None,
    seconds: SecondsOption = 60.0,
    seed: SeedOption = 0,
    output: MaybeOutputOption = None,
    json: JsonOption = False,
) -> None:
    """Say how sure a table is of its policy, and find one that does well whatever its noise; -o writes that one."""
    check_output(output)
    measured = table_from(table, on)
    allocation = allocate(
        measured,
        pairs("--budget", budget),
        pinned=pairs("--pin", pin),
        tied=ties_from(measured, tie, tie_rule),
        choices=choices_from(allow),
        target=target,
        at_least=pairs("--at-least", at_least),
        costs=costs_from(costs),
        activations=activations_from(activations),
        seconds=seconds,
        seed=seed,
    )
    with progress("solving drawn tables") as report:
        found = check_stability(measured, allocation, draws=draws, rule=rule, seed=seed, progress=report)
    if output is not None:
        found.robust.policy.save(output)
        note(f"wrote {output}")
    if json:
        doubts = [dataclasses.asdict(each) for each in check_table(measured)]
        show_json({"schema": f"{PREFIX}/stability/1", **found.document(), "doubts": doubts})
    else:
        show(stability_report(found, check_table(measured)))


def refine(
    table: TableArgument,
    budget: BudgetOption,
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL_HELP)],
    output: OutputOption,
    data: MaybeDataOption = None,
    calibration: CalibrationOption = None,
    evaluations: Annotated[float, typer.Option(help="Passes over the search data that may be spent.")] = 200,
    with_interactions: Annotated[
        bool, typer.Option("--interactions", help="Measure the terms between layers first, and search with them.")
    ] = False,
    confirm: Annotated[float, typer.Option(help="The share of the batches that is held back from the search.")] = 0.125,
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
    class_dim: ClassDimOption = None,
    batch_size: MaybeBatchSizeOption = None,
    context: ContextOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    checkpoint: SearchCheckpointOption = None,
    seconds: SecondsOption = 60.0,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Improve the best policy of a table by running the network, within the same budgets, and write what is better."""
    check_output(output)
    measured = table_from(table, on)
    allocation = allocate(
        measured,
        pairs("--budget", budget),
        pinned=pairs("--pin", pin),
        tied=ties_from(measured, tie, tie_rule),
        choices=choices_from(allow),
        target=target,
        at_least=pairs("--at-least", at_least),
        costs=costs_from(costs),
        activations=activations_from(activations),
        seconds=seconds,
        seed=seed,
    )
    source = Source(model, data, calibration, batch_size, context, device, dtype)
    network = source.network()
    batches = list(source.batches(network, stream=False))

    from ..common.run_options import RunOptions
    from ..interactions.measuring import measure_interactions
    from ..network.outputs import Outputs
    from ..refinement.refining import refine as refine_policy

    terms, outputs = None, Outputs(likelihood=likelihood, class_dim=class_dim)
    if with_interactions:
        with progress("measuring interactions"):
            terms = measure_interactions(
                network,
                batches,
                formats=measured.formats,
                layers=measured.layer_names,
                outputs=outputs,
                run=RunOptions(seed=seed),
            )
    with progress("refining") as report:
        found = refine_policy(
            network,
            measured,
            allocation,
            batches,
            evaluations=evaluations,
            interactions=terms,
            held_back=confirm,
            outputs=outputs,
            run=RunOptions(seed=seed, checkpoint=checkpoint, progress=report),
        )
    found.policy.save(output)
    note(f"wrote {output}")
    if json:
        show_json({"schema": f"{PREFIX}/refinement/1", **found.document()})
    else:
        show(policy_report(found.policy), refinement_report(found))
