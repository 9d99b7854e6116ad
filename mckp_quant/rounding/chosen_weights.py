"""What functions that also take a table round a network to: a bank, and whether the table may be another rounder's."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidInput
from .bank import WeightBank, check_rounder, rounder_of_bank


@dataclass(frozen=True)
class Weights:
    """What weights are rounded to, for functions that are also given a table: they take it, or a bank, as ``bank=``.

    Attributes
    ----------
    bank
        The weights in every format; None for round-to-nearest.
    other_rounder
        Whether the table may be about another rounder, so that its prediction does not hold.
    """

    bank: WeightBank | None = None
    other_rounder: bool = False

    @property
    def rounder(self) -> str:
        """What weights are rounded by."""
        return rounder_of_bank(self.bank)

    @property
    def digest(self) -> tuple[str, ...]:
        """The bank's digest, for what must not be resumed with another bank; nothing without a bank."""
        return () if self.bank is None else (self.bank.digest,)

    def check(self, what: str, rounder: str) -> None:
        """Refuse what was predicted with another rounder; raises InvalidInput, see `check_rounder`."""
        check_rounder(what, rounder, self.bank, self.other_rounder)


def as_weights(bank: WeightBank | Weights | None) -> Weights:
    """What weights are rounded to, from what a caller gave as ``bank=``; raises InvalidInput for anything else."""
    if isinstance(bank, Weights):
        return bank
    check_bank(bank)
    return Weights(bank)


def check_bank(bank: object) -> None:
    """Refuse what is no bank; raises InvalidInput."""
    if bank is not None and not isinstance(bank, WeightBank):
        raise InvalidInput(
            f"bank is a {type(bank).__name__}: give what round_weights() returned, or WeightBank.load(folder)"
        )
