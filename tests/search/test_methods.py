"""What every search must do. A new method is tested by its line in `METHODS`, and by its options here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.allocation.request import Request
from mckp_quant.evaluation import evaluator
from mckp_quant.search import (
    EMQ,
    METHODS,
    Differentiable,
    EvoQ,
    Found,
    LevelSwitch,
    Method,
    Progressive,
    RandomPolicies,
    search,
)

from . import small

if TYPE_CHECKING:
    from pathlib import Path


SHORT: dict[str, Method] = {
    "evoq": EvoQ(population=6, generations=3),
    "emq": EMQ(population=6, generations=3),
    "level_switch": LevelSwitch(generations=3, offspring=6, survivors=(3, 1)),
    "differentiable": Differentiable(steps=6),
    "progressive": Progressive(),
    "random": RandomPolicies(policies=8),
}
BUDGET = {"weight_bytes": "45%"}
every = pytest.mark.parametrize("name", METHODS)


def run(name: str, **options: object) -> Found:
    return search(small.network(), small.table(), BUDGET, small.data(), method=SHORT[name], **options)  # type: ignore[arg-type]


@every
def test_the_policy_and_everything_tried_is_within_two_budgets(name: str) -> None:
    budgets = {"weight_bytes": "45%", "bops": "40%"}
    limits = mq.allocate(small.table(), budgets).solution.budget
    tried: list[mq.Policy] = []

    def fitness(policy: mq.Policy) -> float:
        tried.append(policy)
        return sum(entry.weight_bits for entry in policy.formats) % 5

    found = search(small.network(), small.table(), budgets, small.data(), method=SHORT[name], fitness=fitness)
    assert tried
    for policy in (found.policy, *tried):
        assert (policy.costs["weight_bytes"], policy.costs["bops"]) <= limits
        assert policy.costs["weight_bytes"] <= limits[0]
        assert policy.costs["bops"] <= limits[1]
    assert found.fitness == min(map(fitness, list(tried)))


@every
def test_the_same_seed_gives_the_same_policy(name: str) -> None:
    first, second = run(name, seed=3), run(name, seed=3)
    assert first.policy == second.policy
    assert (first.fitness, first.history, first.evaluations) == (second.fitness, second.history, second.evaluations)
    assert first.stopped == "finished"


@every
def test_the_fitness_is_that_of_the_real_network(name: str) -> None:
    found = run(name, fitness="kl")
    measured = evaluator.evaluate(mq.apply(small.network(), found.policy), small.network(), small.data())
    assert found.fitness == pytest.approx(measured.kl, rel=1e-5)


@every
def test_network_and_generators_are_left_as_they_were(name: str) -> None:
    model = small.network()
    before = small.state(model)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    search(model, small.table(), BUDGET, small.data(), method=SHORT[name])
    assert small.same(before, small.state(model))
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@every
def test_pins_and_ties_hold(name: str) -> None:
    found = search(
        small.network(),
        small.table(),
        Request({"weight_bytes": "60%"}, pinned={"8": "w8"}, tied=[["0", "3"]]),
        small.data(),
        method=SHORT[name],
    )
    assert found.policy["8"].name == "w8"
    assert found.policy["0"] == found.policy["3"]


@every
def test_a_search_that_was_stopped_goes_the_same_way_again(name: str, tmp_path: Path) -> None:
    whole = run(name, fitness="kl")
    path = tmp_path / "search.json"
    stopped = run(name, fitness="kl", evaluations=1.5, checkpoint=path)
    assert stopped.evaluations <= 1.5
    again = run(name, fitness="kl", checkpoint=path)
    assert (again.policy, again.fitness, again.history) == (whole.policy, whole.fitness, whole.history)


@pytest.mark.parametrize("name", ["evoq", "emq", "level_switch", "random"])
def test_an_interrupt_gives_the_best_so_far(name: str) -> None:
    values: list[float] = []

    def fitness(policy: mq.Policy) -> float:
        if len(values) == 3:
            raise KeyboardInterrupt
        values.append(policy.predicted)
        return policy.predicted

    found = run(name, fitness=fitness)
    assert found.stopped == "interrupted"
    assert found.fitness == min(values)


@pytest.mark.parametrize("name", ["evoq", "emq", "level_switch", "random"])
def test_evaluations_are_a_limit(name: str) -> None:
    found = run(name, evaluations=2)
    assert found.stopped == "evaluations"
    assert found.evaluations <= 2


def test_searches_beat_the_first_policy_that_they_try() -> None:
    for name in ("evoq", "emq", "level_switch", "random"):
        history = run(name).history
        assert len(history) > 1
        assert history[-1][1] < history[0][1]


def test_wrong_names_and_seeds_are_refused() -> None:
    arguments = small.network(), small.table(), BUDGET, small.data()
    with pytest.raises(mq.InvalidInput, match="unknown search method 'evo'"):
        search(*arguments, method="evo")
    with pytest.raises(mq.InvalidInput, match=r"method is <class .*EvoQ.*give a name"):
        search(*arguments, method=EvoQ)  # type: ignore[arg-type]
    with pytest.raises(mq.InvalidInput, match="unknown fitness 'kk'"):
        search(*arguments, fitness="kk")
    with pytest.raises(mq.InvalidInput, match="seed = -1"):
        search(*arguments, seed=-1)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: EvoQ(population=1), "at least 2 policies must live"),
        (lambda: EvoQ(mutation=1.5), r"mutation = 1.5: both must lie in 0 to 1"),
        (lambda: EMQ(mutation=-1), "a probability lies in 0 to 1"),
        (lambda: EMQ(widths=(50,)), "100 among them"),
        (lambda: LevelSwitch(survivors=(40, 2)), "each level must keep no more"),
        (lambda: LevelSwitch(shares=(0.5, 1.0)), "give one share"),
        (lambda: LevelSwitch(shares=(0.0, 0.5, 1.0)), "a share must be above 0"),
        (lambda: Differentiable(steps=0), "take at least one step"),
        (lambda: RandomPolicies(0), "draw at least one"),
    ],
)
def test_options_without_sense_are_refused(make: object, text: str) -> None:
    with pytest.raises(mq.InvalidInput, match=text):
        make()  # type: ignore[operator]
