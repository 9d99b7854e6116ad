"""Every published search does what `conformance` asks: a new one is tested by its line in `SEARCHES`, and one here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import mckp_quant as mq
from mckp_quant.search import (
    EMQ,
    SEARCHES,
    Differentiable,
    EvoQ,
    LevelSwitch,
    Method,
    Progressive,
    RandomPolicies,
    search,
)

from . import small
from .conformance import BUDGET, every_check, found_by

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHORT: dict[str, Method] = {
    "evoq": EvoQ(population=6, generations=3),
    "emq": EMQ(population=6, generations=3),
    "level_switch": LevelSwitch(generations=3, offspring=6, survivors=(3, 1)),
    "differentiable": Differentiable(steps=6),
    "progressive": Progressive(),
    "random": RandomPolicies(policies=8),
}


@every_check
@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_does_what_a_search_must(name: str, check: Callable[[Method, Path], None], tmp_path: Path) -> None:
    check(SHORT[name], tmp_path)


@pytest.mark.parametrize("name", ["evoq", "emq", "level_switch", "random"])
def test_an_interrupt_gives_the_best_so_far(name: str) -> None:
    values: list[float] = []

    def fitness(policy: mq.Policy) -> float:
        if len(values) == 3:
            raise KeyboardInterrupt
        values.append(policy.predicted)
        return policy.predicted

    found = search(small.network(), small.table(), BUDGET, small.data(), method=SHORT[name], fitness=fitness)
    assert found.stopped == "interrupted"
    assert found.fitness == min(values)


@pytest.mark.parametrize("name", ["evoq", "emq", "level_switch", "random"])
def test_evaluations_are_a_limit(name: str) -> None:
    found = found_by(SHORT[name], evaluations=2)
    assert found.stopped == "evaluations"
    assert found.evaluations <= 2


def test_searches_beat_the_first_policy_that_they_try() -> None:
    for name in ("evoq", "emq", "level_switch", "random"):
        history = found_by(SHORT[name]).history
        assert len(history) > 1
        assert history[-1][1] < history[0][1]


def test_wrong_names_are_refused() -> None:
    arguments = small.network(), small.table(), BUDGET, small.data()
    with pytest.raises(mq.InvalidInput, match="unknown search method 'evo'"):
        search(*arguments, method="evo")
    with pytest.raises(mq.InvalidInput, match=r"method is <class .*EvoQ.*give a name"):
        search(*arguments, method=EvoQ)  # type: ignore[arg-type]
    with pytest.raises(mq.InvalidInput, match="unknown fitness 'kk'"):
        search(*arguments, fitness="kk")
    with pytest.raises(mq.InvalidInput, match=r"evaluations is 0\.5: it must be a number, at least 1"):
        search(*arguments, evaluations=0.5)
    with pytest.raises(mq.InvalidInput, match="seconds is 0: give a number of seconds above 0"):
        search(*arguments, run=mq.RunOptions(seconds=0))
    with pytest.raises(mq.InvalidInput, match="request is a int: give budgets"):
        search(small.network(), small.table(), 9, small.data())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: EvoQ(population=1), "population is 1: it must be a whole number, at least 2"),
        (lambda: EvoQ(mutation=1.5), r"mutation is 1\.5: it must be a number from 0 to 1"),
        (lambda: EMQ(mutation=-1), "mutation is -1: it must be a number from 0 to 1"),
        (lambda: EMQ(widths=(50,)), "100 among them"),
        (lambda: EvoQ(generations=1.5), r"generations is 1\.5: it must be a whole number"),  # type: ignore[arg-type]
        (lambda: Differentiable(rate=0), "rate is 0: it must be a number above 0"),
        (lambda: LevelSwitch(generations=0), "generations is 0: it must be a whole number, at least 1"),
        (lambda: LevelSwitch(survivors=(2, 0)), "a number of survivors is 0: it must be a whole number, at least 1"),
        (lambda: LevelSwitch(survivors=(40, 2)), "each level must keep no more"),
        (lambda: LevelSwitch(shares=(0.5, 1.0)), "give one share"),
        (lambda: LevelSwitch(shares=(0.0, 0.5, 1.0)), "a share must be above 0"),
        (lambda: Differentiable(steps=0), "steps is 0: it must be a whole number, at least 1"),
        (lambda: RandomPolicies(0), "policies is 0: it must be a whole number, at least 1"),
    ],
)
def test_options_without_sense_are_refused(make: object, text: str) -> None:
    with pytest.raises(mq.InvalidInput, match=text):
        make()  # type: ignore[operator]
