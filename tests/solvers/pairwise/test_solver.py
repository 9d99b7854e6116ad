from __future__ import annotations

import dataclasses
import itertools
import math
import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import (
    Answer,
    Exact,
    InvalidProblem,
    NoSolution,
    Pairs,
    Pairwise,
    Problem,
    Rows,
    Solution,
    Status,
    available,
    explain,
    front,
    k_best,
    least_cost,
    read_problem,
    solve,
    write_problem,
)
from mckp_quant.solvers.pairwise.bound import tournament

from ..drawn import problems

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

OTHERS = sorted(set(available()) - {"pairwise", "enumerate"})


def with_random_pairs(problem: Problem, seed: int, *, density: float = 0.7, size: float = 1.0) -> Problem:
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(problem.n_choices, 1)
    kept = (problem.group[first] != problem.group[second]) & (rng.random(len(first)) < density)
    scale = size * float(np.abs(problem.value).max() or 1.0)
    return problem.with_pairs(Pairs(first[kept], second[kept], scale * rng.normal(size=int(kept.sum()))))


@st.composite
def pair_problems(draw: st.DrawFn, max_budgets: int = 1, max_groups: int = 5) -> Problem:
    problem = draw(problems(max_budgets=max_budgets, max_groups=max_groups, max_choices=4))
    size = draw(st.sampled_from([1e-6, 0.1, 1.0, 100.0]))
    return with_random_pairs(problem, draw(st.integers(0, 10**6)), size=size)


def gram(n_groups: int, n_choices: int, samples: int, seed: int, share: float = 0.4) -> Problem:
    """The quadratic form of a sum of layers' errors on samples, as a Gauss-Newton matrix has it."""
    rng = np.random.default_rng(seed)
    elements = np.maximum(1, np.exp(rng.normal(5, 1, n_groups))).astype(np.int64)
    bits = np.arange(2, 2 + n_choices)
    size = np.sqrt(np.exp(rng.normal(size=n_groups))[:, None] * elements[:, None] * 4.0**-bits)
    errors = (size[None] * rng.normal(size=(samples, n_groups, n_choices))).reshape(samples, -1)
    matrix = errors.T @ errors / (2 * samples)
    cost = elements[:, None] * bits
    low, high = cost.min(axis=1).sum(), cost.max(axis=1).sum()
    problem = Problem.from_table(np.diag(matrix).reshape(n_groups, n_choices), cost, int(low + share * (high - low)))
    first, second = np.triu_indices(problem.n_choices, 1)
    kept = problem.group[first] != problem.group[second]
    return problem.with_pairs(Pairs(first[kept], second[kept], 2 * matrix[first, second][kept]))


def value_by_definition(problem: Problem, choice: NDArray[np.int64]) -> float:
    assert problem.pairs is not None
    chosen = set(choice.tolist())
    terms = zip(problem.pairs.first.tolist(), problem.pairs.second.tolist(), problem.pairs.value.tolist(), strict=True)
    own = [float(problem.value[at]) for at in choice]
    return math.fsum(own + [value for i, j, value in terms if i in chosen and j in chosen])


def best_of_all(problem: Problem) -> float | None:
    groups = [range(problem.start[g], problem.start[g + 1]) for g in range(problem.n_groups)]
    values = [
        value_by_definition(problem, np.array(choice))
        for choice in itertools.product(*groups)
        if (problem.cost[:, list(choice)].sum(axis=1) <= problem.budget).all()
    ]
    return min(values, default=None)


def noise(problem: Problem) -> float:
    assert problem.pairs is not None
    return 1e-11 * float(np.abs(problem.value).max() * problem.n_groups + np.abs(problem.pairs.value).sum())


def verified(problem: Problem, solution: Solution) -> Solution:
    assert solution.certificate.holds(problem)
    if solution.choice is not None:
        position = problem.position(solution.choice)
        assert (problem.cost[:, position].sum(axis=1) <= problem.budget).all()
        assert solution.value == value_by_definition(problem, position)
        assert solution.certificate.bound <= solution.value
    return solution


@given(problem=pair_problems(max_budgets=2))
@settings(max_examples=60)
def test_optimum_is_that_of_trying_everything(problem: Problem) -> None:
    best = best_of_all(problem)
    for solver in ("pairwise", "enumerate", "auto"):
        solution = verified(problem, solve(problem, solver))
        if best is None:
            assert solution.status is Status.INFEASIBLE
        else:
            assert solution.status is Status.OPTIMAL
            assert abs(solution.value - best) <= noise(problem)
            assert solution.certificate.bound <= best


