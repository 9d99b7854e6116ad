"""The command that gathers what is known of a policy into one page: report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ...common.files import read_json, read_text
from ...errors import InvalidInput
from ...policy.policy import Policy
from ...report.page import report_data
from ...report.page.plain_forms import as_plain_text, report_document
from ...report.page.worth import allocation_of, weight_front
from ...report.page.writing import check_form, write_report
from ..console import columns, note, progress, show_json, show_text
from ..option_groups import with_groups
from ..options import JsonOption, PolicyArgument, TableOptions, check_output

_PARTS = "What else the report shows"
_FINISHED = "finished.json"


@dataclass(frozen=True)
class PartsOptions:
    """What other commands found out about the policy."""

    validation: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_PARTS, help="What 'validate --json' printed of this policy."),
    ] = None
    uniform: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_PARTS,
            help="What 'validate --json' printed of a uniform policy, its rival.",
        ),
    ] = None
    stability: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_PARTS, help="What 'stability --json' printed."),
    ] = None
    finished: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", rich_help_panel=_PARTS, help="What 'finish' wrote for this policy."),
    ] = None
    front: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_PARTS,
            help="A front along weight_bytes as JSON; by default the best policies of all sizes are found here.",
        ),
    ] = None
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", rich_help_panel=_PARTS, help="A text that repeats the run.")
    ] = None
    provenance: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_PARTS, help="A text that says where the results come from."),
    ] = None
    name: Annotated[str, typer.Option(rich_help_panel=_PARTS, help="What the network is called.")] = ""

    def read(self) -> dict[str, Any]:
        """What was given, by the names of `report_data`; raises InvalidInput where a file cannot be read."""
        finished = None if self.finished is None else self.finished / _FINISHED
        files = {"validation": self.validation, "uniform": self.uniform, "stability": self.stability}
        files |= {"finished": finished, "front": self.front}
        found: dict[str, Any] = {name: _document(name, path) for name, path in files.items() if path is not None}
        texts = {"recipe": self.recipe, "provenance": self.provenance}
        return found | {name: read_text(path, name) for name, path in texts.items() if path is not None}


def _document(name: str, path: Path) -> dict[str, Any]:
    found = read_json(path, name)
    if not isinstance(found, dict):
        raise InvalidInput(f"--{name} {str(path)!r} holds a {type(found).__name__}: it must be one JSON document")
    return found


@with_groups
def report(
    table: TableOptions,
    policy: PolicyArgument,
    parts: PartsOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to write it: .html, .md, .txt or .json; else it is printed."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show everything that is known of a policy on one page that needs no network."""
    if output is not None:
        check_form(output)
        check_output(output)
    measured, chosen = table.read(), Policy.load(policy)
    given = parts.read()
    with progress("asking what the budgets are worth"):
        given.setdefault("front", weight_front(measured, chosen) or None)
        data = report_data(measured, allocation_of(measured, chosen) or chosen, **given, name=parts.name)
    if output is not None:
        write_report(data, output)
        note(f"wrote {output}")
    if json:
        show_json(report_document(data))
    elif output is None:
        show_text(as_plain_text(data, columns()).rstrip("\n"))
