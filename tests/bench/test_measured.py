from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from mckp_quant.bench.environment import environment
from mckp_quant.bench.figures import performance_ratios, share_within
from mckp_quant.bench.measured import read_results
from mckp_quant.bench.running import FIELDS
from mckp_quant.bench.tabular import append_rows

if TYPE_CHECKING:
    from pathlib import Path

    from mckp_quant.bench import Results


def results(tmp_path: Path, *answers: dict[str, object]) -> Results:
    rows = [
        {
            **{"problem": "p", "family": "f", "groups": 3, "round": 0, "limit": 1, "claim": "optimal", "holds": 1},
            **{"ground": f"search exhausted ({each['solver']})", "cpu": 1.0, "tolerance": 1e-9, "excess": 0},
            **environment(),
            **each,
        }
        for each in answers
    ]
    append_rows(tmp_path / "results.csv", (*FIELDS, *environment()), rows)
    return read_results(tmp_path / "results.csv")


def test_truth_is_a_rechecked_certificate_or_the_agreement_of_two_searches(tmp_path: Path) -> None:
    found = results(tmp_path / "1", {"solver": "exact", "value": -3.0})
    assert found.truth("p").proof == ""
    found = results(tmp_path / "2", {"solver": "exact", "value": -3.0}, {"solver": "cp_sat", "value": -3.0})
    assert found.truth("p").proof == "agreement of cp_sat and exact"
    found = results(
        tmp_path / "3",
        {"solver": "exact", "value": -3.0},
        {"solver": "highs", "ground": "search exhausted (exact)", "value": -3.0},
    )
    assert found.truth("p").proof == ""
    closed = {"solver": "exact", "ground": "dual gap closed", "value": -3.0}
    assert results(tmp_path / "4", closed).truth("p").proof == "certificate"
    assert results(tmp_path / "5", {**closed, "holds": 0}).truth("p").proof == ""


def test_every_kind_of_wrong_answer_is_named(tmp_path: Path) -> None:
    found = results(
        tmp_path,
        {"solver": "exact", "value": -3.0, "bound": -3.0},
        {"solver": "missed", "value": -2.5},
        {"solver": "nearly", "value": -3.0 + 1e-10},
        {"solver": "over", "value": -4.0, "excess": 2},
        {"solver": "none", "claim": "infeasible"},
        {"solver": "bound", "claim": "feasible", "value": -2.0, "bound": -2.9},
        {"solver": "forged", "claim": "feasible", "value": -2.0, "holds": 0},
        {"solver": "refused", "claim": "refused", "note": "says too much"},
        {"solver": "coarse", "value": -2.0, "tolerance": 5.0},
        {"solver": "honest", "claim": "feasible", "value": -2.0, "bound": -3.5},
        {"solver": "idle", "claim": "not taken"},
    )
    wrong = {solver: found.wrong(each) for (_, solver), each in found.measured.items()}
    assert wrong == {
        "exact": "",
        "missed": "called -2.5 optimal; exact found -3.0",
        "nearly": "",
        "over": "returned a selection that is 2 over the budgets",
        "none": "called the problem infeasible; exact found a selection worth -3.0",
        "bound": "claimed that nothing is below -2.9; exact found -3.0",
        "forged": "called its answer feasible with a certificate that does not hold",
        "refused": "was refused: says too much",
        "coarse": "",
        "honest": "",
        "idle": "",
    }
    proved = {solver for (_, solver), each in found.measured.items() if found.proved(each)}
    assert proved == {"exact", "nearly"}
    assert not found.is_best(found.measured["p", "coarse"])


def test_the_weakest_claim_and_the_median_time_of_the_rounds_count(tmp_path: Path) -> None:
    rounds = [{"solver": "exact", "round": at, "value": -3.0, "cpu": cpu} for at, cpu in enumerate((1.0, 9.0, 2.0))]
    rounds[1] |= {"claim": "feasible", "value": -2.0}
    found = results(tmp_path, *rounds).measured["p", "exact"]
    assert (found.cpu, found.claim, found.value) == (2.0, "feasible", -2.0)


def test_an_infeasible_problem_is_known_by_its_certificate(tmp_path: Path) -> None:
    found = results(tmp_path, {"solver": "exact", "claim": "infeasible", "ground": "dual gap closed"})
    truth = found.truth("p")
    assert math.isnan(truth.best)
    assert truth.proof == "certificate"
    assert found.proved(found.measured["p", "exact"])


def test_performance_profiles_are_those_of_dolan_and_more() -> None:
    seconds = {"a": {"1": 1.0, "2": 4.0, "3": 9.0}, "b": {"1": 2.0, "2": 1.0}, "c": {}}
    ratios = performance_ratios(seconds)
    assert ratios == {"a": [1.0, 1.0, 4.0], "b": [1.0, 2.0, math.inf], "c": [math.inf] * 3}
    assert share_within(ratios["a"], 1.0) == pytest.approx(2 / 3)
    assert share_within(ratios["b"], 2.0) == pytest.approx(2 / 3)
    assert share_within(ratios["b"], math.inf) == pytest.approx(2 / 3)
    assert share_within(ratios["c"], math.inf) == 0.0
    assert share_within(ratios["a"], math.inf) == share_within(ratios["a"], 4.0) == 1.0
    scaled = {solver: {name: 7 * cpu for name, cpu in own.items()} for solver, own in seconds.items()}
    assert performance_ratios(scaled) == ratios
    assert performance_ratios({"a": {"1": math.inf}}) == {"a": []}
