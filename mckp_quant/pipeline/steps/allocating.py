"""Chooses a format for every layer, with a proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...allocation.allocating import Allocation, allocate
from ...policy.policy import Policy
from .measuring import measured_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ...common.run_options import RunOptions
    from ...tables.table import SensitivityTable
    from ..work import Work

NAME = "allocate"
POLICY = "policy.json"


@dataclass(frozen=True)
class Allocate:
    """The step that chooses the policy."""

    name: str = NAME

    def asked(self, work: Work) -> bool:
        """Always."""
        return True

    def depends(self, work: Work) -> Mapping[str, Any]:
        """The request, and the solver."""
        return {
            "request": work.request.document(),
            "solver": work.settings.solver,
            "seconds": work.settings.seconds,
        }

    def make(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[Policy, str]:
        """Solve."""
        found = allocation_on(work, measured_of(work))
        if folder is not None:
            found.policy.save(folder / POLICY)
        return found.policy, "; ".join([policy_line(found.policy), *found.notes])

    def load(self, work: Work, folder: Path) -> Policy:
        """Read the policy."""
        return Policy.load(folder / POLICY)


def allocation_on(work: Work, table: SensitivityTable, *, corrected: bool = True) -> Allocation:
    """The best policy of a table, with its problem: solved where it is needed, which gives the same each time."""
    return allocate(
        table,
        work.request,
        solver=work.settings.solver,
        seconds=work.settings.seconds,
        seed=work.limits.seed,
        corrected=corrected,
    )


def policy_line(policy: Policy) -> str:
    """What a policy predicts and costs, in a line."""
    size = f"{policy.costs['weight_bytes']:,} bytes, {policy.bits_per_weight:.4g} bits per weight"
    shown = policy.expected
    error = f" +- {shown.stderr:.2g}" if shown.stderr == shown.stderr else ""
    return f"{size}, predicted {shown.loss:.4g}{error} {policy.unit}, {policy.status}"
