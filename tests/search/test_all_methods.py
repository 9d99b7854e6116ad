from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import mckp_quant as mq
from mckp_quant.allocation.request import Request
from mckp_quant.policy.repricing import price
from mckp_quant.search import METHODS, MethodResult, run_method
from mckp_quant.search.all_methods import sized_search

from . import small

if TYPE_CHECKING:
    from pathlib import Path

BUDGET = {"weight_bytes": "45%"}


def result(name: str, **options: object) -> MethodResult:
    return run_method(name, small.network(), small.table(), BUDGET, small.data(), evaluations=12, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_chooses_within_the_budget_and_is_predicted_by_one_table(name: str) -> None:
    found = result(name)
    assert found.policy is not None
    assert found.policy.costs["weight_bytes"] <= mq.allocate(small.table(), BUDGET).solution.budget[0]
    assert found.policy.predicted == pytest.approx(price(small.table(), found.policy).predicted)
    assert found.evaluations <= (16 if name.startswith("measured") else 12)


@pytest.mark.slow
def test_only_what_runs_the_quantised_network_counts_evaluations() -> None:
    passes = {name: result(name).evaluations for name in METHODS}
    free = {name for name, count in passes.items() if not count}
    assert free == {"uniform", "exact", "greedy", "relax", "monotone", "mpqco", "mpqco_exact", "hawq"}
    assert passes["measured_kl"] == small.table().loss.size


@pytest.mark.slow
def test_exact_has_the_least_prediction_of_all() -> None:
    predicted = [found.policy.predicted for found in map(result, METHODS) if found.policy is not None]
    best = result("exact").policy
    assert best is not None
    assert best.predicted == pytest.approx(min(predicted))


def test_tables_are_measured_once() -> None:
    tables: dict[str, mq.SensitivityTable] = {}
    result("mpqco", tables=tables)
    table = tables["empirical_fisher"]
    result("mpqco_exact", tables=tables)
    assert tables == {"empirical_fisher": table}


def test_evoq_sees_fifty_samples() -> None:
    data = small.data(samples=96)
    found = run_method("evoq", small.network(), small.table(), BUDGET, data, evaluations=12)
    first = [(data[0][0][:16], None), (data[1][0], None), (data[2][0], None), (data[3][0][:2], None)]
    own = mq.search.search(
        small.network(),
        small.table(),
        BUDGET,
        [inputs for inputs, _ in first],
        method=sized_search("evoq", 12),
        evaluations=12,
    )
    assert found.policy == own.policy
    assert found.history == own.history


def test_no_uniform_policy_where_none_fits() -> None:
    request = Request(BUDGET, pinned={"0": "w8", "3": "w2"})
    found = run_method("uniform", small.network(), small.table(), request, small.data())
    assert found.policy is None
    assert found.status == "no format fits everywhere"


def test_a_search_can_be_taken_up(tmp_path: Path) -> None:
    first = result("evoq", run=mq.RunOptions(checkpoint=tmp_path / "evoq.json"))
    again = result("evoq", run=mq.RunOptions(checkpoint=tmp_path / "evoq.json"))
    assert first.policy == again.policy
    assert (tmp_path / "evoq.json").exists()


def test_unknown_methods_and_no_evaluations_are_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="unknown method 'evok': did you mean 'evoq'"):
        result("evok")
    with pytest.raises(mq.InvalidInput, match="evaluations is 0: it must be a whole number, at least 1"):
        run_method("evoq", small.network(), small.table(), BUDGET, small.data(), evaluations=0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CONTESTANTS", "mckp_quant.search.METHODS"),
        ("Calibration", "mckp_quant.tuning.Matched"),
        ("FineTuned", "mckp_quant.tuning.FineTuned"),
        ("Standing", "mckp_quant.search.MethodResult"),
        ("calibrate", "mckp_quant.tuning.match_features"),
        ("compete", "mckp_quant.search.run_method"),
        ("finetune", "mckp_quant.tuning.finetune"),
    ],
)
def test_names_that_went_away_say_the_new_one(old: str, new: str) -> None:
    with pytest.raises(AttributeError, match=rf"mckp_quant\.search\.{old} is now {new}"):
        getattr(mq.search, old)
