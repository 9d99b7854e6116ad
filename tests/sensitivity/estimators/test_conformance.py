"""What every estimator must do. A new one is tested by its line in `ESTIMATORS`."""

from __future__ import annotations

import pytest

from mckp_quant.sensitivity import ESTIMATORS

from .conformance import CHECKS, Check, digests, digests_in_another_process, example


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_passes_every_check(name: str, check: Check) -> None:
    check(example(name))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_tables_in_another_process() -> None:
    every = [example(name) for name in ESTIMATORS]
    assert digests_in_another_process(every) == digests(every)
