from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant import InvalidInput
from mckp_quant.timing import Clocking
from mckp_quant.timing.running import in_turns, spread

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeClock:
    """A clock that calls push forward."""

    def __init__(self) -> None:
        self.now = 0.0
        self.called: list[int] = []

    def call(self, which: int, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.called.append(which)
            self.now += seconds

        return run


def test_a_turn_is_filled_and_its_first_call_is_not_timed() -> None:
    clock = FakeClock()
    calls = [clock.call(0, 0.5), clock.call(1, 2.0)]
    rounds: list[int] = []
    found = in_turns(calls, Clocking(rounds=4, turn=1.5), lambda: clock.now, lambda: rounds.append(len(clock.called)))
    np.testing.assert_allclose(found, [[0.5] * 4, [2.0] * 4])
    # Once each to prepare, once to see how long it takes; then a call that is not timed and three that are.
    assert rounds == [3 + 8 * each for each in (1, 2, 3, 4)]


def test_the_first_calls_do_not_count() -> None:
    clock, waits = FakeClock(), iter([100.0, 1.0])

    def call() -> None:
        clock.now += next(waits, 1.0)

    np.testing.assert_allclose(in_turns([call], Clocking(rounds=3, turn=1), lambda: clock.now), 1.0)


def test_the_order_differs_from_round_to_round() -> None:
    clock = FakeClock()
    in_turns([clock.call(which, 1.0) for which in range(6)], Clocking(rounds=3, turn=1), lambda: clock.now)
    turns = [tuple(clock.called[7 + 12 * at : 7 + 12 * (at + 1) : 2]) for at in range(3)]
    assert all(sorted(each) == list(range(6)) for each in turns)
    assert len(set(turns)) == 3


def test_the_spread_is_the_deviation_of_rounds() -> None:
    rng = np.random.default_rng(0)
    times = np.array([[1.0], [5.0], [20.0]]) * (1 + 0.1 * rng.standard_normal((3, 4000)))
    assert spread(times) == pytest.approx(0.1, rel=0.1)
    times[:, :100] *= 50  # what interrupts a few rounds does not count
    assert spread(times) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rounds": 2}, "rounds is 2: it must be a whole number, at least 3"),
        ({"threads": 0}, "threads is 0"),
        ({"turn": 0}, "turn is 0: give the seconds that are timed at a time, such as 0.005"),
        ({"turn": math.inf}, "turn is inf"),
        ({"clock": "cpus"}, "clock 'cpus'.*'cpu'"),
        ({"clock": "cpu", "threads": 2}, "clock 'cpu' adds up the time of threads=2, which is no latency"),
    ],
)
def test_what_cannot_be_used_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Clocking(**options)  # type: ignore[arg-type]
