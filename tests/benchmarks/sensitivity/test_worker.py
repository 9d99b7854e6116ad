from __future__ import annotations

import numpy as np
import pytest

import mckp_quant as mq
from benchmarks.sensitivity import studies, worker


def test_the_order_of_tasks_does_not_change_how_often_they_run() -> None:
    calls = {"one": 0, "two": 0}

    def count(name: str) -> None:
        calls[name] += 1

    seconds = worker.timed({"one": lambda: count("one"), "two": lambda: count("two")}, 3)
    assert calls == {"one": 4, "two": 4}
    assert set(seconds) == {"one", "two"}


def test_an_estimate_that_equals_what_was_measured_ranks_perfectly() -> None:
    bench = worker.Bench("digits", None, 16, 1, 5, {})
    loss = bench.estimate("gauss_newton", bench.study.drawn(0), 0)
    measured = {f"cell {r} {c}": float(value) for (r, c), value in np.ndenumerate(loss.numpy())}
    table = mq.measure(bench.model, bench.study.drawn(0), formats=studies.FORMATS, method="weight_mse")
    for family in studies.FAMILIES:
        for number, picks in enumerate(studies.equal_size_policies(table, family, 0, 5)):
            measured[f"policy {family} 0 {number}"] = float(loss[range(len(loss)), picks].sum())
    bench.held_out = measured
    figures = worker.accuracy(bench, "gauss_newton", 0)
    assert len(figures) == 2 * 4 + len(studies.FAMILIES)
    assert all(value == pytest.approx(1) for value in figures.values())
