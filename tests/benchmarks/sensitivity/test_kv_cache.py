from __future__ import annotations

import pytest

from benchmarks.sensitivity import kv_cache


@pytest.mark.slow
def test_a_tiny_llama_is_predicted_in_order_and_its_joint_budgets_are_proved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("transformers")
    assert kv_cache.main(["--samples", "16"]) == 0
    said = capsys.readouterr().out
    assert "tiny Llama: 8 rows x 5 formats" in said
    assert float(said.partition("rank correlation ")[2].partition(" ")[0]) >= 0.8
    assert said.count("proved optimal") == 2
