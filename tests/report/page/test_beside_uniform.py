"""The page of a policy beside its rival, uniform bits, made from a real run of a tiny network."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import nn

import mckp_quant as mq
from mckp_quant.report.page import report_data
from mckp_quant.report.page.html_form import as_html

from ...html_faces import cells_of
from .html_checks import Page


def test_mixed_and_uniform_stand_beside_each_other_with_what_was_measured() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
        data = [(torch.randn(32, 6), torch.randint(0, 3, (32,))) for _ in range(6)]
    table = mq.measure(model, [inputs for inputs, _ in data[:4]], formats="w2,w3,w4,w8")
    uniform = mq.Policy.uniform(table, "w4")
    budget = {"weight_bytes": uniform.costs["weight_bytes"]}
    mixed = mq.allocate(table, budget, pinned={"4": "w8"}).policy
    assert mixed != uniform
    judged, rival = (mq.validate(model, policy, data[4:]) for policy in (mixed, uniform))
    text = as_html(report_data(table, mixed, validation=judged, uniform=rival))
    assert Page(text).wrong == []
    rows = {row[0]: row for row in networks_of(text)}
    assert list(rows)[-2:] == ["uniform", "policy"]
    for name, policy, found in (("uniform", uniform, rival.policy), ("policy", mixed, judged.policy)):
        assert rows[name][1] == f"{policy.costs['weight_bytes']:,}"
        assert rows[name][3].startswith(f"{found.measured.kl:.4g}")
    # Where uniform bits were preferred, the mixed policy is the other one.
    other = replace(judged, rows=(*judged.rows[:-1], replace(judged.rows[-1], name="mixed, within the same bytes")))
    preferred = as_html(report_data(table, uniform, validation=rival, uniform=other))
    assert [row[0] for row in networks_of(preferred)][-2:] == ["mixed, within the same bytes", "policy"]


def networks_of(text: str) -> list[list[str]]:
    """The rows of the table of what was run on held-back data."""
    found = re.search(r"<table(?:(?!</table>).)*What was run on held-back data.*?</table>", text, re.DOTALL)
    assert found is not None
    return cells_of(found[0])[1:]
