from __future__ import annotations

import dataclasses
import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Policy, Request, SensitivityTable, allocate, build, compare_solvers
from mckp_quant.allocation.allocating import as_policy
from mckp_quant.allocation.explanation import why_none
from mckp_quant.costs.costs import RESOURCES, as_budget
from mckp_quant.solvers import Enumerate, Greedy, InvalidProblem, Monotone, NoSolution, Status, solve
from mckp_quant.solvers.solution import LeastBudgets

from ..drawn_tables import make_table, tables


def best_by_brute_force(table: SensitivityTable, budgets: dict[str, Any]) -> float:
    """The least predicted loss within the budgets, straight from the table; inf where there is none."""
    limits = {RESOURCES[name].counts: as_budget(name, asked, table).limit for name, asked in budgets.items()}
    best = math.inf
    for formats in itertools.product(table.formats, repeat=len(table.layers)):
        losses = [table.loss[row, table.formats.index(entry)] for row, entry in enumerate(formats)]
        if np.isnan(losses).any():
            continue
        policy = Policy.on_table(table, formats)
        if all(policy.costs[name] <= limit for name, limit in limits.items()):
            best = min(best, policy.predicted)
    return best


@settings(max_examples=60)
@given(tables(most_layers=4), st.integers(20, 100), st.integers(20, 100))
def test_policy_is_the_best_within_the_budgets(table: SensitivityTable, first: int, second: int) -> None:
    for budgets in ({"weight_bytes": f"{first}%"}, {"bits_per_weight": f"{first}%", "bops": f"{second}%"}):
        best = best_by_brute_force(table, budgets)
        if best == math.inf:
            with pytest.raises(NoSolution, match=r"cannot be met|no policy is within all the budgets"):
                allocate(table, budgets)
            continue
        found = allocate(table, budgets)
        scale = math.fsum(abs(loss) for loss in table.loss.ravel() if not math.isnan(loss))
        assert abs(found.policy.predicted - best) <= 1e-12 * scale
        for budget in found.policy.budgets:
            assert found.policy.costs[RESOURCES[budget.name].counts] <= budget.limit


def test_policy_says_how_it_was_found() -> None:
    table = make_table([[3.0, 2, 1], [3, 2, 1], [9, 2, 1]])
    found = allocate(
        table, Request({"bits_per_weight": 4.5}, pinned={"a": "w4"}, tied=[["b", "c"]]), solver=Enumerate(), seed=5
    )
    policy = found.policy
    assert policy.status == Status.OPTIMAL.value
    assert policy.ground == found.solution.certificate.ground != "none"
    assert policy.solver == repr(Enumerate())
    assert policy.seed == 5
    assert policy.table == table.digest
    assert policy.ties == (("b", "c"),)
    assert policy.pinned == (("a", "w4"),)
    assert [(each.name, each.asked) for each in policy.budgets] == [("bits_per_weight", "4.5")]
    assert policy.made_by.startswith("mckp-quant ")
    assert policy.bound <= policy.predicted == found.solution.value
    assert found.solution.choice is not None
    assert policy.formats == found.index.policy_formats(found.solution.choice)
    assert found.solution.certificate.holds(found.problem)


def test_same_call_gives_the_same_policy() -> None:
    rng = np.random.default_rng(3)
    table = make_table(rng.random((9, 3)).tolist())
    policies = [allocate(table, {"bops": "40%"}, solver=Greedy(), seed=1).policy for _ in range(2)]
    assert policies[0] == policies[1]
    assert policies[0].document() == policies[1].document()


@settings(max_examples=60)
@given(tables(most_layers=4), st.sampled_from(sorted(RESOURCES)))
def test_least_budget_in_the_message_works_and_less_does_not(table: SensitivityTable, name: str) -> None:
    assume(name != "bops" or any(layer.macs for layer in table.layers))
    with pytest.raises(NoSolution, match=f"budget {name} = 0 cannot be met: even the cheapest formats take") as caught:
        allocate(table, {name: 0})
    shown = re.search(r"take ([\d,.]+) ", str(caught.value))
    assert shown is not None
    least = shown.group(1).replace(",", "")
    limit = allocate(table, {name: least}).policy.budgets[0].limit
    less = limit - 1 if name != "bits_per_weight" else float(least) - 2e-4
    with pytest.raises(NoSolution, match="the least that works"):
        allocate(table, {name: less})


