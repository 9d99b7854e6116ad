"""`Weights`: a bank, and whether a table of another rounder may stand beside it."""

from __future__ import annotations

import pytest

from mckp_quant import InvalidInput
from mckp_quant.rounding import Weights
from mckp_quant.rounding.chosen_weights import as_weights

from ..evaluation import banks


def test_a_bank_stands_for_itself() -> None:
    bank = banks.bank()
    assert as_weights(bank) == Weights(bank)
    assert as_weights(None) == Weights()
    both = Weights(bank, other_rounder=True)
    assert as_weights(both) is both
    with pytest.raises(InvalidInput, match=r"bank is a dict: give what round_weights\(\) returned"):
        as_weights({})  # type: ignore[arg-type]


def test_they_say_what_they_are_rounded_by() -> None:
    assert (Weights().rounder, Weights().digest) == ("nearest", ())
    assert Weights(banks.bank()).rounder == "truncation"
    assert Weights(banks.bank()).digest == (banks.bank().digest,)


def test_another_rounder_is_refused_unless_it_is_wanted() -> None:
    bank = banks.bank()
    Weights(bank).check("the table", "truncation")
    Weights(bank).check("the table", "")
    Weights(bank, other_rounder=True).check("the table", "nearest")
    with pytest.raises(InvalidInput, match="the table is about weights rounded by nearest, but these are rounded by"):
        Weights(bank).check("the table", "nearest")
