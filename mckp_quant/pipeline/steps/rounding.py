"""Rounds every layer to every format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.run_options import RunOptions
from ...rounding.bank import WeightBank
from ...rounding.banking import described, round_weights, rounder_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from ..work import Work

NAME = "round"
_BANK = "bank"
_NAMED = 3  # layers that the line names


@dataclass(frozen=True)
class Round:
    """The step that makes the weight bank."""

    name: str = NAME

    def asked(self, work: Work) -> bool:
        """Always."""
        return True

    def depends(self, work: Work) -> Mapping[str, Any]:
        """Formats, rounder, ranges and target."""
        formats = work.settings.formats
        return {
            "formats": formats if isinstance(formats, str) else [getattr(each, "name", each) for each in formats],
            "rounder": described(rounder_of(work.settings.rounder)),
            "activation_range": work.settings.activation_range,
            "target": work.request.target,
        }

    def make(self, work: Work, folder: Path | None, run: RunOptions) -> tuple[WeightBank, str]:
        """Round; a bank that was begun in the folder is gone on with, layer by layer."""
        output: os.PathLike[str] | None = None if folder is None else folder / _BANK
        bank = round_weights(
            work.model,
            work.data.rounded,
            work.settings.formats,
            rounder=rounder_of(work.settings.rounder),
            target=work.request.target,
            activation_range=work.settings.activation_range,
            output=output,
            run=RunOptions(memory_limit=run.memory_limit, progress=run.progress),
        )
        return bank, _line(bank)

    def load(self, work: Work, folder: Path) -> WeightBank:
        """Open the bank."""
        return WeightBank.load(folder / _BANK)


def bank_of(work: Work) -> WeightBank:
    """The weights in every format."""
    bank: WeightBank = work.result(NAME)
    return bank


def _line(bank: WeightBank) -> str:
    formats = ", ".join(entry.name for entry in bank.formats) if len(bank.formats) <= 8 else ""
    line = f"{len(bank.layers)} layers by {bank.rounder} in {formats or f'{len(bank.formats)} formats'}"
    if bank.samples:
        line += f", on {bank.samples} samples"
    if bank.as_nearest:
        more = f" and {len(bank.as_nearest) - _NAMED} more" if len(bank.as_nearest) > _NAMED else ""
        line += f"; to nearest, because no input was seen: {', '.join(bank.as_nearest[:_NAMED])}{more}"
    return line
