"""Measures what each rounding costs, on every data set, and weighs the sets."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ...costs.costs import FILE_BYTES
from ...costs.files import GIVE, float_file
from ...export.sizes.weighing import with_file_size
from ...formats.file_facts import FORMS
from ...formats.menus import AUTO
from ...network.weight_uses import uses_in
from ...sensitivity.measuring import measure
from ...tables.table import SensitivityTable
from ..calibration import mean_table
from ..provenance import outputs_document
from .rounding import bank_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ...common.run_options import RunOptions
    from ..work import Work

NAME = "measure"
TABLE = "table.json"


@dataclass(frozen=True)
class Measure:
    """The step that makes the table."""

    name: str = NAME

    def asked(self, work: Work) -> bool:
        """Always."""
        return True

    def depends(self, work: Work) -> Mapping[str, Any]:
        """Estimator, precision, outputs, and the weights of the data sets."""
        weighed = {"file": work.request.target} if _weighs(work) else {}
        return {
            "method": repr(work.settings.method),
            "precision": work.settings.precision,
            "outputs": outputs_document(work.outputs),
            "weights": {part.name: part.weight for part in work.data.parts},
            **weighed,
        }

    def make(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[SensitivityTable, str]:
        """Measure; batches that an earlier process measured are not measured again."""
        bank, tables = bank_of(work), []
        ranges = None
        for at, part in enumerate(work.data.parts):
            checkpoint = None if folder is None else folder / f"set-{at}.checkpoint"
            tables.append(
                measure(
                    work.model,
                    part.measured,
                    formats=work.settings.formats if work.settings.formats != AUTO else bank.formats,
                    method=work.settings.method,
                    outputs=work.outputs,
                    precision=work.settings.precision,
                    activation_range=work.settings.activation_range if ranges is None else ranges,
                    bank=bank,
                    run=dataclasses.replace(run, checkpoint=checkpoint),
                )
            )
            ranges = tables[0].ranges  # one range for an input, whatever set it comes from
        table = mean_table(tables, [part.weight for part in work.data.parts])
        size = ""
        if _weighs(work):
            assert work.request.target is not None
            table = _with_file(table, work)
            size = f"; the file of {work.request.target} takes up to {float_file(table, work.request.target):,} bytes"
        if folder is not None:
            table.save(folder / TABLE)
            for each in folder.glob("*.checkpoint"):
                each.unlink()
        sets = [f"{part.name} x {part.weight:g}" for part in work.data.parts]
        weighed = f", the mean of {', '.join(sets)}" if len(sets) > 1 else ""
        return table, (
            f"{len(table.layers)} layers in {len(table.formats)} formats by {table.method} on {table.samples} samples"
            f"{weighed}{size}"
        )

    def load(self, work: Work, folder: Path) -> SensitivityTable:
        """Read the table."""
        return SensitivityTable.load(folder / TABLE)


def _weighs(work: Work) -> bool:
    """Whether the size of the file has to be learnt by writing it: of others the table knows it by itself."""
    return FILE_BYTES in work.request.budgets and FORMS.get(work.request.target or "") in GIVE


def _with_file(table: SensitivityTable, work: Work) -> SensitivityTable:
    """The table with what the file takes, and with room for the biases that the last pass may add to layers."""
    roomy = copy.deepcopy(work.model)
    for use in uses_in(roomy).values():
        module: Any = use.module
        if "bias" in module._parameters and module.bias is None:
            made = torch.zeros(use.channels, dtype=use.weight.dtype, device=use.weight.device)
            module.bias = torch.nn.Parameter(made, requires_grad=False)
    return with_file_size(table, work.request.target or "", model=roomy, batches=work.data.fitted[:1])


def measured_of(work: Work) -> SensitivityTable:
    """The sensitivities as the estimator gave them."""
    table: SensitivityTable = work.result(NAME)
    return table
