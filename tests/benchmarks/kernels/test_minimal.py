"""The minimal algorithm of the benchmark finds what the kernel finds, and the benchmark notices where it does not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.kernels import minimal
from benchmarks.kernels.minimal import Minimal, compare, main
from mckp_quant.solvers import instances
from mckp_quant.solvers.bounds.normal_form import normalise
from mckp_quant.solvers.kernels.dispatch import is_compiled

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(
    shutil.which("cc") is None or not is_compiled(), reason="there is no C compiler here, or no kernels"
)
def test_both_find_the_same_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm = Minimal(tmp_path)
    problems = [
        *(instances.quantisation(instances.lognormal(12, seed=seed), (2, 3, 4, 8), seed=seed) for seed in range(20)),
        *(getattr(instances, family)(8, 5, seed=1) for family in ("uncorrelated", "strongly_correlated", "zigzag")),
    ]
    for problem in problems:
        assert min(compare(algorithm, normalise(problem).problem, 1)) >= 0
    problem = normalise(problems[0]).problem
    monkeypatch.setattr(algorithm, "_solve", lambda *_: 0)
    monkeypatch.setattr(minimal, "kernel_on", lambda _: (lambda: True, problem.start[:-1]))
    with pytest.raises(AssertionError, match="the minimal algorithm"):
        compare(algorithm, problem, 1)


def test_without_a_compiler_or_kernels_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(minimal, "compiled", lambda: None)
    assert main([]) == 2
    assert "there are no compiled kernels here" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(minimal, "compiled", lambda: np)
    assert main([]) == 2
    assert "minimal.c cannot be compiled: a C compiler named cc is needed" in capsys.readouterr().err
