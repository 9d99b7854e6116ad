"""The command that runs the network along a front: smallest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ...common.documents import PREFIX
from ...policy.policy import KIND, VERSION
from ...report.trade_offs import smallest_report
from ...trade_off.limits import limit_of
from ...trade_off.walking import front as walk_front
from ..console import progress, show, show_json
from ..groups.outputs import OutputsOptions
from ..networks import Source
from ..option_groups import Inputs, Only, with_groups
from ..options import BankOptions, JsonOption, MaybeResultOptions, RunningOptions, TableOptions
from ..request_options import RequestOptions
from .on_tables import AlongOption, FrontFiles, FrontSecondsOption

if TYPE_CHECKING:
    from torch import nn

    from ...rounding.chosen_weights import Weights
    from ...trade_off.fronts import Front
    from ...trade_off.result import Smallest


@dataclass(frozen=True)
class LimitOptions:
    """The limit on what is measured: exactly one."""

    accuracy_drop_at_most: Annotated[
        str | None,
        typer.Option(
            "--accuracy-drop-at-most",
            metavar="SHARE",
            help="How much less accurate than the float network it may be: 1% is one percentage point.",
        ),
    ] = None
    kl_at_most: Annotated[
        float | None,
        typer.Option("--kl-at-most", metavar="NATS", help="The most KL from the float network."),
    ] = None
    loss_at_most: Annotated[
        float | None, typer.Option("--loss-at-most", metavar="NATS", help="The most loss on the targets.")
    ] = None


@with_groups
def smallest(
    table: TableOptions,
    asked: RequestOptions,
    limit: LimitOptions,
    source: Source,
    outputs: OutputsOptions,
    bank: BankOptions,
    running: Annotated[RunningOptions, Only(("max_batches",))],
    result: MaybeResultOptions,
    files: FrontFiles,
    inputs: Inputs,
    along: AlongOption = "weight_bytes",
    evaluations: Annotated[int, typer.Option(help="How many policies may be run over the batches.")] = 40,
    seconds: FrontSecondsOption = 60.0,
    json: JsonOption = False,
) -> None:
    """Find the smallest policy that keeps a limit on measured accuracy, KL or loss; -o writes it.

    The network is run, on batches that should be neither those of the table nor those of the training.
    """
    result.check(inputs)
    files.check()
    limit_of(limit.kl_at_most, limit.loss_at_most, limit.accuracy_drop_at_most)
    request = asked.read(lifted=along)
    measured = table.read()
    with progress("walking along the front"):
        walked = walk_front(measured, request, along=along, seconds=seconds)
    network = source.network()
    batches = source.some_batches(network, running.max_batches)
    found = _smallest(network, walked, batches, limit, evaluations, bank.read(), outputs, running)
    files.write(walked)
    result.write(KIND, VERSION, found.policy.document(), inputs)
    if json:
        show_json({"schema": f"{PREFIX}/smallest/1", "request": request.document(), **found.document()})
    else:
        show(smallest_report(found))


def _smallest(
    network: nn.Module,
    walked: Front,
    batches: list[object],
    limit: LimitOptions,
    evaluations: int,
    weights: Weights,
    outputs: OutputsOptions,
    running: RunningOptions,
) -> Smallest:
    from ...trade_off.shrinking import smallest as smallest_policy

    with progress("running policies") as report:
        return smallest_policy(
            network,
            walked,
            batches,
            kl_at_most=limit.kl_at_most,
            loss_at_most=limit.loss_at_most,
            accuracy_drop_at_most=limit.accuracy_drop_at_most,
            evaluations=evaluations,
            bank=weights,
            outputs=outputs.read(network),
            run=running.run(report),
        )
