"""The study of rounders: what its lines hold, and how its pages sum them up."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from benchmarks.policies import rounding, rounding_page

if TYPE_CHECKING:
    from pathlib import Path


def row(**changes: object) -> dict[str, str]:
    made: dict[str, object] = {
        **{"network": "demo", "seed": 0, "average": "3", "menu": "channel", "rounder": "gptq", "policy": "exact"},
        **{"finished": 1, "kl": 0.1, "over_uniform": -0.1, "over_uniform_stderr": 0.01, "predicted": 0.1},
        **{"bank_seconds": 2.0, "table_seconds": 1.0, "finish_seconds": ""},
        **{"date": "2026-11-30", "commit": "abc", "versions": "none"},
    }
    return {name: str(value) for name, value in {**made, **changes}.items()}


def test_comparisons_count_what_is_worse_and_take_medians() -> None:
    rows = [
        row(),
        row(seed=1, kl=0.25, over_uniform=0.05, over_uniform_stderr=0.02),
        row(seed=2, kl=0.3, over_uniform=0.1, over_uniform_stderr=0.02),
        row(average="4", kl=0.02, over_uniform=-0.02),
        row(finished=0, kl=9.0, over_uniform=8.0),
        row(policy="uniform", over_uniform=0.0),
    ]
    text = rounding_page.comparisons(rows)
    assert text.startswith("Of 4 comparisons")
    assert "two paired standard errors in 2, beyond three in 1" in text
    assert "1.25 at 3 bits, 0.50 at 4 bits" in text
    assert "No policy was compared" in rounding_page.comparisons([row(finished=0)])


def test_pages_show_the_rival_in_the_column_of_its_rounder(tmp_path: Path) -> None:
    parts = {"rounding.md": "rounding", "results.md": "rivals"}
    for name, part in parts.items():
        (tmp_path / name).write_text(f"before\n<!-- {part}: begin -->\n<!-- {part}: end -->\nafter\n")
    rows = [row(policy="uniform", kl=0.2, over_uniform=0.0), row(), row(seed=1, kl=0.3, over_uniform=0.1)]
    rows[0]["finish_seconds"] = "7"
    rounding_page.write_pages(rows, tmp_path / "rounding.md")
    shown = (tmp_path / "results.md").read_text()
    assert "| demo | 3 | 2 |  | 0.2 |  | 0.2 |  |  |" in shown
    assert shown.endswith("after\n")
    own = (tmp_path / "rounding.md").read_text()
    assert "| demo | 3 | channel | gptq | exact | yes | 2 | 0.2 | 1.00 | 0.1 |" in own
    assert "| demo | channel | gptq | 2.0 | 1.0 | 7.0 |" in own


@pytest.mark.slow
def test_every_policy_is_judged_and_compared_with_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
        data = [(torch.randn(32, 6), torch.randint(0, 3, (32,))) for _ in range(6)]
    monkeypatch.setattr(rounding, "MENUS", {"channel": "w2,w3,w4", "inputs": "w2a8,w3a8,w4a8"})
    case = rounding.Split("tiny", model, [inputs for inputs, _ in data[:4]], data[4:])
    rows: list[dict[str, Any]] = list(rounding.judged(case, [Fraction(3)], 0, ["channel", "inputs"], 8, set()))
    assert {(each["menu"], each["rounder"], each["policy"], each["finished"]) for each in rows} == {
        *((menu, "nearest", policy, 0) for menu in ("channel", "inputs") for policy in ("uniform", "exact")),
        *(("channel", rounder, "weight error, greedy", 0) for rounder in ("nearest", "gptq")),
        *(
            (menu, "gptq", policy, finished)
            for menu in ("channel", "inputs")
            for policy in ("uniform", "exact", "refined")
            for finished in (0, 1)
        ),
    }
    uniform = {(each["menu"], each["rounder"], each["finished"]): each for each in rows if each["policy"] == "uniform"}
    for each in rows:
        rival = uniform[each["menu"], each["rounder"], each["finished"]]
        assert each["over_uniform"] == pytest.approx(each["kl"] - rival["kl"])
        if each["menu"] == "channel":
            assert each["weight_bytes"] <= rival["weight_bytes"]
    known: set[tuple[str, ...]] = {
        (*("tiny", "0", "3", "channel"), rounder, policy)
        for rounder in ("nearest", "gptq")
        for policy in ("uniform", "weight error, greedy", "exact")
    }
    assert not list(rounding.judged(case, [Fraction(3)], 0, ["channel"], 0, known))
    refined = list(rounding.judged(case, [Fraction(3)], 0, ["channel"], 8, known))
    assert {(each["rounder"], each["policy"], each["finished"]) for each in refined} == {
        ("gptq", "refined", finished) for finished in (0, 1)
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--network", "nothing"], "--network nothing is unknown"),
        (["run", "--menus", "nothing"], "--menus nothing is unknown"),
        (["run", "--network", "resnet20"], "--data is missing"),
    ],
)
def test_what_is_unknown_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rounding.main(arguments) == 2
    assert message in capsys.readouterr().err
