"""The commands that improve a policy, its table or its network: stability, and those that run the network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..allocation.allocating import allocate
from ..common.checks import check_seconds
from ..common.documents import PREFIX
from ..common.run_options import RunOptions
from ..policy.policy import KIND, VERSION, Policy
from ..report.improved import confirmation_report, finished_report, refinement_report, stability_report
from ..report.plots.stability_plot import draw_stability
from ..report.text import policy_report
from ..stability.resolving import check_stability
from ..stability.sanity import check_table
from ..tables.table import KIND as TABLE
from ..tables.table import VERSION as TABLE_VERSION
from .console import note, progress, show, show_json
from .groups.outputs import OutputsOptions
from .groups.pictures import PictureOptions
from .networks import NamedFirst, Source, announce
from .option_groups import Inputs, Only, with_groups
from .options import (
    BankOptions,
    FolderOption,
    ForceOption,
    JsonOption,
    MaybeResultOptions,
    PolicyArgument,
    ResultOptions,
    RunningOptions,
    SecondsOption,
    TableOptions,
    check_output,
    check_replaced,
)
from .request_options import RequestOptions, refuse_constraints

if TYPE_CHECKING:
    from torch import nn

    from ..allocation.allocating import Allocation
    from ..interactions.form import Interactions
    from ..refinement.result import Refinement
    from ..rounding.chosen_weights import Weights
    from ..tables.table import SensitivityTable


@with_groups
def stability(
    table: TableOptions,
    asked: RequestOptions,
    running: Annotated[RunningOptions, Only(("seed",))],
    result: MaybeResultOptions,
    pictures: PictureOptions,
    inputs: Inputs,
    draws: Annotated[int, typer.Option(help="How many tables to draw.")] = 1000,
    rule: Annotated[
        str, typer.Option(help="What the robust policy has least of: worst, or expected regret.")
    ] = "worst",
    seconds: SecondsOption = 60.0,
    json: JsonOption = False,
) -> None:
    """Say how sure a table is of its policy, and find one that does well whatever its noise; -o writes that one."""
    result.check(inputs)
    pictures.check()
    request = asked.read()
    measured = table.read()
    allocation = allocate(measured, request, seconds=seconds, seed=running.seed)
    with progress("solving drawn tables") as report:
        found = check_stability(measured, allocation, draws=draws, rule=rule, run=running.run(report))
    result.write(KIND, VERSION, found.robust.policy.document(), inputs)
    pictures.draw(lambda: draw_stability(found))
    doubts = check_table(measured)
    if not json:
        show(stability_report(found, doubts))
        return
    listed = [dataclasses.asdict(each) for each in doubts]
    head = {"schema": f"{PREFIX}/stability/1", "request": request.document()}
    show_json({**head, **found.document(), "doubts": listed})


@with_groups
def refine(
    table: TableOptions,
    asked: RequestOptions,
    source: Source,
    outputs: OutputsOptions,
    bank: BankOptions,
    running: Annotated[RunningOptions, Only(("seed", "checkpoint", "max_batches"))],
    result: ResultOptions,
    inputs: Inputs,
    evaluations: Annotated[float, typer.Option(help="Passes over the search data that may be spent.")] = 200,
    with_interactions: Annotated[
        bool, typer.Option("--interactions", help="Measure the terms between layers first, and search with them.")
    ] = False,
    held_back: Annotated[
        float, typer.Option("--held-back", help="The share of the batches that is held back from the search.")
    ] = 0.125,
    seconds: SecondsOption = 60.0,
    json: JsonOption = False,
) -> None:
    """Improve the best policy of a table by running the network, within the same budgets, and write what is better."""
    result.check(inputs)
    request = asked.read()
    if with_interactions:
        refuse_constraints(request, "refine --interactions", "no solver takes constraints and terms between layers")
    measured = table.read()
    allocation = allocate(measured, request, seconds=seconds, seed=running.seed)
    network = source.network()
    batches = source.some_batches(network, running.max_batches)
    weights = bank.read()
    announce(batches, f"up to {evaluations:g} passes over those that are not held back")
    terms = _measured_terms(network, batches, measured, weights, outputs, running) if with_interactions else None
    found = _refined(network, batches, measured, allocation, terms, evaluations, held_back, weights, outputs, running)
    result.write(KIND, VERSION, found.policy.document(), inputs)
    if json:
        show_json({"schema": f"{PREFIX}/refinement/1", "request": request.document(), **found.document()})
    else:
        show(policy_report(found.policy), refinement_report(found))


@with_groups
def confirm(
    table: TableOptions,
    asked: RequestOptions,
    source: Source,
    outputs: OutputsOptions,
    bank: BankOptions,
    running: Annotated[RunningOptions, Only(("seed", "max_batches"))],
    result: ResultOptions,
    inputs: Inputs,
    evaluations: Annotated[int, typer.Option(help="Passes over the data that may be spent.")] = 40,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Measure no further cell after so long; by default no limit.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="Where to write the best policy of that table, too.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure the cells that carry half of the loss of a table's best policy, solve again, and write that table."""
    result.check(inputs)
    if policy is not None:
        check_output(policy)
        check_replaced(policy, inputs, force=result.force)
    if seconds is not None:
        check_seconds(seconds)
    request = asked.read()
    measured = table.read()
    network = source.network()
    batches = source.some_batches(network, running.max_batches)
    from ..refinement.confirming import confirm_table

    with progress("confirming") as report:
        found = confirm_table(
            network,
            measured,
            request,
            batches,
            bank=bank.read(),
            outputs=outputs.read(network),
            evaluations=evaluations,
            run=dataclasses.replace(running.run(report), seconds=seconds),
        )
    result.write(TABLE, TABLE_VERSION, found.table.document(), inputs)
    if policy is not None:
        MaybeResultOptions(policy, result.force).write(KIND, VERSION, found.policy.document(), inputs)
    if json:
        show_json({"schema": f"{PREFIX}/confirmation/1", "request": request.document(), **found.document()})
    else:
        show(policy_report(found.policy), confirmation_report(found))


