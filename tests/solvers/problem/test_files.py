from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import InvalidProblem, Problem, Rows, solve
from mckp_quant.solvers.problem.files import read_problem, write_problem

if TYPE_CHECKING:
    from numpy.typing import NDArray


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Small problems with negative labels, zero costs, several budgets, and sometimes rows with an auxiliary binary."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = rng.integers(1, 4, int(rng.integers(1, 5)))
    start = np.concatenate([[0], np.cumsum(sizes)])
    n = int(start[-1])
    label = np.concatenate([rng.permutation(np.arange(-2, 3))[:size] for size in sizes])
    value = rng.integers(-20, 20, n) / 8
    cost = rng.integers(0, 9, (int(rng.integers(1, 3)), n))
    rows = None
    if rng.random() < 0.6:
        entries = rng.permutation(n + 1)[: int(rng.integers(1, n + 2))]
        coefficients = rng.integers(-3, 4, len(entries))
        low = int(rng.integers(-3, 3))
        lower = rng.choice([low, -(2**63) + 1])
        upper = rng.choice([low, low + 2, 2**63 - 1])
        rows = Rows(
            np.array([0, len(entries)]), entries, coefficients, np.array([lower]), np.array([upper]), n_auxiliary=1
        )
    budget = rng.integers(2, 9 * len(sizes), len(cost))
    return Problem(value=value, cost=cost, budget=budget, start=start, label=label, rows=rows)


def best(problem: Problem) -> float:
    """The least value of all selections and auxiliary binaries, or infinity."""
    least = np.inf
    for picked in itertools.product(*(range(*pair) for pair in itertools.pairwise(problem.start.tolist()))):
        at = np.array(picked)
        if (problem.cost[:, at].sum(axis=1) > problem.budget).any():
            continue
        if problem.rows is not None and problem.rows.allow(problem.n_choices, at) is None:
            continue
        least = min(least, float(problem.value[at].sum()))
    return least


def same(found: Problem, problem: Problem) -> None:
    for field in dataclasses.fields(Problem):
        if field.name != "rows":
            assert np.array_equal(getattr(found, field.name), getattr(problem, field.name))
    assert (found.rows is None) == (problem.rows is None)
    if found.rows is not None and problem.rows is not None:
        for field in dataclasses.fields(Rows):
            assert np.array_equal(getattr(found.rows, field.name), getattr(problem.rows, field.name))


