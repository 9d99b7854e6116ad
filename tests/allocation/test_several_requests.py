from __future__ import annotations

import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings

from mckp_quant import (
    Constraints,
    Conversion,
    InvalidInput,
    Request,
    SensitivityTable,
    allocate,
    allocate_each,
    compare_solvers,
)
from mckp_quant.allocation.constraints.peak_memory import chain
from mckp_quant.costs.costs import cost_matrix
from mckp_quant.costs.experts import active_costs
from mckp_quant.solvers import NoSolution

from ..drawn_tables import make_table, tables

if TYPE_CHECKING:
    from mckp_quant.common.amounts import Amount


@settings(max_examples=25)
@given(tables(own=False))
def test_each_request_gets_what_it_would_get_alone(table: SensitivityTable) -> None:
    targets: list[dict[str, int | str]] = [
        {"weight_bytes": "100%"},
        {"weight_bytes": "95%", "bops": "98%"},
        {"bops": "100%"},
    ]
    try:
        alone = [allocate(table, budgets) for budgets in targets]
    except NoSolution:
        with pytest.raises(NoSolution, match="request 1: "):
            allocate_each(table, targets)
        return
    together = allocate_each(table, targets)
    for one, each, budgets in zip(alone, together, targets, strict=True):
        assert each.policy.predicted == pytest.approx(one.policy.predicted, rel=1e-12, abs=1e-12)
        assert [budget.name for budget in each.policy.budgets] == list(budgets)
        assert each.solution.certificate.holds(each.problem)


def test_requests_are_checked_before_any_is_solved() -> None:
    table = make_table([[3.0, 2.0, 1.0]] * 3)

    class Never:
        name, requires, reference = "never", None, ""

        def supports(self, problem: Any) -> None:
            raise AssertionError("solved")

    with pytest.raises(NoSolution, match=r"request 1: budget weight_bytes = 7 cannot be met.*the least that works"):
        allocate_each(table, [{"weight_bytes": "90%"}, {"weight_bytes": 7}], solver=Never())  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="no requests given: give at least one set of budgets"):
        allocate_each(table, [])
    with pytest.raises(InvalidInput, match="no budget given"):
        allocate_each(table, [{}])
    with pytest.raises(InvalidInput, match=r"requests is a single one: give a list of them, or use allocate\(\)"):
        allocate_each(table, {"weight_bytes": "90%"})  # type: ignore[arg-type]


def test_what_cannot_be_met_is_told_in_the_percentage_that_was_asked_for() -> None:
    table = make_table([[3.0, 2.0, 1.0]] * 3, elements=[100, 200, 300])
    with pytest.raises(NoSolution) as caught:
        allocate(table, {"weight_bytes": "25%"})
    found = re.search(
        r"25% \((\d+) bytes\) cannot be met.*take (\d+) bytes \(([\d.]+)%\), the least", str(caught.value)
    )
    assert found is not None
    assert allocate(table, {"weight_bytes": f"{found[3]}%"}).policy.costs["weight_bytes"] == int(found[2])
    with pytest.raises(NoSolution):
        allocate(table, {"weight_bytes": f"{float(found[3]) - 0.01}%"})
    with pytest.raises(NoSolution, match=r"at_?least|>= 120%.*the most that works"):
        allocate(table, Request({}, at_least={"weight_bytes": "120%"}))


def test_clashing_peaks_are_explained_by_the_least_peak_that_works() -> None:
    table = make_table([[3.0, 2.0], [3.0, 2.0]], "w4a4,w4a8")
    tensors = chain(table, [40, 40, 4])

    def policy(peak: int | str) -> int:
        found = allocate(table, Request({"activation_bytes": peak}, at_least={"bops": "75%"}, activations=tensors))
        return found.policy.costs["activation_bytes"]

    words = (
        "no policy is within all the budgets together; activation_bytes = 50: the least that works while the others "
        "stay is 60 bytes; bops >= 75% (72,000 bit operations per sample): the most that works while the others stay "
        "is 48,000 bit operations per sample (50%)"
    )
    with pytest.raises(NoSolution, match=re.escape(words)):
        policy(50)
    assert policy(60) == 60
    with pytest.raises(
        NoSolution, match=r"activation_bytes = 62.5% \(50 bytes\): the least that .* is 60 bytes \(75%\)"
    ):
        policy("62.5%")
    with pytest.raises(NoSolution, match="activation_bytes = 60: no amount works while the others stay as they are"):
        allocate(table, Request({"activation_bytes": 60, "bops": "60%"}, at_least={"bops": "75%"}, activations=tensors))


def test_experts_count_with_the_share_of_tokens_that_they_see() -> None:
    table = make_table([[3.0, 2.0, 1.0]] * 3)
    whole = cost_matrix("weight_bytes", table)
    costs = active_costs(table, {"b": Fraction(1, 8), "c": Fraction(1, 4)})
    assert (costs.name, costs.unit) == ("active_weight_bytes", "weight_bytes")
    assert costs.cost[0].tolist() == whole[0].tolist()
    assert costs.cost[1].tolist() == [-(-int(entry) // 8) for entry in whole[1]]
    assert costs.cost[2].tolist() == [-(-int(entry) // 4) for entry in whole[2]]
    policy = allocate(table, Request({"active_weight_bytes": "60%"}, costs=[costs])).policy
    chosen = [table.column(entry.name) for entry in policy.formats]
    assert policy.costs["active_weight_bytes"] == int(costs.cost[np.arange(3), chosen].sum())
    for share in (0, 2, 0.5):
        with pytest.raises(InvalidInput, match=r"the share of 'a' is .*: give a fraction above 0 and at most 1"):
            active_costs(table, {"a": share})  # type: ignore[dict-item]
    with pytest.raises(InvalidInput, match="unknown layer or pattern"):
        active_costs(table, {"*.experts.*": Fraction(1, 2)})


def test_everything_that_goes_in_or_comes_out_survives_pickling_and_threads() -> None:
    rng = np.random.default_rng(1)
    table = make_table((rng.random((8, 1)) * [[1.0, 0.1, 0.01]]).tolist())
    constraints = Constraints(max_formats=2, conversions=[Conversion("bops", [("a", "b")], 5)])
    budgets: list[dict[str, Amount]] = [
        {"weight_bytes": "50%", "bops": "60%"},
        {"weight_bytes": "70%", "bops": "60%"},
    ]
    requests = [Request(each, constraints=constraints) for each in budgets]

    def solved(_: int) -> list[str]:
        return [entry.name for each in allocate_each(table, requests) for entry in each.policy.formats]

    with ThreadPoolExecutor(3) as pool:
        assert len({tuple(found) for found in pool.map(solved, range(6))}) == 1
    for entry in (
        table,
        constraints,
        *requests,
        *allocate_each(table, requests),
        compare_solvers(table, budgets[0]),
    ):
        again = pickle.loads(pickle.dumps(entry))
        assert type(again) is type(entry)
        assert pickle.dumps(again) == pickle.dumps(pickle.loads(pickle.dumps(again)))
