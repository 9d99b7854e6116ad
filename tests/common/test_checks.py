from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant.common import checks
from mckp_quant.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

# Each check with what it takes, what it refuses, and how it says so.
CHECKS: dict[str, tuple[Callable[[object], None], list[object], list[object], str]] = {
    "seed": (checks.check_seed, [0, 2**63 - 1, np.int64(3)], [-1, 2**63, 1.0, True, "1", None], "a whole number"),
    "count": (
        lambda value: checks.check_count("x", value, 2),
        [2, np.int32(5)],
        [1, 2.0, True, "2", None],
        "at least 2",
    ),
    "least": (
        lambda value: checks.check_least("x", value, 1),
        [1, 1.5, math.inf, np.float32(2)],
        [0.99, math.nan, True, "1", None],
        "it must be a number, at least 1",
    ),
    "probability": (
        lambda value: checks.check_probability("x", value),
        [0, 1, 0.5],
        [-0.1, 1.1, math.nan, True, "0", None],
        "it must be a number from 0 to 1",
    ),
    "fraction": (
        lambda value: checks.check_fraction("x", value),
        [0.5, 1e-9],
        [0, 1, math.nan, True, "0.5", None],
        "it must be a number between 0 and 1",
    ),
    "positive": (
        lambda value: checks.check_positive("x", value),
        [1e-300, 3],
        [0, -1, math.inf, math.nan, True, "1", None],
        "it must be a number above 0",
    ),
    "seconds": (
        checks.check_seconds,
        [0.1, 60, math.inf],
        [0, -5, math.nan, True, "60", None],
        "give a number of seconds above 0",
    ),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_number_passes_or_is_named_with_what_it_must_be(name: str) -> None:
    check, right, wrong, words = CHECKS[name]
    for value in right:
        check(value)
    for value in wrong:
        with pytest.raises(InvalidInput) as caught:
            check(value)
        assert f" is {value!r}: " in str(caught.value)
        assert words in str(caught.value)
