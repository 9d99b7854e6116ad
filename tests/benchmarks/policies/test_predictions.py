"""The benchmark of predictions, on a network that is small, and its page on rows whose figures are known."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
import torch

import mckp_quant as mq
from benchmarks.pages import append_rows, read_rows
from benchmarks.policies import predictions
from benchmarks.policies.rounding import Split
from mckp_quant.evaluation.evaluator import Evaluator

from ...search import small

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("turned", [False, True])
def test_lines_of_a_split_hold_three_tables_and_can_be_paged(tmp_path: Path, turned: bool) -> None:
    inputs = [own for own, _ in small.data()]
    held_out = [(own, torch.zeros(len(own), dtype=torch.long)) for own, _ in small.data(seed=2)]
    case = Split("small", small.network(), inputs, held_out)
    file = tmp_path / "rows.csv"
    for lines in predictions.judged(case, 0, turned, "nearest", [Fraction(4)]):
        assert [line["table"] for line in lines] == list(predictions.TABLES)
        append_rows(file, predictions.FIELDS, lines)
    rows = read_rows(file)
    own = {row["table"]: row for row in rows}
    judge = held_out if not turned else inputs
    names = own["confirmed"]["formats"].split()
    policy = mq.Policy(small.table().layer_names, tuple(mq.Format.named(name) for name in names))
    kl = Evaluator(small.network(), judge).evaluate(policy).kl
    assert float(own["confirmed"]["kl"]) == pytest.approx(kl)
    assert float(own["gauss_newton"]["over_gauss_newton"]) == 0
    difference = float(own["confirmed"]["kl"]) - float(own["gauss_newton"]["kl"])
    assert float(own["confirmed"]["over_gauss_newton"]) == pytest.approx(difference)
    text = predictions.page(rows)
    assert "| small | nearest | corrected | 1 |" in text
    assert f"Of {len(rows)} verdicts" in text


def row(**given: object) -> dict[str, str]:
    plain = {
        **{"network": "n", "rounder": "gptq", "table": "gauss_newton", "predicted": 1.0, "predicted_stderr": 0.1},
        **{"corrected": 2.0, "corrected_stderr": 0.5, "kl": 2.0, "kl_stderr": 0.1, "holds": None, "replaced": ""},
        **{"over_gauss_newton": 0.0, "over_gauss_newton_stderr": 0.0, "over_measured_kl": 0.0},
        **{"over_measured_kl_stderr": 0.0, "seconds": 1.0, "gauss_newton_seconds": 1.0},
        **{"date": "d", "commit": "c", "versions": "v"},
    }
    return {name: str(figure) for name, figure in {**plain, **given}.items()}


def test_page_counts_what_is_near_and_what_is_worse() -> None:
    text = predictions.page(
        [
            row(),
            row(table="measured_kl"),
            row(table="confirmed", over_gauss_newton=0.5, over_gauss_newton_stderr=0.2, seconds=3.0, replaced=4),
            row(table="confirmed", holds=True, kl=9.0, corrected_stderr=0.1, replaced=6, seconds=3.0),
        ]
    )
    assert "| n | gptq | by the table | 1 | 0% | +0.69 | 0.00 |" in text
    assert "| n | gptq | corrected | 1 | 100% | +0.00 | 0.00 |" in text
    assert "| n | gptq | confirmed | 2 | 50% | +0.75 | 0.75 |" in text
    assert "| n | gptq | gauss_newton | 2 | 1.048 | 1 | 0 | 5 | 3.00x |" in text
    assert "Of 4 verdicts 1 are that the prediction holds, 0 that it fails, 3 that too little is known; 1 of" in text
