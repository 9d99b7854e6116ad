"""What a run gives back: the network, what it was compared with, and what every step decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..common.display import Face, Markup, grid, joined, number, with_error
from ..evaluation.face import networks_grid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from ..evaluation.validation import Validation
    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from ..tables.table import SensitivityTable
    from ..tuning.finished import Finished

MIXED, UNIFORM = "mixed", "uniform"


@dataclass(frozen=True)
class Decision:
    """What a step decided, and what it cost.

    Attributes
    ----------
    step
        The step's name.
    decided
        What it decided, a line.
    seconds
        What it cost when it was made.
    made
        When that was, in UTC; empty where nothing is kept in a folder.
    skipped
        Whether its result was there already, and was taken as it was.
    again
        Why a result that was there was made again, in words; empty where none was.
    files
        From the files that it wrote to their digests.
    """

    step: str
    decided: str
    seconds: float
    made: str = ""
    skipped: bool = False
    again: str = ""
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A policy with its finished network, judged on data that nothing was fitted to.

    Attributes
    ----------
    name
        Such as ``"mixed"`` or ``"uniform w3"``.
    finished
        Its network after the last pass, with its codes.
    validation
        What was measured of it, beside what was predicted.
    """

    name: str
    finished: Finished
    validation: Validation

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self.finished.policy


@dataclass(frozen=True, eq=False)
class Quantized:
    """A network that was quantised, and checked.

    Attributes
    ----------
    chosen
        ``"mixed"``, or ``"uniform"`` where mixed precision is not better than that beyond two standard errors.
    mixed
        The policy that was found.
    uniform
        The best uniform one within the same request, with weights of the same rounder and after the same last pass;
        None where none is within it, or the policy is uniform itself.
    difference, difference_stderr
        Measured KL of the uniform network less that of the mixed one, and its paired standard error; nan without one.
    table
        The sensitivities.
    bank
        The weights in all formats.
    decisions
        What each step decided.
    provenance
        Hashes of weights and data, options, versions, seed and times, in plain types.
    """

    chosen: str
    mixed: Candidate
    uniform: Candidate | None
    difference: float
    difference_stderr: float
    table: SensitivityTable
    bank: WeightBank
    decisions: tuple[Decision, ...]
    provenance: Mapping[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        """Which network is returned, and what was measured of it."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook, with every network that was run, what each step decided, and the policy."""
        rows = [each.figures for each in self.mixed.validation.rows[:-1]]
        for each in (self.uniform, self.mixed):
            rows += [] if each is None else [(f"{each.name}, finished", *each.validation.policy.figures[1:])]
        steps = [(each.step, each.decided, f"{each.seconds:.1f}") for each in self.decisions]
        decided = grid(("step", "decided", "seconds"), steps, left=2)
        return joined([self._face().html(networks_grid(rows), decided), Markup(self.policy._repr_html_())])

    def _face(self) -> Face:
        measured = self.validation.policy.measured
        facts = [
            ("weights", f"{self.validation.policy.weight_bytes:,} bytes"),
            ("measured KL", f"{with_error(measured.kl, measured.kl_stderr)} {measured.unit}"),
        ]
        if self.uniform is not None:
            rival = f"{self.uniform.name} loses {with_error(self.difference, self.difference_stderr)} more than mixed"
            facts.append(("rival", f"{rival}, on the same {number(measured.samples, 12)} samples"))
        facts.append(("verdict", self.validation.verdict))
        facts.append(("rounded", f"by {self.table.rounder}"))
        return Face(f"Quantized: {self.best.name}, {self.policy.status}", tuple(facts))

    @property
    def best(self) -> Candidate:
        """The one that was chosen."""
        return self.uniform if self.chosen == UNIFORM and self.uniform is not None else self.mixed

    @property
    def finished(self) -> Finished:
        """The chosen network with its codes, such as `mckp_quant.export` takes."""
        return self.best.finished

    @property
    def model(self) -> nn.Module:
        """The chosen network: weights rounded, biases and norms matched, inputs rounded by hooks."""
        return self.finished.model

    @property
    def policy(self) -> Policy:
        """The chosen policy."""
        return self.finished.policy

    @property
    def validation(self) -> Validation:
        """What was measured of the chosen network on data that nothing was fitted to."""
        return self.best.validation
