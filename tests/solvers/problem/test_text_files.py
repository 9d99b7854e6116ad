"""The literature's text files: every format brings the same problem back, and what is none is refused in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant.solvers import InvalidProblem, Problem, read_problem, solve
from mckp_quant.solvers.instances import mmkp

if TYPE_CHECKING:
    from pathlib import Path

VALUE: list[list[float]] = [[7, 1.5, 9], [3, 4, 8]]
WEIGHT = [[[1, 4], [2, 0], [5, 5]], [[0, 3], [2, 2], [4, 4]]]
CAPACITY = [6, 7]


def lines(*, numbered: bool = False, counted: bool = False) -> str:
    found = ["2 2" if counted else "2 3 2", " ".join(map(str, CAPACITY))]
    for group, (values, weights) in enumerate(zip(VALUE, WEIGHT, strict=True)):
        found += [str(group + 1)] * numbered + [str(len(values))] * counted
        found += [f"{value}\t{' '.join(map(str, own))}" for value, own in zip(values, weights, strict=True)]
    return "\n".join(found) + "\n"


def same(found: Problem, wanted: Problem) -> bool:
    names = ("value", "cost", "budget", "start", "label")
    return all(np.array_equal(getattr(found, name), getattr(wanted, name)) for name in names)


@pytest.mark.parametrize(
    "text",
    [
        lines(numbered=True),
        lines(),
        lines(counted=True),
        "\n\n" + lines(numbered=True) + "----\n Solutions by  HEU\n1 2 11.5\nUpper bound\n12\n",
        lines(numbered=True).replace("\n", " \r\n"),
        lines().replace(" ", ".0 ").replace("2.0 3.0 2", "2 3 2"),
    ],
    ids=["khan", "mansi", "shojaei", "with solutions", "from another system", "with points"],
)
def test_every_format_is_the_same_problem(text: str, tmp_path: Path) -> None:
    for name in ("I01", "p.txt", "p.dat"):
        (tmp_path / name).write_text(text, newline="")
        assert same(read_problem(tmp_path / name), mmkp(VALUE, WEIGHT, CAPACITY))


def test_groups_of_different_sizes_are_read(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("2 1\n5\n1\n2 3\n3\n4 1\n5 2\n6 3\n")
    problem = read_problem(tmp_path / "p")
    assert problem.size.tolist() == [1, 3]
    assert problem.label.tolist() == [0, 0, 1, 2]
    assert solve(problem).value == -7.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 3 2 9\n1 2\n", "begins with '2 3 2 9': a text file of the literature begins with the numbers of groups"),
        ("2 3.5\n1 2\n", "begins with '2 3.5'"),
        ("2 0 1\n1 2\n", "begins with '2 0 1'"),
        (lines()[:-4], "has 16 numbers behind the capacities: 2 groups of 3 choices under 2 capacities take 18, or 20"),
        (lines(numbered=True).replace("\n2\n", "\n3\n"), "has 3 where the number of group 2 should stand"),
        ("2 1\n5\n1\n2 3\n3\n4 1\n5 2\n", "ends within group 2 of 2, or does not say there how many choices follow"),
        ("2 1\n5\n1\n2 3\n", "ends within group 2 of 2"),
        ("2 1\n5\n1\n2 3\n1.5\n4 1\n", "ends within group 2 of 2, or does not say there how many choices"),
        ("2 1\n5\nnan\n2 3\n1\n4 1\n", "ends within group 1 of 2, or does not say there how many choices"),
        ("2 1\n5\n1\n2 3\ninf\n4 1\n", "ends within group 2 of 2, or does not say there how many choices"),
        ("1 1\n5\n1\n2 3\n3\n", "has 1 more numbers behind its 1 groups"),
        (lines().replace("\t4 4", "\t4.5 4"), "p.txt': cost"),
    ],
)
def test_what_is_none_of_them_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(InvalidProblem) as error:
        read_problem(tmp_path / "p.txt")
    assert message in str(error.value)


def test_json_is_still_json_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(lines())
    with pytest.raises(InvalidProblem, match="is not whole JSON"):
        read_problem(tmp_path / "p.json")
    (tmp_path / "p.txt").write_text('{"schema": "other"}')
    with pytest.raises(InvalidProblem, match="has the schema 'other'"):
        read_problem(tmp_path / "p.txt")


def test_the_first_of_khans_files_has_its_optimum(instances: Path, tmp_path: Path) -> None:
    path = instances / "mmkp_khan.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the folder of published problems")
    record = json.loads(path.read_text())["instances"]["I01"]
    found = [f"{record['n']} {record['l']} {record['m']}", " ".join(f"{each:g}" for each in record["capacity"])]
    for group, (values, weights) in enumerate(zip(record["value"], record["weight"], strict=True), 1):
        found.append(str(group))
        found += [" ".join(f"{each:g}" for each in (v, *w)) for v, w in zip(values, weights, strict=True)]
    (tmp_path / "I01").write_text("\n".join([*found, *record["file_tail"]]) + "\n")
    assert solve(read_problem(tmp_path / "I01")).value == -173.0
