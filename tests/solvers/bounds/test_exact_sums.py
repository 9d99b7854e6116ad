"""Sums are the floats that rational arithmetic gives, with kernels and without, wherever the numbers lie."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant.solvers.bounds.exact_sums import chosen_total, sum_below, total_below
from mckp_quant.solvers.kernels import dispatch

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
# Numbers that meet in a few places, so that sums cancel, and lie halfway between two floats.
CLOSE = st.builds(lambda sign, exponent: sign * 2.0**exponent, st.sampled_from([-1, 1, 3]), st.integers(-60, 60))
TINY = st.builds(lambda units: units * 5e-324, st.integers(-(2**53), 2**53))
LISTS = st.one_of(*(st.lists(each, max_size=12) for each in (FLOATS, CLOSE, TINY)))


@pytest.fixture(params=[False, True], ids=["compiled", "numpy"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(dispatch, "_COMPILED", None)
    elif dispatch.compiled() is None:
        pytest.skip("there are no compiled kernels here, or NumPy is forced")


def exact(terms: list[float]) -> Fraction:
    return sum(map(Fraction, terms), Fraction(0))


@given(LISTS)
def test_total_is_the_nearest_float(terms: list[float]) -> None:
    value = np.array([7.5, *terms])
    choice = np.arange(1, len(value))[::-1]
    try:
        wanted = float(exact(terms))
    except OverflowError:
        with pytest.raises(OverflowError):
            chosen_total(value, choice)
        return
    assert chosen_total(value, choice) == wanted


@given(LISTS, st.lists(FLOATS, max_size=3))
def test_sum_below_is_the_largest_float_that_is_not_above(terms: list[float], more: list[float]) -> None:
    wanted = exact(terms + more)
    total = total_below(np.array(terms, dtype=np.float64), np.arange(len(terms)), more)
    assert total == sum_below(terms + more)
    if total == -math.inf:
        assert abs(wanted) >= Fraction(2) ** 1023
    else:
        assert Fraction(total) <= wanted
        following = math.nextafter(total, math.inf)
        assert following == math.inf or Fraction(following) > wanted


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_proves_nothing(odd: float) -> None:
    assert total_below(np.array([1.0, odd]), np.arange(2), []) == -math.inf
    assert total_below(np.array([1.0]), np.arange(1), [odd]) == -math.inf
    assert not math.isfinite(chosen_total(np.array([1.0, odd]), np.arange(2)))


def test_part_beyond_the_range_of_floats_is_none_of_the_whole() -> None:
    value = np.array([1.7e308, 1.7e308, -1.7e308, -1.7e308, 3.0])
    assert chosen_total(value, np.arange(5)) == 3.0
    assert total_below(value, np.arange(5), [-1.0]) == 2.0


def test_many_terms_that_cancel() -> None:
    rng = np.random.default_rng(0)
    half = rng.normal(size=20_000) * 10.0 ** rng.integers(-200, 200, 20_000)
    value = np.concatenate([half, -half, [1e-300]])
    assert chosen_total(value, rng.permutation(len(value))) == 1e-300