@pytest.mark.parametrize("seed", range(3))
def test_twenty_groups_are_proved(seed: int) -> None:
    problem = gram(20, 4, 256, seed)
    solution = verified(problem, solve(problem))
    assert solution.status is Status.OPTIMAL
    alone = solve(problem.with_pairs(None))
    assert alone.choice is not None
    assert solution.value <= value_by_definition(problem, problem.position(alone.choice))
    assert solution.certificate.bound > 0.5 * solution.value


def test_groups_of_more_choices_than_a_byte_counts_are_searched() -> None:
    rng = np.random.default_rng(3)
    value = rng.normal(size=(3, 200))
    problem = Problem.from_table(value, np.zeros((3, 200), dtype=np.int64), 0)
    table = 3 * rng.normal(size=(3, 200, 200)) * (rng.random((3, 200, 200)) < 0.2)
    terms = []
    for (one, other), each in zip(((0, 1), (0, 2), (1, 2)), table, strict=True):
        i, j = np.nonzero(each)
        terms.append((200 * one + i, 200 * other + j, each[i, j]))
    problem = problem.with_pairs(Pairs(*(np.concatenate(parts) for parts in zip(*terms, strict=True))))
    best = (value[0][:, None] + table[0])[:, :, None] + table[1][:, None, :] + table[2][None]
    best = best + value[1][None, :, None] + value[2]
    solution = verified(problem, solve(problem, Pairwise(max_sweeps=0)))
    assert solution.status is Status.OPTIMAL
    assert solution.stats["nodes"] > 0
    assert solution.value == pytest.approx(best.min(), abs=1e-9)


@pytest.mark.parametrize("where", ["_more_starts", "exhaust"])
def test_interrupted_search_keeps_its_best_selection_and_its_bound(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = gram(16, 4, 40, 0)
    whole = verified(problem, solve(problem, Pairwise(max_nodes=0)))

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"mckp_quant.solvers.pairwise.solver.{where}", interrupted)
    solution = verified(problem, solve(problem))
    assert solution.status is Status.FEASIBLE
    assert solution.stats["interrupted"] is True
    assert solution.bound == pytest.approx(whole.bound, rel=1e-9)
    alone = solve(problem.with_pairs(None))
    assert alone.choice is not None
    assert solution.value < value_by_definition(problem, problem.position(alone.choice))


