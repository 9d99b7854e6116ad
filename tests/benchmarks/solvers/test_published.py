from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.solvers.library import library

if TYPE_CHECKING:
    from pathlib import Path


def test_published_problems_are_read_from_their_files(tmp_path: Path) -> None:
    khan = {"value": [[1, 2.5], [3, 4]], "weight": [[[1.0], [2.0]], [[1.0], [3.0]]], "capacity": [4.0]}
    (tmp_path / "mmkp_khan.json").write_text(json.dumps({"instances": {"I01": khan}}), encoding="utf-8")
    raw = {"Hutchinson_trace": [2.0, 0.5], "delta_weights_4bit_square": [0.3, 0.2], "parameters": [16, 32]}
    raw |= {"delta_weights_8bit_square": [0.1, 0.1], "bops": [64, 128], "latency_int4": [1e-5, 0.5]}
    hawq = {"layers": ["a", "b"], "tie_indices": [], "raw": raw | {"latency_int8": [2e-5, 1.0]}}
    (tmp_path / "hawqv3_resnet18.json").write_text(json.dumps(hawq), encoding="utf-8")
    every = library(tmp_path)
    knapsack = every["Khan I01"].make()
    assert knapsack.value.tolist() == [-1, -2.5, -3, -4]
    assert knapsack.cost.tolist() == [[1, 2, 1, 3]]
    sizes = every["HAWQ-V3 modelsize 0.5"].make()
    assert sizes.value.tolist() == [0.6, 0.2, 0.1, 0.05]
    assert sizes.cost.tolist() == [[8, 16, 16, 32]]
    assert sizes.budget.tolist() == [36]
    assert every["HAWQ-V3 latency 0.25"].make().cost.tolist() == [[1000, 2000, 50_000_000, 100_000_000]]
