"""What every search must do, as checks that are given any method; a method that passes them is a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import evaluate
from mckp_quant.search import Found, Method, search

from . import small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BUDGET = {"weight_bytes": "45%"}


def found_by(method: Method, *, fitness: str | None = None, evaluations: float | None = None, **run: object) -> Found:
    """What a method finds for the small network; further keywords are those of `RunOptions`."""
    options = mq.RunOptions(**run)  # type: ignore[arg-type]
    arguments = small.network(), small.table(), BUDGET, small.data()
    return search(*arguments, method=method, fitness=fitness, evaluations=evaluations, run=options)


def keeps_every_budget(method: Method, folder: Path) -> None:
    """The answer and all that is tried on the way are within two budgets."""
    budgets = {"weight_bytes": "45%", "bops": "40%"}
    limits = mq.allocate(small.table(), budgets).solution.budget
    tried: list[mq.Policy] = []

    def fitness(policy: mq.Policy) -> float:
        tried.append(policy)
        return sum(entry.weight_bits for entry in policy.formats) % 5

    found = search(small.network(), small.table(), budgets, small.data(), method=method, fitness=fitness)
    assert tried
    for policy in (found.policy, *tried):
        assert policy.costs["weight_bytes"] <= limits[0]
        assert policy.costs["bops"] <= limits[1]
    assert found.fitness == min(map(fitness, list(tried)))


def repeats_itself(method: Method, folder: Path) -> None:
    """The same seed gives the same policy, on the same way."""
    first, second = found_by(method, seed=3), found_by(method, seed=3)
    assert first.policy == second.policy
    assert (first.fitness, first.history, first.evaluations) == (second.fitness, second.history, second.evaluations)
    assert first.stopped == "finished"


def judges_on_the_real_network(method: Method, folder: Path) -> None:
    """Its fitness is what the network does under its policy."""
    found = found_by(method, fitness="kl")
    measured = evaluate(mq.apply(small.network(), found.policy), small.network(), small.data())
    assert found.fitness == pytest.approx(measured.kl, rel=1e-5)


def leaves_things_as_they_were(method: Method, folder: Path) -> None:
    """The network and the generators of others are untouched."""
    model = small.network()
    before = small.state(model)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    search(model, small.table(), BUDGET, small.data(), method=method)
    assert small.same(before, small.state(model))
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def keeps_pins_and_ties(method: Method, folder: Path) -> None:
    """What a request pins or ties stays so."""
    request = mq.Request({"weight_bytes": "60%"}, pinned={"8": "w8"}, tied=[["0", "3"]])
    found = search(small.network(), small.table(), request, small.data(), method=method)
    assert found.policy["8"].name == "w8"
    assert found.policy["0"] == found.policy["3"]


def goes_the_same_way_again(method: Method, folder: Path) -> None:
    """A search that was stopped by a limit ends, when it is taken up, where it would have ended without."""
    whole = found_by(method, fitness="kl")
    path = folder / "search.json"
    stopped = found_by(method, fitness="kl", evaluations=1.5, checkpoint=path)
    assert stopped.evaluations <= 1.5
    again = found_by(method, fitness="kl", checkpoint=path)
    assert (again.policy, again.fitness, again.history) == (whole.policy, whole.fitness, whole.history)


def takes_dense_outputs(method: Method, folder: Path) -> None:
    """A network with a map of classes is searched as the same one with its outputs and targets moved by hand."""
    dense, moved = small.dense_outputs()
    budget = {"weight_bytes": "60%"}
    first = search(small.dense_network(), small.dense_table(), budget, dense, method=method, outputs=small.DENSE)
    second = search(small.dense_network(), small.dense_table(), budget, moved, method=method, outputs=small.MOVED)
    assert first.policy == second.policy
    assert (first.fitness, first.history) == (second.fitness, second.history)


CHECKS: tuple[Callable[[Method, Path], None], ...] = (
    keeps_every_budget,
    repeats_itself,
    judges_on_the_real_network,
    leaves_things_as_they_were,
    keeps_pins_and_ties,
    goes_the_same_way_again,
    takes_dense_outputs,
)
every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
