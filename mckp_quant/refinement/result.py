"""What `refine` gives back: the policy, what was measured of it, and the record of every round."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common.documents import plain

if TYPE_CHECKING:
    from ..policy.policy import Policy
    from ..tables.table import SensitivityTable


@dataclass(frozen=True)
class Step:
    """One round of the search.

    Attributes
    ----------
    attempt
        0, and one more each time that the search began again with other batches held back.
    evaluations
        Passes over the search batches spent so far.
    candidates
        How many candidates were raced.
    difference, stderr
        KL of the best of them less the incumbent's, outliers among the samples counting less, and its paired standard
        error; nan where none went the whole way.
    accepted
        Whether it took the incumbent's place.
    kept
        Whether the policy that was given back in the end has its changes.
    kl
        The incumbent's KL on the search batches after the round.
    changes
        What the new incumbent changes, such as ``"layer1.0.conv1: w3 -> w4"``; empty where nothing did.
    """

    attempt: int
    evaluations: float
    candidates: int
    difference: float
    stderr: float
    accepted: bool
    kept: bool
    kl: float
    changes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Refinement:
    """What `refine` found.

    Attributes
    ----------
    policy
        The best policy, never one that was measured worse than the start. What it is predicted to lose is what
        `corrected` says of it, with interactions what they add; where it is the start, it is as it was.
    start
        The policy to start from.
    kl, start_kl
        Their KL on the batches of the search. That of `policy` is flattered, because it was chosen on them.
    confirmed, confirmed_stderr
        KL of `policy` less that of `start` on batches that the search never saw, and its paired standard error.
    steps
        Every round.
    evaluations
        Passes over the search batches spent, with those for the confirmation.
    stopped
        Why it stopped, in words.
    corrected
        The table with the entries that best explain what was measured.
    unit
        Of the KL.
    """

    policy: Policy
    start: Policy
    kl: float
    start_kl: float
    confirmed: float
    confirmed_stderr: float
    steps: tuple[Step, ...]
    evaluations: float
    stopped: str
    corrected: SensitivityTable
    unit: str

    @property
    def verdict(self) -> str:
        """What came out, as a sentence."""
        if self.policy == self.start:
            return f"nothing better was found in {self.evaluations:.0f} evaluations: the policy stays as it was"
        saved = 100 * (1 - self.kl / self.start_kl) if self.start_kl > 0 else math.nan
        kept = sum(step.kept for step in self.steps)
        made = "1 change lowers" if kept == 1 else f"{kept} changes lower"
        return (
            f"{made} the KL from {self.start_kl:.3g} to {self.kl:.3g} {self.unit} ({saved:.0f} % less) on the "
            f"batches of the search, in {self.evaluations:.0f} evaluations; on the batches held back it changes by "
            f"{self.confirmed:.2g} +- {self.confirmed_stderr:.1g}"
        )

    def document(self) -> dict[str, Any]:
        """The same in plain types, for JSON; nan is None."""
        names = ("kl", "start_kl", "confirmed", "confirmed_stderr", "evaluations", "stopped", "unit", "verdict")
        document: dict[str, Any] = plain(
            {
                **{name: getattr(self, name) for name in names},
                "policy": self.policy.document(),
                "start": self.start.document(),
                "steps": [dataclasses.asdict(step) for step in self.steps],
            }
        )
        return document
