from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant import build, write_table
from mckp_quant.bench import FAMILIES, problems_of
from mckp_quant.errors import InvalidInput
from mckp_quant.solvers import InvalidProblem, Problem, instances, write_problem

from ..drawn_tables import make_table

if TYPE_CHECKING:
    from pathlib import Path


def test_families_are_the_generators_of_the_solvers() -> None:
    (zigzag,) = problems_of((), ("zigzag:7x3:4-4",))
    assert zigzag.name == "zigzag:7x3:4"
    assert np.array_equal(zigzag.make().value, instances.zigzag(7, 3, seed=4).value)
    several = problems_of((), ("several_budgets:4x3x2:2",))
    assert [each.seed for each in several] == [0, 1]
    assert several[1].make().n_resources == 2
    (network,) = problems_of((), ("llm:7x3x2:1",))
    wanted = instances.quantisation(instances.llm(7), (2, 3, 4), seed=0, n_budgets=2)
    assert np.array_equal(network.make().cost, wanted.cost)
    for name, family in FAMILIES.items():
        size = "x".join(("4", "3", "2")[: family.form.count("x") + 1])
        (problem,) = problems_of((), (f"{name}:{size}:1",))
        assert problem.make().n_groups == 4
        assert pickle.loads(pickle.dumps(problem)) == problem


def test_budgets_lie_between_the_cheapest_selection_and_the_dearest(tmp_path: Path) -> None:
    problem = Problem.from_table([[3.0, 1.0], [5.0, 2.0]], [[10, 40], [0, 71]], 50)
    write_problem(problem, tmp_path / "p.json")
    found = problems_of([tmp_path / "p.json"], shares=("0%", "25%", "100%"))
    assert [each.make().budget.tolist() for each in found] == [[10], [10 + 25], [111]]
    assert [each.name.rpartition(" at ")[2] for each in found] == ["0%", "25%", "100%"]
    (own,) = problems_of([tmp_path / "p.json"])
    assert own.make().budget.tolist() == [50]


def test_a_table_has_three_budgets_unless_others_are_named(tmp_path: Path) -> None:
    table = make_table([[9.0, 3.0, 1.0], [5.0, 2.0, 1.0]])
    write_table(table, tmp_path / "t.json")
    whole, _ = build(table, {"weight_bytes": "100%"})
    found = problems_of([tmp_path / "t.json"])
    assert [each.share for each in found] == ["20%", "50%", "80%"]
    for each, share in zip(found, (20, 50, 80), strict=True):
        made = each.make()
        assert np.array_equal(made.cost, whole.cost)
        least, most = whole.least_cost[0], int(whole.budget[0])
        assert made.budget.tolist() == [least + share * (most - least) // 100]


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("zigzig:3x2:1", "unknown family 'zigzig': did you mean 'zigzag'"),
        ("zigzag:3x2", "family 'zigzag:3x2' cannot be read: write zigzag:GROUPSxCHOICES:SEEDS, such as zigzag:20x5:3"),
        ("zigzag:3:1", "family 'zigzag:3:1' cannot be read"),
        ("zigzag:0x2:1", "family 'zigzag:0x2:1' cannot be read"),
        ("zigzag:3x2x1:1", "family 'zigzag:3x2x1:1' cannot be read"),
        ("several_budgets:3x2:1", "write several_budgets:GROUPSxCHOICESxBUDGETS:SEEDS"),
        ("zigzag:3x2:9-7", "family 'zigzag:3x2:9-7' has -1 seeds: give 1 to 1000"),
        ("zigzag:3x2:0", "family 'zigzag:3x2:0' has 0 seeds: give 1 to 1000"),
    ],
)
def test_families_that_make_no_sense_are_refused(family: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        problems_of((), (family,))


def test_shares_names_and_files_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="budgets = '90kB' has the unit"):
        problems_of((), ("zigzag:3x2:1",), ("90kB",))
    for share in ("50", "101%"):
        with pytest.raises(InvalidInput, match=f"budgets = '{share}' is no share: write a percentage from 0% to 100%"):
            problems_of((), ("zigzag:3x2:1",), (share,))
    with pytest.raises(InvalidInput, match="zigzag:3x2:0 is named twice: name it once"):
        problems_of((), ("zigzag:3x2:1", "zigzag:3x2:0-1"))
    with pytest.raises(InvalidInput, match="there is no problem to solve: name files, or families"):
        problems_of()
    with pytest.raises(InvalidProblem, match="cannot read the problem"):
        problems_of([tmp_path / "none.json"])
