from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from mckp_quant.tuning.lockstep import Lockstep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Walks:
    """Passes that stop at given places, and a note of all that happens."""

    def __init__(self, routes: Sequence[str]) -> None:
        self.events: list[object] = []
        self.lock = Lockstep([self._walk(at, route) for at, route in enumerate(routes)], self._meet)

    def _walk(self, number: int, route: str) -> Callable[[], None]:
        def run() -> None:
            for place in route:
                assert self.lock.number == number
                answer = self.lock.stop(place, f"{place}{number}")
                self.events.append((number, answer))

        return run

    def _meet(self, place: str, shown: dict[int, Any]) -> dict[int, Any]:
        assert all(each == f"{place}{number}" for number, each in shown.items())
        self.events.append((place, tuple(shown)))
        return {number: f"{place}!" for number in shown}

    def meetings(self) -> list[object]:
        self.lock.run()
        return [event for event in self.events if isinstance(event, tuple) and isinstance(event[0], str)]


def test_all_passes_meet_at_every_place_and_get_their_answers_in_their_order() -> None:
    walks = Walks(["ab", "ab", "ab"])
    assert walks.meetings() == [("a", (0, 1, 2)), ("b", (0, 1, 2))]
    assert walks.events[1:4] == [(0, "a!"), (1, "a!"), (2, "a!")]


def test_passes_that_go_other_ways_meet_where_their_ways_do() -> None:
    assert Walks(["abd", "acd"]).meetings() == [("a", (0, 1)), ("b", (0,)), ("c", (1,)), ("d", (0, 1))]
    # Two stand at d and one at b: d is met by those two, since nobody can know that the third will come.
    assert Walks(["abd", "ad", "ad"]).meetings() == [("a", (0, 1, 2)), ("d", (1, 2)), ("b", (0,)), ("d", (0,))]


def test_passes_may_end_at_different_places() -> None:
    assert Walks(["", "a", "ab"]).meetings() == [("a", (1, 2)), ("b", (2,))]
    assert Walks([]).meetings() == []


@pytest.mark.parametrize("where", ["pass", "meeting"])
def test_an_error_ends_all_passes_and_is_raised_with_no_thread_left(where: str) -> None:
    ended: list[int] = []

    def one(number: int) -> Callable[[], None]:
        def run() -> None:
            try:
                lock.stop("a", None)
                if number == 1 and where == "pass":
                    raise ValueError("broken")
                lock.stop("b", None)
            finally:
                ended.append(number)

        return run

    def meet(place: str, shown: dict[int, Any]) -> None:
        if where == "meeting":
            raise ValueError("broken")

    before = threading.active_count()
    lock = Lockstep([one(number) for number in range(3)], meet)
    with pytest.raises(ValueError, match="broken"):
        lock.run()
    assert sorted(ended) == [0, 1, 2]
    assert threading.active_count() == before
