from __future__ import annotations

import pytest

from benchmarks.sensitivity import large_network


@pytest.mark.slow
def test_what_was_measured_stands_beside_what_was_planned(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    sizes = ["--size", "tiny", "--batches", "2", "--windows", "1", "--tokens", "16", "--threads", "1"]
    assert large_network.main([*sizes, "--memory-limit", "2MB"]) == 0
    text = capsys.readouterr().out
    assert "rounding errors that are computed at a time" in text
    assert "measured 16 layers x 4 formats on 2 sequences of 16 tokens" in text
    assert "(planned " in text
