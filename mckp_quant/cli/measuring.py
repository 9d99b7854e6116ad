"""The commands that run the network, with torch: measure, validate and demo. They import it when they are called."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InvalidInput
from ..files import PREFIX
from ..formats import as_formats
from ..policy import Policy
from ..report.measured import sensitivity_report, validation_report
from ..sensitivity.table import SensitivityTable
from .console import note, progress, show, show_json
from .load import load_batches, load_model
from .options import (
    DEMO_FOLDER,
    BatchSizeOption,
    DataOption,
    FolderOption,
    JsonOption,
    LikelihoodOption,
    MaybeTableOption,
    OutputOption,
    PolicyArgument,
    SeedOption,
    check_output,
    names,
)

_MODEL_HELP = "The network: package.module:function or path/to/file.py:function."


def measure(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL_HELP)],
    data: DataOption,
    output: OutputOption,
    formats: Annotated[str, typer.Option(help="The formats to measure.")] = "w2,w3,w4,w5,w6,w7,w8",
    method: Annotated[str, typer.Option(help="The estimator, such as gauss_newton or measured_kl.")] = "gauss_newton",
    likelihood: LikelihoodOption = "categorical",
    probes: Annotated[int, typer.Option(help="Random probes for each batch.")] = 1,
    layers: Annotated[str | None, typer.Option(metavar="LAYER,LAYER", help="Only these; by default all.")] = None,
    batch_size: BatchSizeOption = 32,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Measure how much each layer suffers from each format, and write the table."""
    check_output(output)
    wanted = as_formats(formats)
    network = load_model(model)
    batches = load_batches(data, batch_size)

    from ..sensitivity._measure import measure as measure_network

    with progress("measuring") as report:
        table = measure_network(
            network,
            batches,
            formats=wanted,
            method=method,
            likelihood=likelihood,
            seed=seed,
            probes=probes,
            layers=None if layers is None else names(layers),
            progress=report,
        )
    table.save(output)
    note(f"wrote {output}")
    if json:
        show_json({"schema": f"{PREFIX}/table/1", **table.document()})
    else:
        show(sensitivity_report(table))


def validate(
    policy: PolicyArgument,
    model: Annotated[str, typer.Option(metavar="MODEL", help=_MODEL_HELP)],
    data: DataOption,
    table: MaybeTableOption = None,
    likelihood: LikelihoodOption = "categorical",
    batch_size: BatchSizeOption = 32,
    json: JsonOption = False,
) -> None:
    """Run the network under a policy, and set the measured loss beside the predicted; exit code 1 if they disagree."""
    chosen = Policy.load(policy)
    against = [] if table is None else _uniform(SensitivityTable.load(table))
    network = load_model(model)
    batches = load_batches(data, batch_size)

    from ..validation import validate as validate_policy

    with progress("validating"):
        validation = validate_policy(network, chosen, batches, likelihood=likelihood, against=against)
    if json:
        show_json({"schema": f"{PREFIX}/validation/1", **validation.document()})
    else:
        show(validation_report(validation))
    if validation.holds is False:
        note(f"mckp-quant: {validation.verdict}")
        raise typer.Exit(1)


def demo(
    output: FolderOption = DEMO_FOLDER,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Do all of it with a network that comes along: measure, solve at several budgets, validate on real images."""
    from .demonstration import demonstrate

    check_output(output / "report.txt")
    document, written, report = demonstrate(output, seed)
    if json:
        show_json(document)
    else:
        show(report)
    for path in written:
        note(f"wrote {path}")


def _uniform(table: SensitivityTable) -> list[Policy]:
    found = []
    for entry in table.formats:
        try:
            found.append(Policy.uniform(table, entry))
        except InvalidInput as error:
            note(f"uniform {entry.name} is left out: {error}")
    return found
