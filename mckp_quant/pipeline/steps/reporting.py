"""Writes the report for people: what was decided, what was compared, and every layer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.files import read_text, write_text
from ...report.page import report_data, write_report
from ...report.page.worth import allocation_of, weight_front
from ...report.quantized import quantized_report
from ...report.text import as_text
from .confirming import table_of
from .exporting import chosen_of
from .judging import judged_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ...common.run_options import RunOptions
    from ...evaluation.validation import Validation
    from ..work import Work
    from .judging import Judged

NAME = "report"
_TEXT, _PAGE = "report.txt", "report.html"
_COLUMNS = 80  # of the text, which 'run' prints too


@dataclass(frozen=True)
class Report:
    """The step that writes the report."""

    name: str = NAME

    def asked(self, work: Work) -> bool:
        """Where there is a folder to write to."""
        return work.state is not None

    def depends(self, work: Work) -> Mapping[str, Any]:
        """Nothing but the steps before."""
        return {}

    def make(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[str, str]:
        """Write the text, and the page that shows the policy that is returned."""
        assert folder is not None
        judged, chosen = judged_of(work), chosen_of(work)
        table = table_of(work)
        page = report_data(
            table,
            allocation_of(table, chosen.policy) or chosen.policy,
            validation=judged.best,
            uniform=_other(judged),
            finished=chosen,
            front=weight_front(table, chosen.policy) or None,
            recipe="" if work.recipe is None else work.recipe.text(),
            name="" if work.recipe is None else work.recipe.model,
        )
        write_report(page, folder / _PAGE)
        shown = quantized_report(judged.words, judged.mixed, judged.uniform, judged.rival, chosen)
        text = as_text(shown, width=_COLUMNS)
        write_text(folder / _TEXT, text)
        return text, f"{NAME}/{_PAGE}, {NAME}/{_TEXT}"

    def load(self, work: Work, folder: Path) -> str:
        """Read the text."""
        return read_text(folder / _TEXT, "report")


def report_of(work: Work) -> str:
    """The report as text."""
    text: str = work.result(NAME)
    return text


def _other(judged: Judged) -> Validation | None:
    """What was measured of the network that is not returned, under a name that says what it is."""
    if judged.best is judged.mixed:
        return judged.uniform
    *rows, own = judged.mixed.rows
    return dataclasses.replace(judged.mixed, rows=(*rows, dataclasses.replace(own, name="mixed, finished")))
