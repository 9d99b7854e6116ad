"""The command that runs a network under a policy, with torch, which it imports when called: validate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...common.documents import PREFIX
from ...errors import InvalidInput
from ...policy.policy import Policy
from ...report.measured import validation_report
from ...report.plots.agreement_plot import draw_agreement
from ..console import note, progress, show, show_json
from ..groups.pictures import PictureOptions
from ..networks import JudgedOutputsOptions, Source, announce
from ..option_groups import Only, with_groups
from ..options import (
    BankOptions,
    FinishedOption,
    JsonOption,
    MaybeTableOption,
    PolicyArgument,
    RunningOptions,
    finished_from,
    table_from,
)

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ...evaluation.validation import Validation
    from ...rounding.chosen_weights import Weights
    from ...tables.table import SensitivityTable
    from ..groups.outputs import OutputsOptions


@with_groups
def validate(
    policy: PolicyArgument,
    source: Source,
    outputs: JudgedOutputsOptions,
    bank: BankOptions,
    pictures: PictureOptions,
    running: Annotated[RunningOptions, Only(("max_batches",))],
    table: MaybeTableOption = None,
    finished: FinishedOption = None,
    json: JsonOption = False,
) -> None:
    """Run the network under a policy, and set the measured loss beside the predicted; exit code 1 if they disagree."""
    pictures.check()
    chosen = Policy.load(policy)
    if finished is not None and table is not None:
        raise InvalidInput("--finished and --table are both given: the policy has its prediction, leave the table away")
    measured = None if table is None else table_from(table, None)
    network = source.network()
    batches = source.some_batches(network, running.max_batches)
    weights = bank.read()
    announce(batches, "a pass of the float network, one of the policy, and one of every network beside it")

    with progress("validating"):
        validation = (
            _validated(network, chosen, batches, measured, weights, outputs)
            if finished is None
            else _finished_validated(network, chosen, batches, finished, weights, outputs)
        )
    pictures.draw(lambda: draw_agreement(validation))
    if json:
        show_json({"schema": f"{PREFIX}/validation/1", **validation.document()})
        if validation.holds is False:
            note(f"mckp-quant: {validation.verdict}")
    else:
        show(validation_report(validation))
    if validation.holds is False:
        raise typer.Exit(1)


def _validated(
    network: nn.Module,
    policy: Policy,
    batches: list[object],
    table: SensitivityTable | None,
    weights: Weights,
    outputs: OutputsOptions,
) -> Validation:
    from ...evaluation.validation import validate as validate_policy

    return validate_policy(
        network,
        policy,
        batches,
        outputs=outputs.read(network),
        against=None if table is None or weights.bank is not None else _uniform(table),
        table=table,
        bank=weights.bank,
        other_rounder=weights.other_rounder,
    )


def _finished_validated(
    network: nn.Module,
    policy: Policy,
    batches: list[object],
    folder: Path,
    weights: Weights,
    outputs: OutputsOptions,
) -> Validation:
    from ...tuning.judging import validate_finished

    made = finished_from(folder, network)
    if made.policy != policy:
        raise InvalidInput(f"--finished {str(folder)!r} was made for another policy: give that one, or finish this one")
    return validate_finished(
        network, made, batches, outputs=outputs.read(network), bank=weights.bank, other_rounder=weights.other_rounder
    )


def _uniform(table: SensitivityTable) -> list[Policy]:
    found = []
    for entry in table.formats:
        try:
            found.append(Policy.uniform(table, entry))
        except InvalidInput as error:
            note(f"uniform {entry.name} is left out: {error}")
    return found