_PASSES = 20  # of a network through all batches: codes in order, and the trials of matching, each corrected and judged


@dataclass(frozen=True)
class FinishBankOptions(BankOptions):
    """The bank that a network is finished from."""

    bank: Annotated[
        Path | None,
        typer.Option(
            "--bank",
            metavar="FOLDER",
            help="The weights that the table was measured with, as round wrote them; by default they are rounded here.",
        ),
    ] = None


@with_groups
def finish(
    source: NamedFirst,
    policy: PolicyArgument,
    output: FolderOption,
    outputs: OutputsOptions,
    bank: FinishBankOptions,
    running: Annotated[RunningOptions, Only(("seed", "max_batches"))],
    inputs: Inputs,
    rounder: Annotated[str, typer.Option(help="What rounds the weights, such as gptq; auto takes the best.")] = "auto",
    held_back: Annotated[
        float, typer.Option("--held-back", help="The share of the samples that is held back to judge on.")
    ] = 0.25,
    steps: Annotated[int, typer.Option(help="Steps of learning scales, biases and norms.")] = 0,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Make the best network of a policy: codes layer after layer, biases and norms matched; write what it changed."""
    chosen = Policy.load(policy)
    result = output / "finished.json"
    check_output(result)
    check_replaced(result, inputs, force=force)
    network = source.network()
    batches = source.some_batches(network, running.max_batches)
    weights = bank.read()
    announce(batches, f"some {_PASSES} passes over them, and {steps} steps of learning")
    from ..tuning.finishing import finish as finish_policy

    with progress("finishing") as report:
        found = finish_policy(
            network,
            chosen,
            batches,
            bank=weights.bank,
            rounder=rounder,
            other_rounder=weights.other_rounder,
            held_back=held_back,
            steps=steps,
            outputs=outputs.read(network),
            run=running.run(report),
        )
    found.save(output, made_from=inputs.digest)
    note(f"wrote {output}")
    if json:
        show_json({"schema": f"{PREFIX}/finished/1", **found.document()})
    else:
        show(finished_report(found))


def _measured_terms(
    network: nn.Module,
    batches: list[object],
    table: SensitivityTable,
    weights: Weights,
    outputs: OutputsOptions,
    running: RunningOptions,
) -> Interactions:
    """The terms between the layers of the table."""
    from ..interactions.measuring import measure_interactions

    with progress("measuring interactions"):
        return measure_interactions(
            network,
            batches,
            formats=table.formats,
            layers=table.layer_names,
            bank=weights.bank,
            outputs=outputs.read(network),
            run=RunOptions(seed=running.seed),
        )


def _refined(
    network: nn.Module,
    batches: list[object],
    table: SensitivityTable,
    allocation: Allocation,
    terms: Interactions | None,
    evaluations: float,
    held_back: float,
    weights: Weights,
    outputs: OutputsOptions,
    running: RunningOptions,
) -> Refinement:
    """What refining makes of the allocation."""
    from ..refinement.refining import refine as refine_policy
    from ..refinement.rounds import Rounds

    with progress("refining") as report:
        return refine_policy(
            network,
            table,
            allocation,
            batches,
            evaluations=evaluations,
            interactions=terms,
            rounds=Rounds(held_back=held_back),
            bank=weights,
            outputs=outputs.read(network),
            run=running.run(report),
        )
