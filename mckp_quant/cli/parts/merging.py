"""The command that puts parts of a measurement together: merge. It imports torch when called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidInput
from ...report.measured import sensitivity_report
from ...tables.table import KIND, VERSION, SensitivityTable
from ..console import show, show_json
from ..option_groups import Inputs, with_groups
from ..options import JsonOption, ResultOptions


@with_groups
def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="PART...", help="What 'measure --part' wrote, all of them.")],
    result: ResultOptions,
    inputs: Inputs,
    json: JsonOption = False,
) -> None:
    """Put the tables of all parts together: the one that a single process would have measured."""
    result.check(inputs)
    from ...sensitivity.parts.merging import merge as merge_tables

    tables = [SensitivityTable.load(path) for path in parts]
    for path, table in zip(parts, tables, strict=True):
        if table.part is None:
            raise InvalidInput(
                f"{str(path)!r} is no part, it was measured on all its batches: give what 'measure --part' wrote"
            )
    table = merge_tables(tables)
    written = result.write(KIND, VERSION, table.document(), inputs)
    if json:
        show_json(written)
    else:
        show(sensitivity_report(table))
