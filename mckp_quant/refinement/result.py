"""What `refine` and `confirm_table` give back: what was found, what was measured of it, and the record of the way."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common.display import Face, counted, grid, number, with_error
from ..common.documents import plain

if TYPE_CHECKING:
    from ..allocation.allocating import Allocation
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

    def __repr__(self) -> str:
        """What was tried and what came out, in a few lines."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook, with the layers that got another format."""
        names, before, after = self.policy.layer_names, self.start.formats, self.policy.formats
        changed = [
            (name, old.name, new.name) for name, old, new in zip(names, before, after, strict=True) if old != new
        ]
        return self._face().html(*([grid(("layer", "before", "after"), changed, left=3)] if changed else []))

    def _face(self) -> Face:
        kept = sum(step.kept for step in self.steps)
        facts = [
            ("KL", f"{number(self.start_kl)} to {number(self.kl)} {self.unit}, on the batches of the search"),
            ("held back", f"changes by {with_error(self.confirmed, self.confirmed_stderr)}"),
            ("stopped", self.stopped),
            ("verdict", self.verdict),
        ]
        return Face(f"Refinement: {counted(kept, 'change')} in {self.evaluations:.0f} evaluations", tuple(facts))

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


@dataclass(frozen=True)
class Replaced:
    """A cell of a table that was measured on the network.

    Attributes
    ----------
    layer, format
        Names.
    before
        What the table said.
    loss, stderr
        What was measured, and its standard error; a loss above that of a guess is held at it.
    """

    layer: str
    format: str
    before: float
    loss: float
    stderr: float


@dataclass(frozen=True, eq=False)
class Confirmation:
    """What `confirm_table` found.

    Attributes
    ----------
    table
        The table with the cells that decide as they were measured.
    allocation
        What is best on it, with a proof about it. The policy's corrected prediction is what was measured of the whole
        policy, corrected for the policy having been chosen.
    start
        The policy of the table as it was given.
    replaced
        The cells that were measured, in their order.
    capped
        How many cells were above the loss of a guess and were lowered to it.
    kl, kl_stderr
        What was measured of the policy as a whole.
    evaluations
        Passes over the batches.
    seconds
        What it took.
    stopped
        Why it stopped, in words.
    """

    table: SensitivityTable
    allocation: Allocation
    start: Policy
    replaced: tuple[Replaced, ...]
    capped: int
    kl: float
    kl_stderr: float
    evaluations: int
    seconds: float
    stopped: str

    @property
    def verdict(self) -> str:
        """What came out, as a sentence without its full stop."""
        count, cells = len(self.replaced), self.table.loss.size
        changed = sum(one != other for one, other in zip(self.start.formats, self.policy.formats, strict=True))
        layers = "the policy stays as it was" if not changed else f"{changed} layer{'s' * (changed > 1)} changed format"
        capped = f"; {self.capped} above the loss of a guess were lowered to it" if self.capped else ""
        return (
            f"{count} of {cells} cells measured in {self.evaluations} evaluations{capped}; "
            f"{layers}; predicted {self.policy.predicted:.3g}, measured as a whole {self.kl:.3g} +- "
            f"{self.kl_stderr:.2g} {self.table.unit}"
        )

    @property
    def policy(self) -> Policy:
        """The policy of the confirmed table."""
        return self.allocation.policy

    def document(self) -> dict[str, Any]:
        """The same in plain types, for JSON, without the table; nan is None."""
        document: dict[str, Any] = plain(
            {
                "verdict": self.verdict,
                "stopped": self.stopped,
                "replaced": [dataclasses.asdict(each) for each in self.replaced],
                "capped": self.capped,
                "kl": self.kl,
                "kl_stderr": self.kl_stderr,
                "evaluations": self.evaluations,
                "seconds": self.seconds,
                "unit": self.table.unit,
                "policy": self.policy.document(),
            }
        )
        return document
