"""What is known while a solve runs: told to whoever asked, logged, and held against what would be good enough.

Solvers report selections; value and bound are computed here, as the certificate will compute them, so a solve that was
stopped at a gap never ends with a wider one.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeGuard, runtime_checkable

from .bounds.gap import dual_gap
from .certify import total_value
from .errors import InvalidProblem
from .problem.arguments import is_number

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from .answer import Answer, Solver
    from .bounds.normal_form import Normal
    from .problem.problem import Problem

LOGGER = logging.getLogger("mckp_quant.solvers")


@dataclass(frozen=True)
class SearchProgress:
    """What is known of a problem while it is being solved.

    Attributes
    ----------
    value
        Of the best selection so far, which is within every budget and row.
    bound
        No selection is better; proved by a price, see `Certificate`.
    seconds
        Wall time since the call.
    """

    value: float
    bound: float
    seconds: float

    @property
    def gap(self) -> float:
        """Value less bound."""
        return self.value - self.bound

    @property
    def relative_gap(self) -> float:
        """Gap over the larger magnitude of value and bound; 0 where the gap is 0."""
        return 0.0 if self.gap == 0 else self.gap / max(abs(self.value), abs(self.bound))


Told: TypeAlias = "Callable[[SearchProgress], object]"


@dataclass(frozen=True)
class Enough:
    """When a solve may stop without a proof of the optimum; None: never for that reason.

    Attributes
    ----------
    gap
        Value less bound is no more than this.
    relative_gap
        That over the larger magnitude of value and bound is no more than this.
    value
        The value is no more than this.

    Raises
    ------
    InvalidProblem
        When one of them makes no sense.
    """

    gap: float | None = None
    relative_gap: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no number, and gaps below 0."""
        for name, number in (("gap", self.gap), ("relative_gap", self.relative_gap)):
            if number is not None and (not is_number(number) or not number >= 0):
                raise InvalidProblem(f"{name} is {number!r}: it must be a number, at least 0, or None")
        if self.value is not None and (not is_number(self.value) or math.isnan(self.value)):
            raise InvalidProblem(f"good_enough is {self.value!r}: it must be a number, or None")

    @property
    def ever(self) -> bool:
        """Whether there is anything to stop for."""
        return (self.gap, self.relative_gap, self.value) != (None, None, None)

    def why(self, known: SearchProgress) -> str:
        """Which of them is reached, by the name of the argument of `solve`; empty where none is."""
        if self.value is not None and known.value <= self.value:
            return "good_enough"
        if self.gap is not None and known.gap <= self.gap:
            return "gap"
        if self.relative_gap is not None and known.relative_gap <= self.relative_gap:
            return "relative_gap"
        return ""


