"""Improves the policy by running the network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.documents import write_document
from ...policy.policy import Policy
from ...refinement.refining import refine
from ...refinement.rounds import Rounds
from .allocating import POLICY, allocation_on
from .confirming import best_of, table_of
from .rounding import bank_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ...common.run_options import RunOptions
    from ..work import Work

NAME = "refine"


@dataclass(frozen=True)
class Refine:
    """The step that improves the policy."""

    name: str = NAME

    def asked(self, work: Work) -> bool:
        """Where it may spend evaluations."""
        return work.settings.evaluations > 0

    def depends(self, work: Work) -> Mapping[str, Any]:
        """What it may spend, and holds back."""
        return {"evaluations": work.settings.evaluations, "held_back": work.settings.refine_held_back}

    def make(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[Policy, str]:
        """Refine on what the table was measured on, which the rounder has not seen."""
        policy, line = best_of(work), ""
        if not line and not table_of(work).unit.startswith("nats per "):
            line = f"left out: the table is in {table_of(work).unit!r}, which cannot be set beside a measured KL"
        if not line and len(work.data.measured) < 2:
            line = "left out: there is one batch, and one more is needed to hold back"
        if not line:
            policy, line = self._refined(work, folder, run)
        if folder is not None:
            policy.save(folder / POLICY)
        return policy, line

    def _refined(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[Policy, str]:
        checkpoint = None if folder is None else folder / "measured.checkpoint"
        found = refine(
            work.model,
            table_of(work),
            allocation_on(work, table_of(work), corrected=False),
            work.data.measured,
            evaluations=work.settings.evaluations,
            rounds=Rounds(held_back=work.settings.refine_held_back),
            bank=bank_of(work),
            outputs=work.outputs,
            run=dataclasses.replace(run, memory_limit=None, checkpoint=checkpoint),
        )
        if folder is not None and checkpoint is not None:
            write_document(folder / "refinement.json", "refinement", 1, found.document())
            checkpoint.unlink(missing_ok=True)
        return found.policy, found.verdict

    def load(self, work: Work, folder: Path) -> Policy:
        """Read the policy."""
        return Policy.load(folder / POLICY)


def policy_of(work: Work) -> Policy:
    """The policy of mixed precision that is finished."""
    policy: Policy = work.result(NAME) if work.has(NAME) else best_of(work)
    return policy
