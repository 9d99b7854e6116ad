"""A search is one file and one line: this one is added as CONTRIBUTING says, and does what a search must."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import mckp_quant as mq
from mckp_quant.search import SEARCHES, Method, run_method, search

from . import small
from .conformance import BUDGET, every_check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from mckp_quant.search import Task


@dataclass(frozen=True)
class Climb:
    """Raise one group after the other from a random policy, and keep what is better.

    Attributes
    ----------
    starts
        How many random policies are climbed from.
    fitness
        What the network is judged by.
    """

    starts: int = 3
    fitness: str = "kl"
    shares: tuple[float, ...] = (1.0,)
    name: ClassVar[str] = "climb"
    reference: ClassVar[str] = "hill climbing"

    def __call__(self, task: Task) -> None:
        """Search."""
        for _ in range(self.starts):
            here = task.space.random(task.rng)
            worth = task.objective(here)
            for other in task.space.neighbours(here):
                if task.objective(other) < worth:
                    here, worth = other, task.objective(other)


@every_check
def test_a_method_in_one_file_does_what_a_search_must(check: Callable[[Method, Path], None], tmp_path: Path) -> None:
    check(Climb(), tmp_path)


def test_one_line_makes_it_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEARCHES, "climb", Climb)
    arguments = small.network(), small.table(), BUDGET, small.data()
    by_name = search(*arguments, method="climb")
    assert by_name.policy == search(*arguments, method=Climb()).policy
    found = run_method("climb", *arguments, evaluations=9, run=mq.RunOptions(seed=1))
    assert found.policy is not None
    assert found.evaluations <= 9