class Watch:
    """Takes the reports of one solve; it belongs to that call.

    Attributes
    ----------
    stopped
        Why the solver was told to stop; empty while it was not.
    choice, price
        ``(n_groups,)`` int64 positions of the best selection reported, and the ``(n_resources,)`` float64 price of its
        bound; None before the first report.
    error
        What the caller's own function raised, which ends the solve.
    """

    def __init__(self, problem: Problem, enough: Enough, told: Told | None, started: float) -> None:
        self._problem, self._enough, self._told, self._started = problem, enough, told, started
        self._value = math.inf
        self._closed = False
        self.stopped = ""
        self.choice: NDArray[np.int64] | None = None
        self.price: NDArray[np.float64] | None = None
        self.error: BaseException | None = None

    def found(self, choice: NDArray[np.int64], price: NDArray[np.float64]) -> bool:
        """Take a selection that a solver found; what is no better than the one before is passed over.

        Parameters
        ----------
        choice
            ``(n_groups,)`` int64 positions, within every budget; rows are checked here.
        price
            ``(n_resources,)`` float64, at least 0: any price proves a bound.

        Returns
        -------
        enough
            Whether the search may stop.
        """
        if self._closed or self.stopped or self.error is not None:
            return True
        value = total_value(self._problem, choice)
        if not value < self._value or not self._allowed(choice):
            return False
        bound = min(dual_gap(self._problem, choice, price).bound, value)
        self._value, self.choice, self.price = value, choice, price
        known = SearchProgress(value, bound, time.perf_counter() - self._started)
        self.stopped = self._enough.why(known)
        self.tell(known)
        return bool(self.stopped) or self.error is not None

    def close(self) -> None:
        """Hear no more: a compiled solver that is left behind in its thread may go on finding selections."""
        self._closed = True

    def tell(self, known: SearchProgress) -> None:
        """Log what is known, and tell it to whoever asked."""
        LOGGER.info(
            "value %.12g, bound %.12g, gap %.3g after %.2f s", known.value, known.bound, known.gap, known.seconds
        )
        if self._told is not None:
            try:
                self._told(known)
            except BaseException as error:  # noqa: BLE001 - compiled solvers lose it; `solve` raises it again
                self.error = error

    def within(self, normal: Normal) -> NormalWatch:
        """The same watch for a solver that sees the problem in its normal form."""
        return NormalWatch(self, normal)

    def _allowed(self, choice: NDArray[np.int64]) -> bool:
        problem = self._problem
        if (problem.cost[:, choice].sum(axis=1) > problem.budget).any():
            return False
        return problem.rows is None or problem.rows.allow(problem.n_choices, choice) is not None


@dataclass(frozen=True, eq=False)
class NormalWatch:
    """A watch in the terms of the normal form: what a solver that can be watched is given."""

    watch: Watch
    normal: Normal

    def found(self, choice: NDArray[np.int64], price: NDArray[np.float64]) -> bool:
        """Take a selection, as `Watch.found` does; whether the search may stop."""
        return self.watch.found(choice, self.normal.price(price))

    @property
    def over(self) -> bool:
        """Whether the search may stop, or must, since the caller's own function failed."""
        return bool(self.watch.stopped) or self.watch.error is not None


@runtime_checkable
class Watched(Protocol):
    """A solver that can be watched: besides what every `Solver` has, the same call with a watch."""

    def watched(
        self,
        problem: Problem,
        *,
        seconds: float,
        seed: int,
        warm: NDArray[np.int64] | None,
        watch: NormalWatch | None,
    ) -> Answer:
        """Search; report every better selection, and stop, with an answer that is not complete, where told to."""
        ...


def can_be_watched(solver: object) -> TypeGuard[Watched]:
    """Whether a solver reports what it finds on the way, and stops when it is told to."""
    return isinstance(solver, Watched) and getattr(solver, "reduce", True) is not False


def watch_for(
    problem: Problem,
    solver: Solver,
    progress: Told | None,
    enough: Enough,
    started: float,
) -> Watch | None:
    """The watch of a call, or None where nobody asked for one.

    Parameters
    ----------
    problem, solver
        What is solved, and by whom.
    progress
        Is told what is known, or None.
    enough
        When the solve may stop.
    started
        `time.perf_counter` reading of the call.

    Returns
    -------
    watch
        Where somebody is told, or the logger listens at level INFO, or there is something to stop for.

    Raises
    ------
    InvalidProblem
        When `progress` cannot be called, or the solver cannot be stopped although there is something to stop for.
    """
    if progress is not None and not callable(progress):
        raise InvalidProblem(f"progress is {progress!r}: give a function of a SearchProgress, or None")
    if enough.ever and not can_be_watched(solver):
        raise InvalidProblem(
            f"{solver.name} cannot be stopped at a gap or value: leave gap, relative_gap and good_enough out, or use "
            "'exact' or 'cp_sat'"
        )
    if progress is None and not enough.ever and not LOGGER.isEnabledFor(logging.INFO):
        return None
    return Watch(problem, enough, progress, started)
