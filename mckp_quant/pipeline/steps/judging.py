"""Runs both finished networks on data that nothing was fitted to, and chooses between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.documents import read_document, write_document
from ...evaluation.verdict import ERRORS
from ...tuning.judging import validate_finished
from ..calibration import data_digest
from ..judged_files import load_validation, save_validation
from ..result import MIXED, UNIFORM
from .allocating import POLICY
from .finishing import pair_of
from .rounding import bank_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ...common.run_options import RunOptions
    from ...evaluation.validation import Validation
    from ..work import Work

NAME = "validate"
_DOCUMENT = "validation.json"


@dataclass(frozen=True, eq=False)
class Judged:
    """What came out.

    Attributes
    ----------
    chosen
        ``"mixed"`` or ``"uniform"``.
    mixed, uniform
        What was measured of each; None without a uniform one.
    rival
        The name of the uniform one.
    """

    chosen: str
    mixed: Validation
    uniform: Validation | None
    rival: str

    @property
    def best(self) -> Validation:
        """That of the chosen one."""
        return self.uniform if self.chosen == UNIFORM and self.uniform is not None else self.mixed

    @property
    def difference(self) -> tuple[float, float]:
        """KL of the uniform network less that of the mixed one, and its paired standard error; nan without one."""
        if self.uniform is None:
            return math.nan, math.nan
        return self.uniform.policy.measured.kl_difference(self.mixed.policy.measured)

    @property
    def words(self) -> str:
        """Which one is returned, and why, as a sentence."""
        own = self.mixed.policy.measured
        on = f"on {own.samples} samples that nothing was fitted to"
        if self.uniform is None:
            return f"the policy is returned, KL {own.kl:.3g} {on}: no other uniform policy is within the request"
        difference, error = self.difference
        figures = f"KL {own.kl:.3g} beside {self.uniform.policy.measured.kl:.3g} of {self.rival}, "
        figures += f"{difference:.2g} +- {error:.2g} {self.mixed.unit} less, {on}"
        if self.chosen == MIXED:
            return f"mixed precision is returned: {figures}"
        return (
            f"{self.rival} is returned, because mixed precision is not better beyond {ERRORS:g} standard errors: "
            f"{figures}"
        )


@dataclass(frozen=True)
class Validate:
    """The step that judges."""

    name: str = NAME

    def asked(self, work: Work) -> bool:
        """Always."""
        return True

    def depends(self, work: Work) -> Mapping[str, Any]:
        """The data that judge."""
        return {"held-out data": data_digest(work.data.held_out)}

    def make(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[Judged, str]:
        """Validate both, each beside its policy before the last pass."""
        pair, bank = pair_of(work), bank_of(work)
        against = {} if pair.uniform is None else {f"{pair.rival}, same rounder": pair.uniform.policy}
        held_out, outputs = work.data.held_out, work.outputs
        mixed = validate_finished(work.model, pair.mixed, held_out, outputs=outputs, bank=bank, against=against)
        uniform = None
        if pair.uniform is not None:
            uniform = validate_finished(work.model, pair.uniform, held_out, outputs=outputs, bank=bank, against={})
        judged = Judged(MIXED, mixed, uniform, pair.rival)
        difference, error = judged.difference
        if uniform is not None and not difference > ERRORS * error:
            judged = Judged(UNIFORM, mixed, uniform, pair.rival)
        if folder is not None:
            _save(judged, folder)
            chosen = pair.uniform if judged.chosen == UNIFORM and pair.uniform is not None else pair.mixed
            chosen.policy.save(folder / POLICY)
        return judged, judged.words

    def load(self, work: Work, folder: Path) -> Judged:
        """Read both validations."""
        document = read_document(folder / _DOCUMENT, "judged_pair", 1)
        uniform = load_validation(folder / f"{UNIFORM}.npz") if document["uniform"] is not None else None
        return Judged(document["chosen"], load_validation(folder / f"{MIXED}.npz"), uniform, document["rival"])


def judged_of(work: Work) -> Judged:
    """What came out."""
    judged: Judged = work.result(NAME)
    return judged


def _save(judged: Judged, folder: Path) -> None:
    save_validation(judged.mixed, folder / f"{MIXED}.npz")
    if judged.uniform is not None:
        save_validation(judged.uniform, folder / f"{UNIFORM}.npz")
    difference, error = judged.difference
    document = {
        "chosen": judged.chosen,
        "rival": judged.rival,
        "words": judged.words,
        "difference": difference,
        "difference_stderr": error,
        "mixed": judged.mixed.document(),
        "uniform": None if judged.uniform is None else judged.uniform.document(),
    }
    write_document(folder / _DOCUMENT, "judged_pair", 1, document)
