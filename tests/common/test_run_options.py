from __future__ import annotations

import math
from typing import Any

import pytest

from mckp_quant import InvalidInput, RunOptions


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1.5}, r"^seed is 1\.5: it must be a whole number from 0"),
        ({"memory_limit": "half"}, "^memory_limit = 'half' cannot be read"),
        ({"memory_limit": "50%"}, "^memory_limit = '50%' is a percentage, but of nothing"),
        ({"max_batches": 0}, "^max_batches is 0: it must be a whole number, at least 1"),
        ({"progress": "bar"}, "^progress is 'bar': give a function of the steps done and their total, or None"),
    ],
)
def test_values_that_cannot_be_used_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        RunOptions(**options)


def test_options_that_a_function_cannot_honour_are_refused_by_name() -> None:
    RunOptions(seed=3).only("calibrate_ranges", "seed", "max_batches")
    RunOptions().only("calibrate_ranges")
    with pytest.raises(
        InvalidInput,
        match=r"^RunOptions\(cache='errors'\) means nothing to calibrate_ranges\(\), which takes seed, max_b",
    ):
        RunOptions(cache="errors").only("calibrate_ranges", "seed", "max_batches")


def test_progress_is_told_in_whole_steps_and_without_a_total_where_there_is_none() -> None:
    told: list[tuple[int, int | None]] = []
    run = RunOptions(progress=lambda done, total: told.append((done, total)))
    for done, total in ((1, 4), (2.5, 10.0), (3, None), (4, math.inf)):
        run.report(done, total)
    assert told == [(1, 4), (2, 10), (3, None), (4, None)]
    RunOptions().report(1, 2)
