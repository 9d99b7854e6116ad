from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import InvalidInput
from mckp_quant.common.amounts import Quantity, read

FACTORS = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50}


@given(st.decimals(0, 1000, places=7), st.sampled_from(sorted(FACTORS)), st.sampled_from(["", " ", "  "]))
def test_decimal_prefixes_are_exact_powers_of_ten(number: Decimal, prefix: str, space: str) -> None:
    for symbol in ("B", ""):
        quantity = read("budget", f"{number:f}{space}{prefix}{symbol}", symbol)
        assert quantity == Quantity(Fraction(number) * 10 ** FACTORS[prefix])


@given(st.decimals(0, 1000, places=7), st.sampled_from(sorted(BINARY)))
def test_binary_prefixes_are_exact_powers_of_two(number: Decimal, prefix: str) -> None:
    assert read("budget", f"{number:f}{prefix}B", "B").number == Fraction(number) * 2 ** BINARY[prefix]


@given(st.floats(0, 1e15))
def test_float_means_the_shortest_decimal_that_reads_as_it(number: float) -> None:
    exact = read("budget", number).number
    assert exact == Fraction(Decimal(str(number)))
    assert float(exact) == number
    assert read("budget", repr(number)).number == exact


@given(st.integers(0, 2**63 - 1))
def test_integers_of_any_size_are_kept_to_the_last_digit(number: int) -> None:
    same: Any
    for same in (number, str(number), Fraction(number), Decimal(number), np.uint64(number)):
        assert read("budget", same, "B").number == number


def test_numpy_floats_count_as_python_floats() -> None:
    assert read("budget", np.float64(2.4)).number == Fraction(12, 5)


@given(st.decimals(0, 10**6, places=4), st.integers(0, 10**18))
def test_percentage_is_an_exact_share_of_the_whole(number: Decimal, whole: int) -> None:
    for symbol in ("B", "", None):
        quantity = read("budget", f"{number:f}%", symbol)
        assert quantity.percent
        assert quantity.of(whole) == Fraction(number) * whole / 100


def test_amounts_of_the_documentation() -> None:
    assert read("weight_bytes", "90kB", "B").of(1) == 90_000
    assert read("weight_bytes", "1KiB", "B").of(1) == 1_024
    assert read("bops", "1.2G", "").of(1) == 1_200_000_000
    assert read("weight_bytes", "1e3", "B").of(1) == 1_000
    assert read("weight_bytes", ".5kB", "B").of(1) == 500


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1, "weight_bytes = -1 is negative"),
        ("-90kB", "weight_bytes = '-90kB' is negative"),
        ("-5%", "is negative"),
        (math.nan, "weight_bytes = nan is not finite"),
        (math.inf, "weight_bytes = inf is not finite"),
        (Decimal("NaN"), "is not finite"),
        ("nan", "weight_bytes = 'nan' cannot be read"),
        ("inf", "cannot be read"),
        ("", "weight_bytes = '' cannot be read"),
        ("kB", "cannot be read"),
        ("90 000", "cannot be read"),
        ("9,5kB", "cannot be read"),
        ("1e9999", "cannot be read"),
        ("9" * 5000, "cannot be read"),
        ("90KB", r"unknown unit 'KB': write a number, such as '90kB' \(90,000\) or '1KiB' \(1,024\)"),
        ("90mB", "unknown unit 'mB'"),
        ("3apples", "unknown unit 'apples'"),
        (True, "weight_bytes = True is no amount"),
        (None, "weight_bytes = None is no amount"),
        ([1], "is no amount"),
        (2**63, "beyond 2"),
        ("10000000000PB", "beyond 2"),
        ("1e300", "beyond 2"),
    ],
)
def test_amounts_that_mean_nothing_are_refused_by_name_and_value(value: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read("weight_bytes", value, "B")


def test_units_that_make_no_sense_for_the_resource_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"bits_per_weight = '2kB' has the unit 'kB': write a number, such as '2.5'"):
        read("bits_per_weight", "2kB")
    with pytest.raises(InvalidInput, match=r"bops = '2GB' has the unknown unit 'GB': write a number, such as '1.2G'"):
        read("bops", "2GB", "")
