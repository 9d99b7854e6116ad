"""Solving again: the same answer as from scratch, and an honest list of what moved."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import InvalidProblem, NoSolution, Problem, Resolved, Status, resolve, solve

from ..checks import tolerance, verified
from ..drawn import FEASIBLE, problems
from ..families import quantisation


def is_honest(problem: Problem, resolved: Resolved, before: list[int]) -> None:
    verified(problem, resolved.solution)
    fresh = solve(problem)
    assert resolved.solution.status is fresh.status
    if fresh.choice is None or resolved.solution.choice is None:
        assert len(resolved.moved) == 0
        return
    assert abs(resolved.solution.value - fresh.value) <= tolerance(problem)
    after = resolved.solution.choice.tolist()
    moved = [group for group in range(len(after)) if after[group] != before[group]]
    assert resolved.moved.tolist() == moved
    assert resolved.before.tolist() == [before[group] for group in moved]
    assert resolved.after.tolist() == [after[group] for group in moved]


@given(problem=problems(max_groups=6, budgets=FEASIBLE), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=150)
def test_changed_budget_or_group_gives_the_answer_of_a_fresh_solve(problem: Problem, seed: int) -> None:
    previous = solve(problem)
    assert previous.choice is not None
    before = previous.choice.tolist()
    rng = np.random.default_rng(seed)
    budget = problem.least_cost[0] - 1 + int(rng.integers(0, 1 + int(problem.cost.max()) * 2))
    changed = problem.with_budget([min(budget, 2**63 - 1)])
    is_honest(changed, resolve(changed, previous), before)
    group = int(rng.integers(problem.n_groups))
    value = np.where(problem.group == group, rng.normal(size=problem.n_choices), problem.value)
    other = dataclasses.replace(problem, value=value)
    is_honest(other, resolve(other, previous), before)


def test_group_that_lost_its_label_moves() -> None:
    problem = quantisation(12, (2, 4, 8), share=0.5, seed=3)
    previous = solve(problem)
    assert previous.choice is not None
    gone = problem.position(previous.choice)[4]
    keep = np.delete(np.arange(problem.n_choices), gone)
    start = np.where(problem.start > gone, problem.start - 1, problem.start)
    changed = Problem(problem.value[keep], problem.cost[:, keep], problem.budget, start, problem.label[keep])
    resolved = resolve(changed, previous)
    is_honest(changed, resolved, previous.choice.tolist())
    assert 4 in resolved.moved


def test_nothing_moves_where_the_old_selection_is_as_good_as_any() -> None:
    tie = Problem.from_table(np.ones((4, 3)), np.ones((4, 3), dtype=np.int64), 4)
    chosen = dataclasses.replace(solve(tie), choice=np.array([2, 0, 1, 2]))
    resolved = resolve(tie.with_budget([5]), chosen)
    assert resolved.moved.tolist() == []
    assert resolved.solution.choice is not None
    assert resolved.solution.choice.tolist() == [2, 0, 1, 2]
    verified(tie.with_budget([5]), resolved.solution)


def test_other_groups_are_refused() -> None:
    previous = solve(quantisation(5, (2, 4), share=0.5, seed=1))
    with pytest.raises(InvalidProblem, match="the previous solution chooses in 5 groups, the problem has 6"):
        resolve(quantisation(6, (2, 4), share=0.5, seed=1), previous)


def test_old_answer_without_a_selection_is_refused() -> None:
    problem = quantisation(5, (2, 4), share=0.5, seed=1)
    nothing = solve(problem.with_budget([0]))
    assert nothing.status is Status.INFEASIBLE
    with pytest.raises(NoSolution, match="no selection is within every budget"):
        resolve(problem, nothing)
