"""Runs networks in turns, and says how long each took in every round."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..common.checks import check_count
from ..errors import InvalidInput, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
_MOST = 10_000  # calls in a turn
_TO_SIGMA = 1.4826  # from the median distance to the standard deviation, of normal numbers


@dataclass(frozen=True)
class Clocking:
    """How often networks run, on how many threads, and by which clock.

    Attributes
    ----------
    rounds
        All networks take turns in every round, in an order that is drawn anew; a network's time is the median over the
        rounds.
    turn
        About how many seconds of a turn are timed; a call that takes longer is timed once. A call that is not timed
        goes before.
    threads
        Threads of the runtime.
    clock
        ``"wall"``, or ``"cpu"``: processor time, which other work on the machine disturbs less, on one thread.

    Raises
    ------
    InvalidInput
        When a value cannot be used.
    """

    rounds: int = 15
    turn: float = 0.005
    threads: int = 1
    clock: str = "wall"

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        check_count("rounds", self.rounds, 3)
        check_count("threads", self.threads, 1)
        if not 0 < self.turn < float("inf"):
            raise InvalidInput(f"turn is {self.turn!r}: give the seconds that are timed at a time, such as 0.005")
        if self.clock not in CLOCKS:
            raise unknown("clock", self.clock, CLOCKS)
        if self.clock == "cpu" and self.threads > 1:
            raise InvalidInput(
                f"clock 'cpu' adds up the time of threads={self.threads}, which is no latency: take 'wall', or 1 thread"
            )


def in_turns(
    calls: Sequence[Callable[[], object]],
    clocking: Clocking,
    now: Callable[[], float],
    after_round: Callable[[], object] = lambda: None,
) -> NDArray[np.float64]:
    """Time calls round after round.

    Parameters
    ----------
    calls
        What is timed; the first one says how many calls fill a turn.
    clocking
        How often.
    now
        The clock, in seconds.
    after_round
        Called when a round is over.

    Returns
    -------
    seconds
        ``(n_calls, rounds)`` float64: the mean of a call, in every round.
    """
    for call in calls:  # the first one of each prepares things
        call()
    begun = now()
    calls[0]()
    single = max(now() - begun, clocking.turn / _MOST)
    many = max(1, round(clocking.turn / single))
    rng = np.random.default_rng(0)
    found = np.empty((len(calls), clocking.rounds))
    for at in range(clocking.rounds):
        for which in rng.permutation(len(calls)):
            call = calls[which]
            call()
            begun = now()
            for _ in range(many):
                call()
            found[which, at] = (now() - begun) / many
        after_round()
    return found


def spread(seconds: NDArray[np.float64]) -> float:
    """From run to run: the standard deviation of a network's rounds as a share of its median, of the middle network."""
    middle = np.median(seconds, axis=1, keepdims=True)
    deviation = _TO_SIGMA * np.median(np.abs(seconds - middle), axis=1)
    return float(np.median(deviation / middle[:, 0]))
