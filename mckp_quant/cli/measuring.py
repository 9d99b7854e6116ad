"""The commands that run the network, with torch: measure, validate and demo. They import it when they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..common.documents import PREFIX
from ..common.run_options import RunOptions
from ..errors import InvalidInput
from ..formats.format import as_formats
from ..policy.policy import Policy
from ..report.measured import sensitivity_report, validation_report
from ..report.planned import plan_report
from .console import note, progress, show, show_json
from .networks import (
    MODEL_HELP,
    CacheOption,
    CalibrationOption,
    CheckpointOption,
    ContextOption,
    DeviceOption,
    DtypeOption,
    MaybeBatchSizeOption,
    MaybeDataOption,
    MemoryLimitOption,
    Source,
)
from .options import (
    DEMO_FOLDER,
    ClassDimOption,
    FolderOption,
    JsonOption,
    LikelihoodOption,
    MaybeOutputOption,
    MaybeTableOption,
    PolicyArgument,
    SeedOption,
    check_output,
    names,
    table_from,
)

if TYPE_CHECKING:
    from torch import nn

    from ..formats.format import Format
    from ..tables.table import SensitivityTable


def measure(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    data: MaybeDataOption = None,
    output: MaybeOutputOption = None,
    calibration: CalibrationOption = None,
    formats: Annotated[str, typer.Option(help="The formats to measure.")] = "w2,w3,w4,w5,w6,w7,w8",
    method: Annotated[str, typer.Option(help="The estimator, such as gauss_newton or measured_kl.")] = "gauss_newton",
    likelihood: LikelihoodOption = "categorical",
    activation_range: Annotated[
        str,
        typer.Option(
            "--activation-range",
            metavar="RULE",
            help="How ranges of activations are chosen: minmax, percentile or mse.",
        ),
    ] = "mse",
    probes: Annotated[int | None, typer.Option(help="Random probes for each batch; 1 by default.")] = None,
    layers: Annotated[str | None, typer.Option(metavar="LAYER,LAYER", help="Only these; by default all.")] = None,
    class_dim: ClassDimOption = None,
    target_error: Annotated[
        float | None,
        typer.Option("--target-error", help="Stop at this relative standard error of every loss that matters."),
    ] = None,
    max_batches: Annotated[int | None, typer.Option("--max-batches", help="Stop after so many batches.")] = None,
    batch_size: MaybeBatchSizeOption = None,
    context: ContextOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    checkpoint: CheckpointOption = None,
    cache: CacheOption = None,
    memory_limit: MemoryLimitOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the layers and what it would take in memory and time.")
    ] = False,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Measure how much each layer suffers from each format, and write the table."""
    if output is None and not dry_run:
        raise InvalidInput("Missing option '--output' / '-o': say where to write the table")
    check_output(output)
    wanted = as_formats(formats)
    source = Source(model, data, calibration, batch_size, context, device, dtype)
    network = source.network(weights=not dry_run)
    if output is None or dry_run:
        _show_plan(source, network, wanted, method, max_batches, memory_limit, json)
        return
    batches = source.batches(network)

    from ..network.outputs import Outputs
    from ..sensitivity.arguments import estimator_of
    from ..sensitivity.measuring import measure as measure_network

    with progress("measuring") as report:
        table = measure_network(
            network,
            batches,
            formats=wanted,
            method=estimator_of(method, probes),
            outputs=Outputs(likelihood=likelihood, class_dim=class_dim),
            layers=None if layers is None else names(layers),
            precision=target_error,
            activation_range=activation_range,
            run=RunOptions(seed, checkpoint, cache, memory_limit, max_batches, report),
        )
    table.save(output)
    note(f"wrote {output}")
    if json:
        show_json({"schema": f"{PREFIX}/table/1", **table.document()})
    else:
        show(sensitivity_report(table))


def _show_plan(
    source: Source,
    network: nn.Module,
    formats: tuple[Format, ...],
    method: str,
    max_batches: int | None,
    memory_limit: str | None,
    json: bool,
) -> None:
    from ..sensitivity.planning import plan

    planned = plan(
        network,
        source.first_batch(network),
        formats=formats,
        method=method,
        batches=max_batches,
        run=RunOptions(memory_limit=memory_limit),
    )
    if json:
        show_json({"schema": f"{PREFIX}/plan/1", **planned.document()})
    else:
        show(plan_report(planned))


def validate(
    policy: PolicyArgument,
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL_HELP)],
    data: MaybeDataOption = None,
    calibration: CalibrationOption = None,
    table: MaybeTableOption = None,
    likelihood: LikelihoodOption = "categorical",
    class_dim: ClassDimOption = None,
    batch_size: MaybeBatchSizeOption = None,
    context: ContextOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    json: JsonOption = False,
) -> None:
    """Run the network under a policy, and set the measured loss beside the predicted; exit code 1 if they disagree."""
    chosen = Policy.load(policy)
    measured = None if table is None else table_from(table, None)
    against = None if measured is None else _uniform(measured)
    source = Source(model, data, calibration, batch_size, context, device, dtype)
    network = source.network()
    batches = source.batches(network, stream=False)

    from ..evaluation.validation import validate as validate_policy

    with progress("validating"):
        validation = validate_policy(
            network, chosen, batches, likelihood=likelihood, class_dim=class_dim, against=against, table=measured
        )
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
