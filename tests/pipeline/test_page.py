"""The examples of the page, on a network that takes less time than the demo's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import mckp_quant
from mckp_quant import demo

from ..search import small

PAGE = Path(mckp_quant.__file__).parents[1] / "docs" / "running.md"


@pytest.mark.slow
def test_the_examples_run_in_their_order(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "model", small.network)
    monkeypatch.setattr(demo, "calibration", lambda: small.data(samples=160))
    monkeypatch.setattr(demo, "held_out", lambda: small.data(seed=9))
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    said = capsys.readouterr().out
    assert said.startswith("round: 4 layers by gptq(")
    assert said.rstrip().endswith("the mean of photos x 3, scans x 1")
    assert names["policy"] is names["found"].policy