def test_interrupted_before_the_pairs_were_looked_at_nothing_else_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = gram(16, 4, 40, 0)

    def answer(*_: Any, **__: Any) -> Answer:
        return Answer(problem.start[:-1] + 0, complete=True, stats={"interrupted": True})

    def begun(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(Exact, "__call__", answer)
    monkeypatch.setattr("mckp_quant.solvers.pairwise.solver.ascend", begun)
    solution = verified(problem, solve(problem))
    assert solution.status is Status.FEASIBLE
    assert solution.stats["interrupted"] is True


def test_search_that_is_cut_off_says_so_and_keeps_its_bound() -> None:
    problem = gram(16, 4, 40, 0)
    cut = verified(problem, solve(problem, Pairwise(max_nodes=0)))
    assert cut.status is Status.FEASIBLE
    assert cut.bound == cut.certificate.bound < cut.value
    whole = verified(problem, solve(problem))
    assert whole.value <= cut.value
    assert cut.bound <= whole.value


@pytest.mark.parametrize("exponent", [-900, -40, 3, 800])
def test_unit_of_the_values_changes_nothing(exponent: int) -> None:
    problem = gram(8, 3, 30, 1)
    assert problem.pairs is not None
    other = dataclasses.replace(problem, value=np.ldexp(problem.value, exponent), pairs=problem.pairs.scaled(exponent))
    one, two = solve(problem), verified(other, solve(other))
    assert repr(one.choice) == repr(two.choice)
    assert two.value == math.ldexp(one.value, exponent)


def test_order_of_groups_and_choices_changes_nothing() -> None:
    problem = gram(7, 3, 30, 2)
    assert problem.pairs is not None
    rng = np.random.default_rng(0)
    groups = rng.permutation(7)
    order = np.concatenate([rng.permutation(np.arange(problem.start[g], problem.start[g + 1])) for g in groups])
    where = np.argsort(order)
    other = Problem(
        value=problem.value[order],
        cost=problem.cost[:, order],
        budget=problem.budget,
        start=problem.start,
        label=problem.label[order],
        pairs=Pairs(where[problem.pairs.second], where[problem.pairs.first], problem.pairs.value),
    )
    one, two = solve(problem), solve(other)
    assert one.choice is not None
    assert two.choice is not None
    assert one.choice[groups].tolist() == two.choice.tolist()


def test_terms_that_concern_single_choices_move_into_the_values() -> None:
    """Adding u_i for each choice of group 0 to all its pairs with group 1 is the same as adding it to the choice."""
    problem = gram(6, 3, 20, 3)
    assert problem.pairs is not None
    extra = np.array([0.3, -0.2, 0.5]) * float(problem.value.max())
    first, second = np.repeat([0, 1, 2], 3), np.tile([3, 4, 5], 3)
    in_pairs = problem.with_pairs(
        Pairs(
            np.concatenate([problem.pairs.first, first]),
            np.concatenate([problem.pairs.second, second]),
            np.concatenate([problem.pairs.value, np.repeat(extra, 3)]),
        )
    )
    in_values = dataclasses.replace(problem, value=problem.value + np.pad(extra, (0, problem.n_choices - 3)))
    one, two = solve(in_pairs), solve(in_values)
    assert repr(one.choice) == repr(two.choice)
    assert one.value == pytest.approx(two.value)


def test_pairs_of_zero_give_the_answer_of_exact() -> None:
    problem = gram(12, 4, 50, 4).with_pairs(None)
    zero = problem.with_pairs(Pairs([0], [problem.n_choices - 1], [0.0]))  # type: ignore[arg-type]
    solution = verified(zero, solve(zero))
    assert solution.status is Status.OPTIMAL
    assert solution.value == solve(problem).value


def test_certificate_that_was_tampered_with_is_refused() -> None:
    problem = gram(8, 3, 30, 5)
    own = solve(problem).certificate
    assert own.split is not None
    assert own.holds(problem)
    assert not dataclasses.replace(own, bound=own.bound + abs(own.bound)).holds(problem)
    assert not dataclasses.replace(own, split=own.split[1:]).holds(problem)
    assert not dataclasses.replace(own, split=own.split * math.nan).holds(problem)
    assert not dataclasses.replace(own, split=None).holds(problem)


@given(problem=pair_problems(max_groups=4), seed=st.integers(0, 10**6))
@settings(max_examples=40)
def test_any_shares_and_any_price_bound_every_selection(problem: Problem, seed: int) -> None:
    best = best_of_all(problem)
    own = solve(problem).certificate
    if best is None:
        return
    rng = np.random.default_rng(seed)
    split = float(np.abs(problem.value).max() or 1) * rng.normal(size=(problem.n_groups, problem.n_choices))
    price = rng.random(problem.n_resources)
    for bound in (best + noise(problem), math.nextafter(math.inf, 0)):
        claim = dataclasses.replace(own, status=Status.FEASIBLE, ground="none", price=price, split=split, bound=bound)
        assert not claim.holds(problem)


@pytest.mark.parametrize("solver", OTHERS)
def test_every_other_solver_refuses_pairs_in_words(solver: str) -> None:
    problem = gram(3, 3, 10, 0)
    assert problem.pairs is not None
    words = f"{solver} takes no pairwise terms, the problem has {problem.pairs.n_pairs}: use 'pairwise'"
    with pytest.raises(InvalidProblem, match=re.escape(words)):
        solve(problem, solver)


def test_what_knows_no_pairs_refuses_them() -> None:
    problem = gram(3, 3, 10, 0)
    solution = solve(problem)
    for words, call in (
        ("a front takes no pairwise terms", lambda: front(problem)),
        ("k_best takes no pairwise terms", lambda: k_best(problem, 2)),
        ("least_cost takes no pairwise terms", lambda: least_cost(problem, 1e9)),
        ("explain takes no pairwise terms", lambda: explain(problem, solution)),
        ("pairwise is for problems with pairwise terms", lambda: solve(problem.with_pairs(None), "pairwise")),
    ):
        with pytest.raises(InvalidProblem, match=words):
            call()


def test_files_keep_pairs_to_the_last_bit(tmp_path: Path) -> None:
    problem = gram(4, 3, 10, 6)
    write_problem(problem, tmp_path / "problem.json")
    again = read_problem(tmp_path / "problem.json")
    assert problem.pairs is not None
    assert again.pairs is not None
    for name in ("first", "second", "value"):
        assert getattr(again.pairs, name).tolist() == getattr(problem.pairs, name).tolist()
    for kind in ("mps", "lp"):
        with pytest.raises(InvalidProblem, match="cannot hold pairwise terms: write the problem as"):
            write_problem(problem, tmp_path / f"problem.{kind}")


@pytest.mark.parametrize(
    ("first", "second", "value", "words"),
    [
        ([0], [1], [1.0], "pair 0 is of the choices 0 and 1, both of group 0: choices of one group exclude each other"),
        ([0], [9], [1.0], "pairs.second[0] is 9: choices go from 0 to 3"),
        ([-1], [2], [1.0], "pairs.first[0] is -1: choices go from 0 to 3"),
        ([0], [2], [math.inf], "pairs.value[0] is inf: every value must be finite"),
        ([0, 1], [2], [1.0], "pairs has 2 first and 1 second choices and values of shape (1,)"),
        ([0, 1], [2, 3], [1e308, 1e308], "pairs.value adds up beyond the range of float64"),
    ],
)
def test_pairs_that_mean_nothing_are_refused(
    first: list[int], second: list[int], value: list[float], words: str
) -> None:
    with pytest.raises(InvalidProblem, match=re.escape(words)):
        Problem.from_table([[1, 2], [3, 4]], [[1, 2], [1, 2]], 3).with_pairs(Pairs(first, second, value))  # type: ignore[arg-type]


def test_constructor_checks_pairs_too() -> None:
    plain = Problem.from_table([[1, 2], [3, 4]], [[1, 2], [1, 2]], 3)
    with pytest.raises(InvalidProblem, match="both of group 1"):
        dataclasses.replace(plain, pairs=Pairs([2], [3], [1.0]))  # type: ignore[arg-type]
    with pytest.raises(InvalidProblem, match="pairs is a list: give Pairs"):
        dataclasses.replace(plain, pairs=[1])  # type: ignore[arg-type]


def test_too_many_choices_and_rows_are_refused_in_words() -> None:
    small = gram(2, 2, 5, 0)
    rows = Rows([0, 1], [0], [1], [0], [1])  # type: ignore[arg-type]
    with pytest.raises(
        InvalidProblem, match="pairwise takes no further rows, the problem has 1: leave rows or pairs out"
    ):
        solve(dataclasses.replace(small, rows=rows))
    value = np.zeros((1001, 4))
    large = Problem.from_table(value, np.zeros((1001, 4), dtype=np.int64), 1)
    with pytest.raises(InvalidProblem, match="pairwise takes up to 4000 choices, the problem has 4004"):
        solve(large.with_pairs(Pairs([0], [4], [1.0])))  # type: ignore[arg-type]


def test_infeasible_problem_is_an_answer_and_an_error_of_require() -> None:
    problem = gram(4, 3, 10, 7).with_budget(0)
    solution = solve(problem)
    assert solution.status is Status.INFEASIBLE
    with pytest.raises(NoSolution, match="the least that works"):
        solution.require()


def test_warm_start_is_never_made_worse_and_no_time_gives_a_selection() -> None:
    problem = gram(20, 4, 60, 8)
    best = solve(problem)
    assert best.choice is not None
    again = verified(problem, solve(problem, seconds=1e-6, warm=best.choice))
    assert again.value == best.value
    assert verified(problem, solve(problem, seconds=1e-6)).choice is not None


def test_tournament_meets_every_pair_once_in_disjoint_rounds() -> None:
    for groups in range(2, 9):
        met = []
        for first, second in tournament(groups):
            assert len({*first.tolist(), *second.tolist()}) == 2 * len(first)
            met += [tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)]
        assert sorted(met) == list(itertools.combinations(range(groups), 2))


