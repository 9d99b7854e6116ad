"""Measures the cells of the table that decide, and solves again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...policy.policy import Policy
from ...refinement.confirming import confirm_table
from ...tables.table import SensitivityTable
from .allocating import NAME as ALLOCATE
from .allocating import POLICY
from .measuring import TABLE, measured_of
from .rounding import bank_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ...common.run_options import RunOptions
    from ..work import Work

NAME = "confirm"


@dataclass(frozen=True, eq=False)
class Confirmed:
    """The table with its deciding cells measured, and the best policy on it."""

    table: SensitivityTable
    policy: Policy


@dataclass(frozen=True)
class Confirm:
    """The step that measures the cells that decide."""

    name: str = NAME

    def asked(self, work: Work) -> bool:
        """Where it may spend evaluations."""
        return work.settings.confirm_evaluations > 0

    def depends(self, work: Work) -> Mapping[str, Any]:
        """What it may spend."""
        return {"evaluations": work.settings.confirm_evaluations}

    def make(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[Confirmed, str]:
        """Confirm on what the table was measured on."""
        table = measured_of(work)
        found, line = Confirmed(table, work.result(ALLOCATE)), ""
        if not table.unit.startswith("nats per "):
            line = f"left out: the table is in {table.unit!r}, which cannot be set beside a measured KL"
        else:
            confirmation = confirm_table(
                work.model,
                table,
                work.request,
                work.data.measured,
                bank=bank_of(work),
                outputs=work.outputs,
                evaluations=work.settings.confirm_evaluations,
                run=dataclasses.replace(run, memory_limit=None),
            )
            found, line = Confirmed(confirmation.table, confirmation.policy), confirmation.verdict
        if folder is not None:
            found.table.save(folder / TABLE)
            found.policy.save(folder / POLICY)
        return found, line

    def load(self, work: Work, folder: Path) -> Confirmed:
        """Read table and policy."""
        return Confirmed(SensitivityTable.load(folder / TABLE), Policy.load(folder / POLICY))


def table_of(work: Work) -> SensitivityTable:
    """The sensitivities that policies are chosen by in the end."""
    if not work.has(NAME):
        return measured_of(work)
    confirmed: Confirmed = work.result(NAME)
    return confirmed.table


def best_of(work: Work) -> Policy:
    """The best policy on that table."""
    if not work.has(NAME):
        policy: Policy = work.result(ALLOCATE)
        return policy
    confirmed: Confirmed = work.result(NAME)
    return confirmed.policy