CODEBOOK = Format("codebook", weight_bits=16, stored_bits=lambda layer: 2 * layer.elements)


def table_of_opposites() -> SensitivityTable:
    """One format is small and slow, the other large and fast: no choice is both small and fast."""
    plain = make_table([[1.0, 2.0, 3.0]])
    return SensitivityTable(plain.layers, (CODEBOOK, Format.named("w4")), np.ones((1, 2)), np.ones((1, 2)))


def test_budgets_that_clash_only_together_are_explained_with_what_would_work() -> None:
    table = table_of_opposites()
    small = Policy.uniform(table, "codebook").costs["weight_bytes"]
    fast = Policy.uniform(table, "w4").costs["bops"]
    for budgets in ({"weight_bytes": small}, {"bops": fast}):
        allocate(table, budgets)
    words = (
        f"no policy is within all the budgets together; weight_bytes = {small}: the least that works while the others "
        f"stay is 58 bytes; bops = {fast}: the least that works while the others stay is 512,000 bit operations"
    )
    with pytest.raises(NoSolution, match=re.escape(words)):
        allocate(table, {"weight_bytes": small, "bops": fast})
    allocate(table, {"weight_bytes": 58, "bops": fast})
    allocate(table, {"weight_bytes": small, "bops": 512_000})


def test_reasons_for_no_selection_name_every_case() -> None:
    problem, index = build(table_of_opposites(), {"weight_bytes": 25, "bops": 1})
    solution = solve(problem)
    assert solution.status is Status.INFEASIBLE
    stuck = dataclasses.replace(solution, least=lambda: LeastBudgets((None, 512_000)))
    assert "weight_bytes = 25: no amount works while the others stay as they are" in why_none(stuck, index)
    unknown = dataclasses.replace(solution, status=Status.UNKNOWN, solver="Slow()", seconds=1.25)
    words = "Slow() stopped before any feasible selection was found after 1.2 seconds: give it more seconds, or use"
    assert words in why_none(unknown, index)
    with pytest.raises(NoSolution, match="give it more seconds"):
        as_policy(table_of_opposites(), unknown, index)


def test_unknown_solver_suggests_the_nearest() -> None:
    with pytest.raises(InvalidProblem, match="unknown solver 'exakt': did you mean 'exact'"):
        allocate(make_table([[1.0, 2.0, 3.0]]), {"bops": "50%"}, solver="exakt")


@pytest.mark.parametrize("name", ["budgets", "at_least", "pinned", "choices"])
def test_what_should_be_a_mapping_and_is_none_is_named(name: str) -> None:
    given: dict[str, Any] = {"budgets": {"bops": 1}, name: ["weight_bytes"]}
    with pytest.raises(InvalidInput, match=rf"^{name} = \['weight_bytes'\]: give a mapping, such as \{{"):
        allocate(make_table([[1.0, 2.0, 3.0]]), Request(**given))


def test_bits_that_only_fall_need_formats_that_rise_in_bits() -> None:
    table = make_table([[3.0, 2.0, 1.0]] * 3)
    falling = dataclasses.replace(table, formats=table.formats[::-1], loss=table.loss[:, ::-1])
    bits = [entry.weight_bits for entry in allocate(table, {"bops": "60%"}, solver="monotone").policy.formats]
    assert bits == sorted(bits, reverse=True)
    assert len(set(bits)) > 1
    for solver in ("monotone", Monotone(direction="rise")):
        with pytest.raises(
            InvalidInput, match=r"'monotone' needs formats in the order of rising bits, but 'w8' stands before"
        ):
            allocate(falling, {"bops": "60%"}, solver=solver)
    rows = {row.solver: row for row in compare_solvers(falling, {"bops": "60%"}, solvers=["exact", "monotone"]).rows}
    assert "measure with the formats from fewest bits to most" in rows["monotone"].reason
    assert not rows["exact"].reason


def test_wrong_input_is_named_before_anything_is_solved() -> None:
    with pytest.raises(InvalidInput, match="unknown budget 'weigth_bytes': did you mean 'weight_bytes'"):
        allocate(make_table([[1.0, 2.0, 3.0]]), {"weigth_bytes": 1})
