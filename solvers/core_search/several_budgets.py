"""The search of a core with several budgets: lists, halves and CP-SAT in turns, with limits that grow."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..answer import Answer
from ..backends.cp_sat import CpSat
from ..core.reduction import Core, reduce
from ..errors import missing
from .dynamic import CoreResult
from .halves import search_halves
from .lists import search_lists
from .one_budget import hearing, search_one_budget

if TYPE_CHECKING:
    from ..core.reduction import Reduction
    from ..problem.problem import Problem
    from ..watching import NormalWatch

_MANY = 4  # with so many budgets that have a price, bounds prune lists badly and pairs of halves are few
_FIRST_STATES = {False: 25_000, True: 6_000}  # of lists in the first turn, with few budgets and with many
_FIRST_SECONDS = 0.6  # of CP-SAT in the first turn
_MORE = 4  # states and seconds of every next turn
_SHARE_OF_HALVES = {False: 1, True: 4}  # seconds of halves for each second of CP-SAT


def search_several_budgets(
    problem: Problem,
    reduction: Reduction,
    max_states: int,
    deadline: float,
    *,
    watch: NormalWatch | None = None,
) -> Answer:
    """Lists, halves and CP-SAT (where it is installed) in turns: any of them may be the one that gets stuck.

    Parameters
    ----------
    problem
        A problem with several budgets.
    reduction
        What reduction leaves of it.
    max_states
        How many states a search may keep.
    deadline
        `time.perf_counter` reading at which to stop.
    watch
        Is told of better selections, or None.

    Returns
    -------
    answer
        Complete where one of them exhausted the core. On Ctrl-C the best selection so far.
    """
    search = _Turns(problem, reduction, max_states, deadline, watch)
    try:
        search.try_one_budget()
        search.run()
    except KeyboardInterrupt:
        search.stats["interrupted"] = True
    return dataclasses.replace(search.answer, stats=search.stats)


class _Turns:
    """The turns on one problem; `answer` is sound whenever they stop."""

    def __init__(
        self,
        problem: Problem,
        reduction: Reduction,
        max_states: int,
        deadline: float,
        watch: NormalWatch | None,
    ) -> None:
        self.answer = answer_of(reduction, CoreResult(None, reduction.gap, reduction.closed, 0))
        self.stats: dict[str, Any] = {**self.answer.stats}
        self._problem, self._reduction = problem, reduction
        self._max_states, self._deadline, self._watch = max_states, deadline, watch
        self._many = int((reduction.price > 0).sum()) >= _MANY

    def try_one_budget(self) -> None:
        """Where one budget alone has a price, search under that one: what is best there and fits is best."""
        one, binding = self._reduction, np.flatnonzero(self._reduction.price > 0)
        if self._done() or len(binding) != 1 or not math.isfinite(one.gap):
            return
        core = one.core
        is_reference = np.zeros(len(core.position), dtype=bool)
        is_reference[core.start[:-1]] = True
        # What costs more of this budget than the reference, or as much, and is no better is of no use under it alone.
        keep = is_reference | (core.cost[binding[0]] < 0) | ((core.cost[binding[0]] > 0) & (core.value < 0))
        size = np.add.reduceat(keep, core.start[:-1])
        left = size > 1  # a group with nothing but its reference is none of a core
        keep &= left.repeat(np.diff(core.start))
        alone = Core(
            group=core.group[left],
            start=np.append(0, np.cumsum(size[left])),
            position=core.position[keep],
            value=core.value[keep],
            cost=core.cost[binding][:, keep],
            reduced=core.reduced[keep],
            slack=(core.slack[binding[0]],),
        )
        limit = min(self._max_states, _FIRST_STATES[False])
        result = search_one_budget(
            dataclasses.replace(one, price=one.price[binding], core=alone), limit, self._deadline
        )
        self.stats["states"] += result.states
        if result.interrupted:
            self.stats["interrupted"] = True
        if result.position is not None:
            position = core.position[is_reference]
            position[left] = result.position
            result, found = dataclasses.replace(result, position=position), one.expand(position)
            if (self._problem.cost[:, found].sum(axis=1) > self._problem.budget).any():
                return
        if result.complete:
            self._take(dataclasses.replace(result, states=0))

    def run(self) -> None:
        """Turn after turn until the core is exhausted, or time is up, or all that is left is to wait for CP-SAT."""
        many, states, patience, deal = self._many, _FIRST_STATES[self._many], _FIRST_SECONDS, 0
        while not self._done():
            last = states >= self._max_states
            self._lists(min(states, self._max_states))
            if many or patience > _MORE * _FIRST_SECONDS:
                self._halves(self._left() if last and many else _SHARE_OF_HALVES[many] * patience, deal)
            self._general(self._left() if last else patience)
            if last:
                break
            states, patience, deal = _MORE * states, _MORE * patience, deal + 100

    def _left(self) -> float:
        return self._deadline - time.perf_counter()

    def _done(self) -> bool:
        over = self._watch is not None and self._watch.over
        return self.answer.complete or over or "interrupted" in self.stats or self._left() <= 0

    def _lists(self, states: int) -> None:
        core, price, gap, least_gain = self._core()
        heard = hearing(self._reduction, self._watch)
        self._take(search_lists(core, price, gap, least_gain, states, self._deadline, heard=heard))

    def _halves(self, seconds: float, deal: int) -> None:
        if self._done():
            return
        until = min(time.perf_counter() + seconds, self._deadline)
        core, price, gap, least_gain = self._core()
        heard = hearing(self._reduction, self._watch)
        self._take(search_halves(core, price, gap, least_gain, self._max_states, until, deal=deal, heard=heard))

    def _general(self, seconds: float) -> None:
        if not self._done() and self._general_can():
            limit = min(seconds, self._left())
            answer = CpSat().watched(self._problem, seconds=limit, seed=0, warm=self.answer.choice, watch=self._watch)
            self._note(dataclasses.replace(answer, exhausted_by=answer.exhausted_by or CpSat.name))

    def _general_can(self) -> bool:
        """Whether CP-SAT is there for what lists do not solve: small problems never ask, as looking takes long."""
        enough = self._max_states > _FIRST_STATES[self._many]
        return enough and missing("ortools") is None and CpSat().supports(self._problem) is None

    def _core(self) -> tuple[Any, ...]:
        one = self._reduction
        return one.core, one.price, one.gap, one.least_gain

    def _take(self, result: CoreResult) -> None:
        self.stats["states"] += result.states
        self._note(answer_of(self._reduction, result))

    def _note(self, answer: Answer) -> None:
        """Keep an answer, which is no worse than the one before; where it is better, reduce the problem again."""
        better = answer.choice is not None and answer.choice is not self.answer.choice
        if better and self._watch is not None and answer.choice is not None:
            self._watch.found(answer.choice, self._reduction.price)
        self.answer = answer
        self.stats |= {**answer.stats, "states": self.stats["states"]}
        if better and not answer.complete:
            self._reduction = reduction = reduce(self._problem, answer.choice, self._deadline)
            self.answer = dataclasses.replace(answer, choice=reduction.incumbent, complete=reduction.closed)


def answer_of(reduction: Reduction, result: CoreResult) -> Answer:
    """The better of what the reduction and the search of its core found, as an answer."""
    choice = reduction.incumbent if result.position is None else reduction.expand(result.position)
    stats = {
        "core_groups": len(reduction.core.group),
        "core_choices": len(reduction.core.position),
        "states": result.states,
    }
    if result.interrupted:
        stats["interrupted"] = True
    return Answer(choice, result.complete, reduction.price, reduction.noise, stats)
