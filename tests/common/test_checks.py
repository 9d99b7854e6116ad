"""The same wrong value gets the same error and the same words, whoever checks it."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from mckp_quant import InvalidInput
from mckp_quant.common.checks import (
    check_count,
    check_fraction,
    check_least,
    check_positive,
    check_probability,
    check_seconds,
    check_seed,
)

NO_NUMBERS = [None, "1", True, False, np.True_, [1], 1j, Decimal(1), math.nan, np.nan]


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1, np.int64(7), np.uint8(3)])
def test_whole_numbers_of_any_type_seed(seed: Any) -> None:
    check_seed(seed)


@pytest.mark.parametrize("seed", [*NO_NUMBERS, -1, 2**63, 1.0, 1.5, np.float64(2), Fraction(1)])
def test_what_seeds_nothing_is_refused(seed: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^seed is .*: it must be a whole number from 0 to 2\*\*63 - 1$"):
        check_seed(seed)


def test_counts_come_back_as_plain_integers() -> None:
    for count in (2, np.int32(2), np.uint64(2)):
        found = check_count("draws", count, 2)
        assert (found, type(found)) == (2, int)
    assert check_count("bits", 8, 1, 8) == 8


@pytest.mark.parametrize("count", [*NO_NUMBERS, 1, 0, -3, 2.0, 2.5, math.inf, Fraction(5, 2)])
def test_counts_that_are_none_or_too_small_are_refused(count: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^draws is .*: it must be a whole number, at least 2$"):
        check_count("draws", count, 2)


@pytest.mark.parametrize("count", [None, 0, 9, 1.5])
def test_counts_out_of_a_range_are_refused(count: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"^bits is {count}: it must be a whole number from 1 to 8$"):
        check_count("bits", count, 1, 8)


@pytest.mark.parametrize("share", [1e-300, 0.5, Fraction(1, 3), np.float32(0.25)])
def test_fractions_lie_between_zero_and_one(share: Any) -> None:
    check_fraction("held_back", share)


@pytest.mark.parametrize("share", [*NO_NUMBERS, 0, 1, 0.0, 1.0, -0.1, 1.5, math.inf])
def test_what_is_no_fraction_is_refused(share: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^held_back is .*: it must be a number between 0 and 1$"):
        check_fraction("held_back", share)


@pytest.mark.parametrize("number", [*NO_NUMBERS, 0, -1, -0.5, math.inf])
def test_what_is_no_positive_number_is_refused(number: Any) -> None:
    check_positive("rate", 1e-9)
    with pytest.raises(InvalidInput, match=r"^rate is .*: it must be a number above 0$"):
        check_positive("rate", number)


@pytest.mark.parametrize("seconds", [*NO_NUMBERS, 0, -1, -0.5, -math.inf])
def test_what_is_no_time_limit_is_refused(seconds: Any) -> None:
    for limit in (1, 0.5, math.inf):
        check_seconds(limit)
    with pytest.raises(InvalidInput, match=r"^seconds is .*: give a number of seconds above 0$"):
        check_seconds(seconds)


@pytest.mark.parametrize("number", [*NO_NUMBERS, 0, 0.99, -math.inf])
def test_numbers_that_are_none_or_too_small_are_refused(number: Any) -> None:
    for enough in (1, 1.5, math.inf, np.float32(2)):
        check_least("factor", enough, 1)
    with pytest.raises(InvalidInput, match=r"^factor is .*: it must be a number, at least 1$"):
        check_least("factor", number, 1)


@pytest.mark.parametrize("number", [*NO_NUMBERS, -0.1, 1.1, math.inf])
def test_what_is_no_probability_is_refused(number: Any) -> None:
    for right in (0, 1, 0.5, Fraction(1, 3)):
        check_probability("mutation", right)
    with pytest.raises(InvalidInput, match=r"^mutation is .*: it must be a number from 0 to 1$"):
        check_probability("mutation", number)
