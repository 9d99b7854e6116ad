"""The public generators: seeded, of the stated shape, and with the property each family is known for."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant.solvers import InvalidProblem, Problem, Status, instances, solve

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PISINGER = ("uncorrelated", "weakly_correlated", "strongly_correlated", "subset_sum", "zigzag")


def made(name: str, *, seed: int = 3, reach: int = 1000) -> Problem:
    problem: Problem = getattr(instances, name)(40, 6, reach=reach, seed=seed)
    return problem


def network(*, seed: int = 3, n_budgets: int = 3, share: float = 0.5) -> Problem:
    layers = instances.lognormal(40, seed=seed)
    return instances.quantisation(layers, (2, 3, 4, 8), share=share, seed=seed, n_budgets=n_budgets)


def mixed(*, seed: int = 3) -> Problem:
    return instances.several_budgets(12, 5, 4, reach=9, seed=seed)


MAKERS: dict[str, Callable[..., Problem]] = {
    **{name: lambda name=name, seed=3: made(name, seed=seed) for name in PISINGER},
    "network": network,
    "several_budgets": mixed,
}


def digest(problem: Problem) -> str:
    parts = (problem.start, problem.label, problem.cost, problem.budget, problem.value)
    return hashlib.sha256(b"".join(each.tobytes() for each in parts)).hexdigest()


def columns(problem: Problem, flat: NDArray[np.generic]) -> NDArray[np.generic]:
    return flat.reshape(problem.n_groups, -1)


@pytest.mark.parametrize("name", MAKERS)
def test_a_seed_names_a_problem_and_another_seed_another(name: str) -> None:
    make = MAKERS[name]
    assert digest(make(seed=3)) == digest(make(seed=3))
    assert digest(make(seed=3)) != digest(make(seed=4))


def test_another_process_makes_the_same_problem() -> None:
    script = (
        "import hashlib\nfrom mckp_quant.solvers import instances\n"
        "p = instances.quantisation(instances.lognormal(40, seed=3), (2, 3, 4, 8), seed=3, n_budgets=3)\n"
        "parts = (p.start, p.label, p.cost, p.budget, p.value)\n"
        "print(hashlib.sha256(b''.join(each.tobytes() for each in parts)).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(network())


@pytest.mark.parametrize("name", MAKERS)
def test_every_problem_is_feasible_and_its_budgets_matter(name: str) -> None:
    problem = MAKERS[name]()
    assert (problem.budget >= problem.least_cost).all()
    most = np.maximum.reduceat(problem.cost, problem.start[:-1], axis=1).sum(axis=1)
    assert (problem.budget < most).all()
    assert problem.size.tolist() == [problem.size[0]] * problem.n_groups


@pytest.mark.parametrize("name", PISINGER)
def test_capacity_is_half_of_least_and_greatest_weight(name: str) -> None:
    problem = made(name)
    weight = columns(problem, problem.cost[0]).astype(np.int64)
    assert problem.budget[0] == (weight.min(axis=1).sum() + weight.max(axis=1).sum()) // 2
    assert problem.budget[0] == made(name).budget[0]


@pytest.mark.parametrize("name", PISINGER)
@pytest.mark.parametrize("reach", [5, 10_000])
def test_profits_are_whole_positive_and_negated(name: str, reach: int) -> None:
    problem = made(name, reach=reach)
    assert (problem.value < 0).all()
    assert (problem.value == np.rint(problem.value)).all()
    assert problem.cost.min() >= 1
    if name != "strongly_correlated":
        assert reach // 2 < problem.cost.max() <= reach


def test_uncorrelated_profits_do_not_follow_weights() -> None:
    problem = instances.uncorrelated(500, 10)
    assert abs(np.corrcoef(problem.cost[0], problem.value)[0, 1]) < 0.05


def test_weakly_correlated_profits_lie_within_ten_of_the_weight() -> None:
    problem = instances.weakly_correlated(500, 10)
    away = -problem.value - problem.cost[0]
    assert away.max() == 10
    assert away.min() == -10


def test_strongly_correlated_groups_are_chains_of_steps_that_gain_ten_each() -> None:
    problem = instances.strongly_correlated(50, 8)
    weight = columns(problem, problem.cost[0])
    profit = columns(problem, -problem.value)
    step = np.diff(weight, axis=1, prepend=0)
    assert (np.diff(step, axis=1) >= 0).all()
    assert (np.diff(profit, axis=1, prepend=0) == step + 10).all()


def test_subset_sums_pay_one_rate() -> None:
    problem = instances.subset_sum(50, 8)
    assert (problem.value == -problem.cost[0]).all()


def test_zigzag_groups_are_sorted_both_ways() -> None:
    problem = instances.zigzag(50, 8)
    assert (np.diff(columns(problem, problem.cost[0]), axis=1) >= 0).all()
    assert (np.diff(columns(problem, problem.value), axis=1) <= 0).all()


def test_resnet50_has_the_published_sizes() -> None:
    layers = instances.resnet50()
    assert layers.elements.sum() == 25_502_912
    assert len(layers.elements) == 54
    assert layers.elements[[0, -1]].tolist() == [9408, 2_048_000]
    assert layers.macs.sum() == pytest.approx(4.09e9, rel=1e-3)
    assert layers.macs[0] == 9408 * 112**2


def test_llm_repeats_seven_tensors_with_a_common_divisor() -> None:
    layers = instances.llm(224)
    assert layers.elements.tolist() == layers.elements[:7].tolist() * 32
    assert np.gcd.reduce(layers.elements) == 2**22
    assert len(instances.llm(10).elements) == 10


def test_lognormal_sizes_spread_around_their_median() -> None:
    sizes = instances.lognormal(4000, seed=1).elements
    assert 180_000 < np.median(sizes) < 220_000
    assert 1.4 < np.log(sizes).std() < 1.6


def test_quantisation_costs_are_bits_operations_and_nanoseconds() -> None:
    layers = instances.resnet50()
    width = np.array([2, 4, 8])
    problem = instances.quantisation(layers, (2, 4, 8), n_budgets=3)
    assert (columns(problem, problem.cost[0]) == layers.elements[:, None] * width).all()
    assert (columns(problem, problem.cost[1]) == layers.macs[:, None] * width**2).all()
    latency = columns(problem, problem.cost[2])
    assert (np.diff(latency, axis=1) >= 0).all()
    assert latency.min() > 3000


def test_quantisation_losses_fall_about_fourfold_with_each_bit() -> None:
    problem = instances.quantisation(instances.lognormal(3000, seed=0), (2, 3, 4, 8))
    value = columns(problem, problem.value).astype(np.float64)
    assert np.median(value[:, 0] / value[:, 1]) == pytest.approx(4, rel=0.05)
    assert np.median(value[:, 2] / value[:, 3]) == pytest.approx(4**4, rel=0.05)


@pytest.mark.parametrize(("share", "at"), [(0.0, 0), (1.0, 3)])
def test_the_share_runs_from_the_cheapest_to_the_dearest_selection(share: float, at: int) -> None:
    problem = network(share=share, n_budgets=3)
    costs = problem.cost.reshape(3, problem.n_groups, -1)
    assert problem.budget.tolist() == costs[:, :, at].sum(axis=1).tolist()


def test_a_bit_operation_budget_is_that_of_the_same_uniform_width() -> None:
    layers = instances.resnet50()
    problem = instances.quantisation(layers, (2, 8), share=0.5, n_budgets=2)
    assert problem.budget.tolist() == [5 * layers.elements.sum(), 25 * layers.macs.sum()]


def test_several_budgets_are_at_half_and_profits_follow_the_weights() -> None:
    problem = instances.several_budgets(200, 10, 3, reach=10, seed=0)
    weight = problem.cost.reshape(3, 200, 10)
    assert problem.budget.tolist() == ((weight.min(axis=2) + weight.max(axis=2)).sum(axis=1) // 2).tolist()
    assert np.corrcoef(problem.cost.mean(axis=0), -problem.value)[0, 1] > 0.8
    assert (np.rint(10 * problem.value) == 10 * problem.value).all()


def test_published_knapsacks_become_problems_with_negated_profits() -> None:
    problem = instances.mmkp([[3, 9], [4, 5]], [[[1, 2], [7, 3]], [[0, 1], [2, 2]]], [8, 5])
    assert problem.cost.tolist() == [[1, 7, 0, 2], [2, 3, 1, 2]]
    solution = solve(problem)
    assert solution.status is Status.OPTIMAL
    assert solution.value == -13.0
    assert solution.choice is not None
    assert solution.choice.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: instances.llm(0), "n_groups is 0: it must be a whole number, at least 1"),
        (lambda: instances.lognormal(-2), "n_groups is -2: it must be a whole number, at least 1"),
        (lambda: instances.uncorrelated(0, 3), "n_groups is 0: it must be a whole number, at least 1"),
        (lambda: instances.zigzag(3, 0), "n_choices is 0: it must be a whole number, at least 1"),
        (lambda: instances.subset_sum(3, 3, reach=0), "reach is 0: it must be a whole number, at least 1"),
        (lambda: instances.several_budgets(3, 3, 0), "n_budgets is 0: it must be a whole number, at least 1"),
        (lambda: network(n_budgets=4), "n_budgets is 4: it must be 1, 2 or 3 \\(weight bits"),
        (lambda: network(share=1.5), "share is 1.5: it must be a number from 0 to 1"),
        (lambda: instances.quantisation(instances.resnet50(), (4, 2)), "bits is \\(4, 2\\): give rising widths"),
        (lambda: instances.quantisation(instances.resnet50(), ()), "bits is \\(\\): give rising widths"),
        (lambda: instances.quantisation(instances.resnet50(), (8, 64)), "bits is \\(8, 64\\): give rising widths"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidProblem, match=message):
        call()
