"""The commands on a table alone: front, and explain and k-best, which ask about one answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...common.documents import PREFIX
from ...common.files import write_text
from ...report.plots.front_plot import draw_front
from ...report.trade_offs import explanation_report, front_report, k_best_report
from ...trade_off.fronts import KIND as FRONT
from ...trade_off.fronts import VERSION as FRONT_VERSION
from ...trade_off.questions import explain as explain_answer
from ...trade_off.questions import k_best as best_policies
from ...trade_off.walking import MOST_POINTS
from ...trade_off.walking import front as walk_front
from ..console import note, progress, show, show_json
from ..groups.pictures import PictureOptions
from ..option_groups import Inputs, with_groups
from ..options import (
    JsonOption,
    MaybeResultOptions,
    SecondsOption,
    TableOptions,
    check_output,
)
from ..request_options import RequestOptions, refuse_constraints

if TYPE_CHECKING:
    from ...trade_off.fronts import Front

AlongOption = Annotated[
    str,
    typer.Option("--along", metavar="NAME", help="The budget that the loss is set against, such as bops or latency."),
]
PointsOption = Annotated[int, typer.Option("--points", help=f"The most points, 2 to {MOST_POINTS}.")]
FrontSecondsOption = Annotated[float, typer.Option("--seconds", help="Time limit of all solves together.")]


@dataclass(frozen=True)
class FrontFiles(PictureOptions):
    """Where a front goes beside stdout."""

    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Where to write all points as CSV, formats too.")
    ] = None

    def check(self) -> None:
        """Refuse, before any work, files that cannot be written; raises InvalidInput."""
        super().check()
        if self.csv is not None:
            check_output(self.csv, "--csv")

    def write(self, front: Front) -> None:
        """Write what is wanted, and say so."""
        if self.csv is not None:
            write_text(self.csv, front.as_csv())
            note(f"wrote {self.csv}")
        self.draw(lambda: draw_front(front))


@with_groups
def front(
    table: TableOptions,
    asked: RequestOptions,
    result: MaybeResultOptions,
    files: FrontFiles,
    inputs: Inputs,
    along: AlongOption = "weight_bytes",
    points: PointsOption = MOST_POINTS,
    seconds: FrontSecondsOption = 60.0,
    json: JsonOption = False,
) -> None:
    """Size against loss: what every amount of a budget buys, the uniform policies and the chosen one beside it.

    No budget is needed; one along the trade-off says where the chosen policy lies, the others hold everywhere.
    """
    result.check(inputs)
    files.check()
    request = asked.read(lifted=along)
    measured = table.read()
    with progress("walking along the front"):
        found = walk_front(measured, request, along=along, max_points=points, seconds=seconds)
    files.write(found)
    written = result.write(FRONT, FRONT_VERSION, found.document(), inputs)
    if json:
        show_json(written)
    else:
        show(front_report(found))


@with_groups
def explain(
    table: TableOptions,
    asked: RequestOptions,
    seconds: FrontSecondsOption = 60.0,
    json: JsonOption = False,
) -> None:
    """Say what a byte is worth and which budgets bind, or why nothing fits; exit code 1 where nothing does."""
    request = asked.read()
    measured = table.read()
    with progress("explaining"):
        found = explain_answer(measured, request, seconds=seconds)
    if json:
        show_json({"schema": f"{PREFIX}/explanation/1", "request": request.document(), **found.document()})
    else:
        show(explanation_report(found))
    if found.allocation is None:
        raise typer.Exit(1)


@with_groups
def k_best(
    table: TableOptions,
    asked: RequestOptions,
    count: Annotated[int, typer.Option("--count", "-k", help="How many policies.")] = 5,
    seconds: SecondsOption = 60.0,
    json: JsonOption = False,
) -> None:
    """The policies of least predicted loss within the budgets, one after the other, and what each changes."""
    request = asked.read()
    refuse_constraints(request, "k-best", "the search for the next best knows budgets only")
    measured = table.read()
    with progress("ranking"):
        policies = best_policies(measured, request, count, seconds=seconds)
    if json:
        head = {"schema": f"{PREFIX}/k_best/1", "request": request.document()}
        show_json({**head, "policies": [policy.document() for policy in policies]})
    else:
        show(k_best_report(policies))