def test_exact_stays_the_default_without_pairs() -> None:
    assert solve(gram(3, 3, 10, 0).with_pairs(None)).solver == repr(Exact())


def test_exchanges_end_beside_terms_that_swallow_the_others() -> None:
    names = ("value", "cost", "budget", "start", "label")
    arrays = ([5, 5, 1, -2, 3, -5, 0, 5, 5], [[0] * 9], [0], [0, 4, 5, 9], [0, 1, 2, 3, 0, 0, 1, 2, 3])
    first = [0, 1, 5, 0, 5, 8, 6, 6, 8, 4, 4, 3, 0, 3, 2, 7, 4]
    second = [5, 8, 3, 8, 4, 4, 3, 0, 1, 6, 3, 8, 5, 5, 4, 4, 8]
    size = [-1e269, -3e232, -2e246, -1e-113, -4e161, -2e15, -1e-12, -4e84, -3e-102, 1e-95, -1e-132, -5e-58, 2e-230]
    size += [2e36, -2e124, -1e-85, -6e-85]
    problem = Problem(**dict(zip(names, arrays, strict=True)), pairs=Pairs(first, second, size))  # type: ignore[arg-type]
    began = time.perf_counter()
    solution = verified(problem, solve(problem, Pairwise(max_nodes=0), seconds=20))
    assert solution.choice is not None
    assert time.perf_counter() - began < 10
