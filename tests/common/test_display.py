"""The faces of tables, policies, fronts and measured results: short, true, and unharmed by the names in them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.evaluation import Evaluation, Validation
from mckp_quant.evaluation.validation import Row
from mckp_quant.refinement.result import Step
from mckp_quant.stability.regret import Regret
from mckp_quant.stability.result import Candidate, Stability

from ..html_faces import cells_of, check_face, text_of
from ..report.page.reports import EVIL, allocation_on, table_of


@pytest.fixture(scope="module")
def table() -> mq.SensitivityTable:
    return table_of(6, names=EVIL)


@pytest.fixture(scope="module")
def found(table: mq.SensitivityTable) -> mq.Allocation:
    return allocation_on(table)


def evaluation(kl: float) -> Evaluation:
    sums = np.ones((4, 2))
    return Evaluation(kl, 0.01, math.nan, math.nan, 0.9, 0.02, 0.95, 0.01, 2, "nats per sample", sums, sums)


def validation(policy: mq.Policy) -> Validation:
    rows = [
        Row("float", None, 400, math.nan, math.nan, evaluation(0.0), math.nan, math.nan),
        Row(EVIL[0], policy, 100, 0.25, 0.01, evaluation(0.5), math.nan, math.nan),
    ]
    return Validation(tuple(rows), f"the verdict on {EVIL[1]}", True, 0.5, "nats per sample")


def test_names_come_out_as_text(table: mq.SensitivityTable, found: mq.Allocation) -> None:
    policy = found.policy
    for shown in (table, policy, found, validation(policy), evaluation(0.5)):
        check_face(shown)
    for shown in (table, policy):
        assert EVIL[0] in text_of(shown._repr_html_()).text
        assert "&lt;script&gt;" in shown._repr_html_()


def test_a_table_shows_every_loss(table: mq.SensitivityTable) -> None:
    rows = cells_of(table._repr_html_())
    head = rows.index(["layer", "w2", "w3", "w4", "w8"])
    assert len(rows) == head + 1 + 6
    assert float(rows[head + 6][1].split()[0]) == pytest.approx(table.loss[5, 0], rel=1e-3)
    assert repr(table).startswith("SensitivityTable: 6 layers x 4 formats\n  formats  w2, w3, w4, w8\n  losses ")
    assert "gauss_newton, on 64 samples, seed 0" in repr(table)


def test_entries_that_are_not_allowed_are_counted_and_left_empty(table: mq.SensitivityTable) -> None:
    loss = table.loss.copy()
    loss[0, 0] = np.nan
    part = dataclasses.replace(table, loss=loss)
    assert "1 of 24 entries" in repr(part)
    assert "" in next(row for row in cells_of(part._repr_html_()) if len(row) == 5 and row[0].startswith("<script>"))
    check_face(dataclasses.replace(table, loss=np.full_like(loss, np.nan)))


def test_a_policy_says_what_is_predicted_and_proved(found: mq.Allocation) -> None:
    policy = found.policy
    text = repr(policy)
    assert text.startswith("Policy: 6 layers, proved optimal\n")
    assert f"{policy.costs['weight_bytes']:,} bytes" in text
    assert f"{policy.expected.loss:.4g}" in text
    rows = [row for row in cells_of(policy._repr_html_()) if len(row) == 4][1:]
    assert [row[1] for row in rows] == [each.name for each in policy.formats]
    assert repr(found).startswith(text)
    noted = dataclasses.replace(found, notes=(EVIL[2],))
    assert repr(noted).endswith(r"gnp.exe\x1b[31m")
    check_face(noted)


def test_a_policy_made_by_hand_is_short() -> None:
    policy = mq.Policy(("a",), (mq.Format.named("w8"),))
    check_face(policy)
    assert repr(policy) == "Policy: 1 layer, made by hand\n  formats  w8 in 1"


def test_a_large_policy_is_cut() -> None:
    policy = mq.Policy.uniform(table_of(300), "w4")
    assert "280 more" in check_face(policy)
    assert len(check_face(table_of(300))) < 30_000


def test_a_front_shows_the_request_and_uniform_formats(table: mq.SensitivityTable) -> None:
    found = mq.front(table, {"weight_bytes": "50%"}, max_points=8)
    html = check_face(found)
    assert html.count('class="own"') == 1
    assert html.count('class="uniform"') == len(found.uniforms)
    assert repr(found).startswith(f"Front: {len(found)} policies, proved best")
    assert found.amount(found.points[0].used) in repr(found)


def test_a_validation_shows_every_network_and_the_verdict(found: mq.Allocation) -> None:
    shown = validation(found.policy)
    text = " ".join(repr(shown).split())
    assert text.startswith("Validation: on 2 samples predicted 0.25 +- 0.01 nats per sample measured 0.5 +- 0.01")
    assert f"the verdict on {EVIL[1]}" in text
    rows = [row for row in cells_of(check_face(shown)) if len(row) == 6]
    assert [row[0] for row in rows] == ["network", "float", EVIL[0]]
    assert rows[2][1:] == ["100", "0.25 \N{PLUS-MINUS SIGN} 0.01", "0.5 \N{PLUS-MINUS SIGN} 0.01", "-", "90%"]


def test_an_evaluation_leaves_out_what_there_is_not() -> None:
    assert repr(evaluation(0.5)).split("\n") == [
        "Evaluation: 2 samples, nats per sample",
        "  kl         0.5 +- 0.01",
        "  accuracy   90% +- 2%",
        "  agreement  95% +- 1%",
    ]


def test_stability_shows_the_least_sure_layers_first(found: mq.Allocation, table: mq.SensitivityTable) -> None:
    held = Candidate(found.policy, 0.4, Regret(0.001, 0.002, 0.003))
    kept = np.array([1.0, 0.2, 1.0, 0.6, 1.0, 1.0])
    shares = np.zeros((6, len(table.format_names)))
    policies = (table.layer_names, table.format_names, held, held, "worst", 0.003)
    shown = Stability(*policies, kept, shares, 0.4, (0.25, 0.5), 100, 7, "batches", table.unit)
    rows = cells_of(check_face(shown))
    assert rows[rows.index(["layer", "format", "kept in draws"]) + 1][2] == "20%"
    assert [row[2] for row in rows[-6:]] == ["20%", "60%", "100%", "100%", "100%", "100%"]
    assert "1 of 6 layers" in repr(shown)
    assert "with a probability of 25% to 50%" in repr(shown)
    assert "the same policy" in repr(shown)


def test_refinement_shows_what_it_changed(found: mq.Allocation, table: mq.SensitivityTable) -> None:
    formats = list(found.policy.formats)
    old = formats[2]
    formats[2] = next(entry for entry in table.formats if entry != old)
    better = mq.Policy.on_table(table, formats)
    step = Step(0, 8.0, 2, -0.1, 0.01, True, True, 0.2, (f"{EVIL[2]}: changed",))
    ending = (-0.1, 0.01, (step,), 12.0, "the evaluations are used up", table, "nats per sample")
    shown = mq.Refinement(better, found.policy, 0.2, 0.3, *ending)
    assert cells_of(check_face(shown))[-1][1:] == [old.name, formats[2].name]
    assert repr(shown).startswith("Refinement: 1 change in 12 evaluations")
    same = mq.Refinement(found.policy, found.policy, 0.3, 0.3, *ending)
    assert "before" not in check_face(same)


def test_interactions_show_their_largest_terms_between_layers() -> None:
    matrix = np.diag([9.0, 9.0, 9.0, 9.0, 9.0, 9.0])
    matrix[0, 1] = matrix[1, 0] = 8.0  # two formats of one layer, which no policy has at once
    matrix[1, 4] = matrix[4, 1] = -0.5
    matrix[0, 2] = matrix[2, 0] = 0.25
    shown = mq.Interactions(EVIL[:3], ("w2", "w4"), matrix[None], np.array([4.0]), samples=4, rounder=EVIL[1])
    rows = cells_of(check_face(shown))
    at = rows.index(["layer", "format", "layer", "format", "adds, nats per sample"])
    assert [[row[1], row[3], row[4]] for row in rows[at + 1 : at + 3]] == [["w4", "w2", "-1"], ["w2", "w2", "0.5"]]
    assert repr(shown).startswith("Interactions: 3 layers, seed 0")
    assert "rounder" not in repr(dataclasses.replace(shown, rounder=""))
