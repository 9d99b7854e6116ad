from __future__ import annotations

import dataclasses

import numpy as np

import mckp_quant as mq
from mckp_quant import Request
from mckp_quant.report.text import as_text
from mckp_quant.report.trade_offs import (
    explanation_report,
    front_report,
    k_best_report,
    selection_report,
    smallest_report,
)
from mckp_quant.trade_off import explain, k_best

from ..drawn_tables import make_table
from ..trade_off import sharp

TABLE = make_table((np.random.default_rng(3).random((5, 1)) * [[1.0, 0.1, 0.01]]).tolist())


def test_a_short_front_is_listed_whole_in_order_of_size() -> None:
    found = mq.front(TABLE, {"weight_bytes": "60%"}, max_points=10)
    text = as_text(front_report(found))
    assert "10 points; each proved the best of its size" in text
    rows = [line for line in text.splitlines() if line.startswith(("front ", "uniform ", "chosen "))]
    assert len(rows) == 10 + 3 + 1
    sizes = [int(row.split(" bytes")[0].split()[-1].replace(",", "")) for row in rows]
    assert sizes == sorted(sizes)
    assert found.chosen is not None
    assert any(row.startswith("chosen ") and f" {found.chosen.used:,} bytes " in row for row in rows)
    assert "expect more" in text


def test_of_a_long_front_some_points_are_listed_with_both_ends() -> None:
    table = make_table((np.random.default_rng(0).random((12, 1)) * [[1.0, 0.1, 0.01]]).tolist())
    found = mq.front(table, max_points=50)
    text = as_text(front_report(found))
    rows = [line for line in text.splitlines() if line.startswith("front ")]
    assert len(rows) == 20
    assert f"{found.points[0].used:,} bytes" in rows[0]
    assert f"{found.points[-1].used:,} bytes" in rows[-1]
    assert "20 of them are listed, evenly spaced" in text


def test_what_is_not_proved_is_said() -> None:
    found = dataclasses.replace(mq.front(TABLE, max_points=5), error=0.0005)
    assert "each within 0.05% of the best" in as_text(front_report(found))
    whole = mq.front(TABLE)
    assert f"{len(whole)} points, every policy that no other is better than" in as_text(front_report(whole))


def test_an_explanation_says_what_a_byte_is_worth_and_what_would_help() -> None:
    found = explain(TABLE, {"weight_bytes": 700, "bops": "100%"})
    text = as_text(explanation_report(found))
    bought = found.bought[0]
    assert bought.next is not None
    assert f"weight_bytes = 700: the policy takes {bought.used:,} bytes, {700 - bought.used:,} bytes left" in text
    assert "- it binds: one more byte is worth about" in text
    layer, now, then = bought.next.formats[0]
    assert (
        f"- the next amount that helps is {bought.next.amount:,} bytes, {bought.next.amount - 700:,} bytes more" in text
    )
    assert f"{layer} {now} -> {then}" in text
    assert "- it does not bind at the margin" in text
    assert "changes nothing: every choice of formats is within it" in text


def test_an_explanation_of_nothing_says_why() -> None:
    text = as_text(explanation_report(explain(TABLE, {"weight_bytes": 100})))
    assert text.startswith("no policy is within the budgets\n- budget weight_bytes = 100 cannot be met")
    assert "- all budgets together would have to be" in text
    late = dataclasses.replace(explain(TABLE, {"weight_bytes": 100}), complete=False)
    assert "the time was up before everything was known" in as_text(explanation_report(late))


def test_a_minimum_has_something_above_it_and_less_would_help() -> None:
    table = dataclasses.replace(TABLE, loss=TABLE.loss[:, ::-1].copy())
    request = Request({"weight_bytes": "100%"}, at_least={"bits_per_weight": 4})
    text = as_text(explanation_report(explain(table, request)))
    assert "bits_per_weight >= 4: the policy takes" in text
    assert "above it" in text
    assert "stored bits less: it saves" in text


def test_ranks_say_what_each_policy_changes() -> None:
    found = k_best(TABLE, {"weight_bytes": 700}, 4)
    rows = as_text(k_best_report(found)).splitlines()[2:]
    assert rows[0].split()[:3] == ["-", "1", f"{found[0].predicted:.4g}"]
    for row, policy in zip(rows[1:], found[1:], strict=True):
        changed = [layer for layer in policy.layer_names if policy[layer] != found[0][layer]]
        assert all(f"{layer} {found[0][layer].name} -> {policy[layer].name}" in row for layer in changed[:4])
        assert row.endswith(f"{policy.costs['weight_bytes']:,}")


def test_what_was_measured_stands_beside_what_was_predicted() -> None:
    found = mq.smallest(sharp.network(), sharp.front(), sharp.held_back(), kl_at_most=0.02, evaluations=12)
    text = as_text(smallest_report(found))
    assert text.rstrip().endswith(found.verdict)
    row = next(line for line in text.splitlines() if line.startswith("smallest "))
    assert f"{found.point.used:,} bytes" in row
    assert f"{found.best.figure:.4g} +- {found.best.stderr:.2g}" in row
    assert any(line.startswith("possible ") for line in text.splitlines()) == (found.possible is not found.best)
    selected = mq.select(sharp.front(), sharp.network(), sharp.held_back(), k=3)
    text = as_text(selection_report(selected))
    assert selected.verdict in text
    assert sum(" bytes " in line and " +- " in line for line in text.splitlines()) >= 3
