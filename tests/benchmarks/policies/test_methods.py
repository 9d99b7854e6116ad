from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from benchmarks.policies import methods
from benchmarks.policies.methods import FIELDS
from benchmarks.policies.methods_page import tables
from mckp_quant.search import METHODS

if TYPE_CHECKING:
    import pytest


def row(method: str, seed: int, kl: float, calibrated: float) -> dict[str, str]:
    made = dict.fromkeys(FIELDS, "")
    numbers = {"weight_bytes": 90, "bops": 2e9, "predicted": 0.1, "kl_stderr": 0.01, "accuracy": 0.9, "seconds": 1}
    named = {"study": "a network", "budget": "3 bits", "method": method, "seed": seed, "evaluations": 7}
    results = {"kl": kl, "calibrated_kl": calibrated, "calibrated_accuracy": 0.9}
    return made | {name: str(value) for name, value in {**numbers, **named, **results}.items()}


def test_tables_take_means_over_seeds_and_say_what_loses() -> None:
    rows = [
        row("uniform", 0, 0.5, 0.4),
        row("uniform", 1, 0.7, 0.6),
        row("evoq", 0, 0.6, 0.606),
        row("evoq", 1, 0.8, 0.1),
    ]
    text = tables(rows)
    assert "**a network, 3 bits**, 2 seeds:" in text
    assert "| uniform | 90 | 2.000 | 0.1000 | 0.6000 ± 0.0100 | 0.7000 |" in text
    assert "| evoq | 90 | 2.000 | 0.1000 | 0.7000 ± 0.0100 (not better than uniform) | 0.8000 |" in text
    assert text.endswith(
        "Calibration lowers the held-out KL of 3 of 4 policies, and raises the others by 1.0 % at most."
    )
    assert tables(rows[:2]).endswith("Calibration lowers the held-out KL of 2 of 2 policies.")


def test_what_cannot_be_done_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert methods.main(["run"]) == 2
    assert "--data is missing" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert methods.main(["page"]) == 2
    assert 'the plot needs matplotlib; install it with: pip install "mckp-quant[plot]"' in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert methods.main(["page", "--csv", "none.csv"]) == 2
    message = "--csv none.csv: there is no such file; make it with: python -m benchmarks.policies.methods run"
    assert message in capsys.readouterr().err


def test_the_plan_counts_what_the_results_do_not_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert methods.main(["plan", "--csv", "none.csv", "--study", "transformer", "--seeds", "1"]) == 0
    printed = capsys.readouterr().err
    assert printed.startswith(f"{4 * len(METHODS)} policies to choose")