@settings(max_examples=50)
@given(problem=problems())
def test_json_brings_the_problem_back_to_the_last_bit(problem: Problem, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("problem") / "problem.json"
    write_problem(problem, path)
    same(read_problem(path), problem)


def solved_by_ortools(path: Path) -> float:
    """What OR-Tools makes of an MPS file, with its own reader."""
    from ortools.linear_solver.python import model_builder

    model = model_builder.Model()  # type: ignore[no-untyped-call]
    assert model.import_from_mps_string(path.read_text())
    solver = model_builder.Solver("SAT")
    status = solver.solve(model)
    if status == model_builder.SolveStatus.OPTIMAL:
        return float(solver.objective_value)
    assert status in (model_builder.SolveStatus.INFEASIBLE, model_builder.SolveStatus.MODEL_INVALID)
    return np.inf


def solved_by_cbc(path: Path) -> float:
    """What the CBC program that comes with PuLP makes of a file."""
    import pulp

    answer = path.with_suffix(".answer")
    command = [pulp.PULP_CBC_CMD(msg=False).path, str(path), "-ratioGap", "0", "-solve", "-solution", str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "errors" not in done.stdout.casefold(), done.stdout
    first = answer.read_text().splitlines()[0]
    if "nfeasible" in first:
        return np.inf
    assert first.startswith("Optimal"), first
    return float(first.rpartition(" ")[2])


@settings(max_examples=30)
@given(problem=problems())
def test_another_solver_reads_mps_and_finds_the_same_optimum(problem: Problem, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("problem") / "problem.mps"
    write_problem(problem, path)
    assert solved_by_ortools(path) == pytest.approx(best(problem), abs=1e-6)


@settings(max_examples=30)
@given(problem=problems())
def test_another_solver_reads_lp_and_finds_the_same_optimum(problem: Problem, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("problem") / "problem.lp"
    write_problem(problem, path)
    assert solved_by_cbc(path) == pytest.approx(best(problem), abs=1e-6)


def read_by_pulp(path: Path) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    import pulp

    variables, model = pulp.LpProblem.fromMPS(str(path))
    order = list(variables)
    loss = np.array([model.objective.get(variables[name], 0.0) for name in order])
    rows = {
        name: np.array([*(row.get(variables[each], 0.0) for each in order), -row.constant])
        for name, row in model.constraints.items()
    }
    assert all(variable.cat == "Integer" for variable in variables.values())
    return rows, loss


@settings(max_examples=20)
@given(problem=problems())
def test_pulp_reads_the_numbers_as_they_are(problem: Problem, tmp_path_factory: Any) -> None:
    problem = dataclasses.replace(problem, rows=None)
    path = tmp_path_factory.mktemp("problem") / "problem.mps"
    write_problem(problem, path)
    rows, loss = read_by_pulp(path)
    assert (loss == problem.value).all()
    for resource, limit in enumerate(problem.budget.tolist()):
        assert rows[f"budget{resource}"].tolist() == [*problem.cost[resource].tolist(), limit]
    for group in range(problem.n_groups):
        assert rows[f"group{group}"].tolist() == [*(problem.group == group).astype(float).tolist(), 1.0]


def test_variables_say_group_and_label(tmp_path: Path) -> None:
    problem = Problem(
        value=np.array([1e-300, -2.5, 3.0]),
        cost=np.array([[2**60, 0, 1]]),
        budget=np.array([2**60]),
        start=np.array([0, 2, 3]),
        label=np.array([-4, 7, 0]),
    )
    write_problem(problem, tmp_path / "problem.lp")
    text = (tmp_path / "problem.lp").read_text()
    assert "+ 1e-300 g0_m4 - 2.5 g0_7 + 3.0 g1_0" in text
    assert f"+ {2**60} g0_m4 + 1 g1_0" in text
    assert f"<= {2**60}" in text
    assert solve(problem).value == 0.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": "mckp-quant/problem/1", ', "is not whole JSON .line 1, column"),
        ("[]", "has the schema None: expected 'mckp-quant/problem/1'"),
        ('{"schema": "mckp-quant/table/1"}', "has the schema 'mckp-quant/table/1'"),
        (
            '{"schema": "mckp-quant/problem/1", "value": [1]}',
            "lacks an array, or one of them is no array .KeyError: 'cost'.: it is damaged",
        ),
    ],
)
def test_files_that_are_no_problem_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "problem.json").write_text(text)
    with pytest.raises(InvalidProblem, match=words):
        read_problem(tmp_path / "problem.json")


def test_damaged_arrays_are_named_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    write_problem(Problem.from_table([[1.0, 2.0]], [[1, 2]], [2]), path)
    document = json.loads(path.read_text())
    for name, entry, words in (
        ("value", [1.0, "x"], r"problem.json': value\[1\] is 'x'"),
        ("cost", [[1, -2]], r"cost\[0, 1\] is -2"),
        ("rows", {"indptr": [0]}, "lacks an array"),
    ):
        path.write_text(json.dumps({**document, name: entry}))
        with pytest.raises(InvalidProblem, match=words):
            read_problem(path)
    with pytest.raises(InvalidProblem, match="cannot read the problem"):
        read_problem(tmp_path / "nothing.json")
    with pytest.raises(InvalidProblem, match=r"has the ending '.txt': known are .json, .mps, .lp"):
        write_problem(read_problem_of(document, path), tmp_path / "problem.txt")


def read_problem_of(document: dict[str, Any], path: Path) -> Problem:
    path.write_text(json.dumps(document))
    return read_problem(path)


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem.from_table([[1.0, 2.0]], [[1, 2]], [2])
    write_problem(problem, tmp_path / "problem.lp")
    before = (tmp_path / "problem.lp").read_text()

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write_problem(problem, tmp_path / "problem.lp")
    assert [entry.name for entry in tmp_path.iterdir()] == ["problem.lp"]
    assert (tmp_path / "problem.lp").read_text() == before
