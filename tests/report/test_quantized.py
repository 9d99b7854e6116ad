from __future__ import annotations

from mckp_quant.report.quantized import step_line


def test_a_step_is_a_line_with_its_cost() -> None:
    assert step_line("round", "4 layers", 1.25) == "round     4 layers [1.25 s]"
    assert step_line("validate", "good", 600.0) == "validate  good [10 min]"
    assert step_line("round", "4 layers", 1.25, skipped=True) == "round     4 layers [there already, 1.25 s then]"
    assert step_line("round", "4 layers", 1.25, again="formats was w2, and is w4").endswith(
        "[1.25 s] (made again: formats was w2, and is w4)"
    )
