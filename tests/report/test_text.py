from __future__ import annotations

import dataclasses
import math

from mckp_quant import Format, Policy, Request, allocate
from mckp_quant.allocation.constraints.peak_memory import chain
from mckp_quant.common.display import number, percent, with_error
from mckp_quant.report.measured import sensitivity_report
from mckp_quant.report.text import as_text, policy_report, table_of

from ..drawn_tables import make_table


def test_numbers_are_rounded_and_missing_ones_are_dashes() -> None:
    assert [number(each) for each in (1234.5678, 1e-9 / 3, 0.0, math.nan, None)] == [
        "1234.6",
        "3.3333e-10",
        "0",
        "-",
        "-",
    ]
    assert [percent(each) for each in (0.5, 0.12345, math.nan, None)] == ["50%", "12.3%", "-", "-"]
    assert with_error(1.23456, 0.0456) == "1.235 +- 0.046"
    assert with_error(1.23456, math.nan) == "1.235"


def test_names_are_shown_escaped_and_in_line() -> None:
    rows = [("a\x1b[31m\u202egnp\n", "1"), ("b\u2028", "2")]
    text = as_text(table_of(("layer\r", "bytes"), rows), "x\x1b[0m\u2066y")
    assert [line.split() for line in text.splitlines() if "--" not in line] == [
        [r"layer\r", "bytes"],
        [r"a\x1b[31m\u202egnp\n", "1"],
        [r"b\u2028", "2"],
        [r"x\x1b[0m\u2066y"],
    ]


def test_tables_are_plain_ascii_and_cut_nothing() -> None:
    rows = [(f"layer{'.block' * 20}", "1"), ("b", "22,222")]
    lines = as_text(table_of(("layer", "bytes"), rows)).splitlines()
    assert lines[0].split() == ["layer", "bytes"]
    assert set(lines[1]) == {"-"}
    assert [line.split() for line in lines[2:]] == [list(row) for row in rows]
    assert len({len(line) for line in lines}) == 1
    assert all(line.isascii() for line in lines)


def test_markup_in_names_is_text() -> None:
    assert "[red]x[/red]" in as_text(table_of(("layer",), [("[red]x[/red]",)]))


def test_policy_report_says_what_is_known_and_where_it_is_from() -> None:
    table = make_table([[3.0, 2.0, 1.0]] * 3)
    policy = allocate(table, Request({"weight_bytes": "70%"}, pinned={"a": "w4"}, tied=[["b", "c"]])).policy
    text = as_text(policy_report(policy))
    assert "proved optimal (ground: " in text
    assert f"weights                  {policy.costs['weight_bytes']:,} bytes" in text
    assert f"bit operations           {policy.costs['bops']:,} per sample" in text
    assert "budget                   weight_bytes = 70% (" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["a", "w4", "pinned", "58"] in rows
    for layer, bits in zip("bc", policy.layer_bits[1:], strict=True):
        assert [layer, policy[layer].name, "tied", "set", "1", f"{-(-bits // 8)}"] in rows


def test_policy_made_by_hand_claims_nothing() -> None:
    text = as_text(policy_report(Policy(("a",), (Format.named("w2"),))))
    assert text.splitlines()[0] == "made by hand"
    assert "predicted" not in text
    assert "no policy is below" not in text
    assert text.splitlines()[-1].split() == ["a", "w2", "-"]


def test_policy_report_lists_every_other_cost_the_target_and_how_exact_the_proof_is() -> None:
    table = make_table([[3.0, 2.0, 1.0]] * 3)
    tensors = chain(table, [8, 8, 8, 2])
    found = allocate(
        table, Request({"weight_bytes": "100%", "total_bytes": "100%"}, activations=tensors, target="torchao")
    ).policy
    shown = as_text(policy_report(dataclasses.replace(found, tolerance=1.5e-9)))
    assert "to within 1.5e-09 nats per sample" in shown.splitlines()[0]
    assert f"total_bytes              {found.costs['total_bytes']:,} bytes" in shown
    assert "stored as by             torchao" in shown
    assert "to within" not in as_text(policy_report(dataclasses.replace(found, tolerance=0.0)))


def test_reports_name_what_rounded_the_weights() -> None:
    table = make_table([[3.0, 2.0, 1.0]])
    for rounder, line in (("nearest", "to nearest"), ("gptq(damping=0.01)", "by gptq(damping=0.01)")):
        known = dataclasses.replace(table, rounder=rounder)
        assert f"weights rounded {line}" in as_text(sensitivity_report(known)).splitlines()
        policy = Policy.on_table(known, known.formats[:1])
        assert f"rounded                  {line}" in as_text(policy_report(policy)).splitlines()
    assert "rounded" not in as_text(sensitivity_report(table), policy_report(Policy.on_table(table, table.formats[:1])))
