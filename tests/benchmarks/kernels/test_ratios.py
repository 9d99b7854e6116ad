"""The benchmark of the kernels: what it counts, and that it refuses selections that differ."""

from __future__ import annotations

from typing import cast

import pytest

from benchmarks.kernels import ratios
from benchmarks.kernels.ratios import AT_ONCE, FAMILIES, SHARES, Worker, compare, main, make, work_of
from mckp_quant.solvers import instances


class Fake:
    """Stands for a process whose solves take these seconds, one after another."""

    def __init__(self, seconds: list[float], digest: int = 7) -> None:
        self.seconds, self.digest = seconds, digest

    def ask(self, family: str, seed: int, share: float) -> tuple[float, int]:
        return self.seconds.pop(0), self.digest


def pair(*workers: Fake) -> tuple[Worker, Worker]:
    return cast("tuple[Worker, Worker]", workers)


def test_the_fastest_round_of_each_problem_counts() -> None:
    fast = [0.002, 0.001, 0.002, 0.003, 0.004, 0.009]
    slow = [0.009, 0.005, 0.020, 0.008, 0.008, 0.100]
    row = compare(pair(Fake(fast), Fake(slow)), "ResNet-50 54x4", range(1), 2)
    assert row == ("ResNet-50 54x4 (3)", "2.00", "8.00", "4.0x", "3.0x")
    assert len(SHARES) == 3


def test_selections_that_differ_are_no_ratio() -> None:
    with pytest.raises(AssertionError, match=r"ResNet-50 54x4, seed 0, share 0\.2: the selections differ"):
        compare(pair(Fake([0.1]), Fake([0.2], digest=8)), "ResNet-50 54x4", range(1), 1)


def test_without_kernels_there_is_nothing_to_compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Pure:
        compiled = False

        def __init__(self, pure: bool) -> None:
            self.closed = False

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr("benchmarks.kernels.ratios.Worker", Pure)
    assert main([]) == 2
    assert "there are no compiled kernels here: install the package with a C compiler" in capsys.readouterr().err


@pytest.mark.parametrize("family", FAMILIES)
def test_problems_have_the_shape_of_their_family(family: str) -> None:
    problem = make(family, 0, 0.5)
    assert (problem.n_groups, problem.n_choices, problem.n_resources) == (
        FAMILIES[family][1],
        FAMILIES[family][1] * FAMILIES[family][2],
        FAMILIES[family][3],
    )


def test_work_done_at_once_gives_a_front_and_a_selection_for_each_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratios, "DRAWS", 3)
    whole, draws, million = AT_ONCE
    llm = instances.llm
    monkeypatch.setattr(instances, "llm", lambda n_groups: llm(n_groups // 10_000))
    assert (work_of(whole, 0, 0.5)()[1:] > work_of(whole, 0, 0.5)()[:-1]).all()
    assert len(work_of(draws, 0, 0.5)()) == 3 * 54
    assert len(work_of(million, 0, 0.5)()) == 100
    row = compare(pair(Fake([0.001]), Fake([0.004])), whole, range(1), 1)
    assert row == (f"{whole} (1)", "1.00", "4.00", "4.0x", "4.0x")
