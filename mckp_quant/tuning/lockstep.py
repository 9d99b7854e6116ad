"""Runs several forward passes side by side, one at a time, each up to the place at which all of them are to meet."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class _Abandoned(BaseException):
    """The other passes have failed: this one need not go on."""


class Lockstep:
    """Passes that wait for each other at named places.

    One pass runs at a time, in their order, so what happens is the same every time. Where passes stand at different
    places, which takes a network that chooses its way by its input, they meet at the place where one has waited longest
    (of several: where most stand, then where the first pass stands).

    What a pass holds while it waits stays in memory: the activations that its forward pass still needs.

    Parameters
    ----------
    passes
        What to run. Each may call `stop`.
    meet
        Called with a place, and from the numbers of the passes that stand there to what they showed; gives what `stop`
        returns to each, or None.
    """

    def __init__(
        self,
        passes: Sequence[Callable[[], object]],
        meet: Callable[[str, dict[int, Any]], Mapping[int, Any] | None],
    ) -> None:
        self._passes = [_Pass(each) for each in passes]
        self._meet = meet
        self._running = 0

    @property
    def number(self) -> int:
        """The number of the pass that is running."""
        return self._running

    def stop(self, place: str, shown: object) -> Any:
        """Wait, inside a pass, for the others; gives what `meet` has for this pass."""
        return self._passes[self._running].stop(place, shown)

    def run(self) -> None:
        """Run all passes to their ends; an error of one of them, or of `meet`, ends all and is raised."""
        turn = 0
        try:
            for number in range(len(self._passes)):
                self._resume(number, None, turn)
            while waiting := {at: each for at, each in enumerate(self._passes) if not each.ended}:
                turn += 1
                place = _next_place(waiting)
                here = {at: each.shown for at, each in waiting.items() if each.place == place}
                answers = self._meet(place, here) or {}
                for number in here:
                    self._resume(number, answers.get(number), turn)
        finally:
            for each in self._passes:
                each.abandon()

    def _resume(self, number: int, answer: object, turn: int) -> None:
        self._running = number
        self._passes[number].resume(answer, turn)


def _next_place(waiting: Mapping[int, _Pass]) -> str:
    oldest = min(each.since for each in waiting.values())
    places = [each.place for each in waiting.values()]
    candidates = [each.place for each in waiting.values() if each.since == oldest]
    return max(candidates, key=places.count)  # max keeps the first of equals


class _Pass:
    """One computation on a thread of its own, which runs only while `resume` waits for it."""

    def __init__(self, computation: Callable[[], object]) -> None:
        self.place, self.shown, self.since, self.ended = "", None, 0, False
        self._computation = computation
        self._answer: object = None
        self._error: BaseException | None = None
        self._abandoned = False
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._computation()
        except _Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001 (it is raised again where the pass is resumed)
            self._error = error
        finally:
            self.ended = True
            self._back.release()

    def stop(self, place: str, shown: Any) -> object:
        """Hand over to `resume`, until it is called again."""
        self.place, self.shown = place, shown
        self._back.release()
        self._go.acquire()
        if self._abandoned:
            raise _Abandoned
        answer, self._answer, self.shown = self._answer, None, None
        return answer

    def resume(self, answer: object, turn: int) -> None:
        """Run to the next stop, or to the end."""
        self._answer, self.since = answer, turn
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._go.release()
        self._back.acquire()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """End the thread, wherever it stands."""
        if self._thread.ident is not None and not self.ended:
            self._abandoned = True
            self._go.release()
        if self._thread.ident is not None:
            self._thread.join()
