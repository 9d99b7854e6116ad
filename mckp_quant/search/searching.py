"""The front door of the searches: method by name, limits, the run, and the best that it found, rechecked."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..allocation.builder import build_request
from ..allocation.request import Request
from ..errors import InvalidInput, unknown
from ..network.batches import as_batches
from .fitness import NetworkFitness
from .methods.differentiable import Differentiable
from .methods.emq import EMQ
from .methods.evoq import EvoQ
from .methods.level_switch import LevelSwitch
from .methods.progressive import Progressive
from .methods.random_policies import RandomPolicies
from .objective import Level, Objective, Spent
from .space import Space
from .task import Found, Method, Task

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import nn

    from ..common.amounts import Amount
    from ..network.batch import Batch
    from ..policy.policy import Policy
    from ..tables.table import SensitivityTable

METHODS: dict[str, Callable[[], Method]] = {
    "evoq": EvoQ,
    "emq": EMQ,
    "level_switch": LevelSwitch,
    "differentiable": Differentiable,
    "progressive": Progressive,
    "random": RandomPolicies,
}


def search(
    model: nn.Module,
    table: SensitivityTable,
    request: Request | Mapping[str, Amount],
    batches: Iterable[object],
    *,
    method: Method | str = "evoq",
    fitness: str | Callable[[Policy], float] | None = None,
    evaluations: float | None = None,
    seconds: float | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    output: Callable[..., object] | None = None,
    likelihood: str = "categorical",
) -> Found:
    """Search for a policy by running the network itself, within exact budgets.

    The same arguments give the same policy. Ctrl-C and a limit give the best policy so far.

    Parameters
    ----------
    model
        The float network; it is left as it was.
    table
        Layers, formats, and sensitivities that guide some methods.
    request
        Budgets, as for `allocate`, or a `Request` with all that narrows the choice.
    batches
        The calibration data; judge the answer on other data.
    method
        A name in `METHODS`, or a method with its options.
    fitness
        A name in `fitness.FITNESS`, or any callable from a policy to a number, lower is better; by default the
        method's own. A callable sees all data at every level of a method that has several.
    evaluations
        How many passes of a quantised network over the data may be made.
    seconds
        Wall time.
    seed
        The seed of all that is drawn.
    checkpoint
        A file that keeps what was measured. A search that is started again with the same arguments goes on from there;
        the file stays.
    progress
        Called with the evaluations made and their limit.
    output, likelihood
        As for `evaluate`.

    Returns
    -------
    found
        The best policy, its fitness, and what it took.

    Raises
    ------
    InvalidInput
        When an argument cannot be used, or the search ended before it had judged a policy.
    NoSolution
        When no policy is within the budgets.
    """
    began = time.monotonic()
    chosen = _named(method)
    if isinstance(seed, bool) or seed < 0:
        raise InvalidInput(f"seed = {seed}: it must be at least 0")
    asked = request if isinstance(request, Request) else Request(request)
    problem, index = build_request(table, asked, tight=False)
    space = Space(table, problem, index)
    data = list(as_batches(batches, model))
    levels = _levels(model, data, chosen, fitness, output, likelihood)
    named = fitness if isinstance(fitness, str) else "the caller's" if fitness else chosen.fitness
    objective = Objective(
        space,
        levels,
        evaluations=math.inf if evaluations is None else evaluations,
        seconds=math.inf if seconds is None else seconds,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        settings=repr((chosen, seed, named, table.digest, space.budget, index.groups, problem.label.tolist())),
        progress=progress,
    )
    task = Task(model, data, table, space, objective, np.random.default_rng(seed), output, likelihood)
    stopped = _run(chosen, task)
    objective.save()
    genome, worth = objective.best
    policy = dataclasses.replace(
        space.policy(genome),
        status="found by a search, not proved optimal",
        solver=repr(chosen),
        seed=seed,
        budgets=index.budgets,
    )
    return Found(
        policy=policy,
        fitness=worth,
        evaluations=objective.spent,
        seconds=time.monotonic() - began,
        stopped=stopped,
        history=tuple(objective.history),
        method=repr(chosen),
    )


def _named(method: Method | str) -> Method:
    if isinstance(method, str):
        if method not in METHODS:
            raise unknown("search method", method, METHODS)
        return METHODS[method]()
    if isinstance(method, type) or not isinstance(method, Method):
        raise InvalidInput(f"method is {method!r}: give a name ({', '.join(METHODS)}) or a method such as EvoQ()")
    return method


def _levels(
    model: nn.Module,
    data: list[Batch],
    method: Method,
    fitness: str | Callable[[Policy], float] | None,
    output: Callable[..., object] | None,
    likelihood: str,
) -> list[Level]:
    if callable(fitness):
        return [Level(fitness)]
    kind = method.fitness if fitness is None else fitness
    samples = sum(batch.size for batch in data)
    levels = []
    for share in method.shares:
        some = first_samples(data, max(1, math.ceil(share * samples)))
        judge = NetworkFitness(model, some, kind, output=output, likelihood=likelihood)
        levels.append(Level(judge, sum(batch.size for batch in some) / samples))
    return levels


def first_samples(data: Sequence[Batch], count: int) -> list[Batch]:
    """The first samples of some batches.

    Parameters
    ----------
    data
        The batches.
    count
        How many samples.

    Returns
    -------
    batches
        Holding `count` samples together, or all there are.
    """
    kept = []
    for batch in data:
        if count <= 0:
            break
        kept.append(batch.head(count))
        count -= batch.size
    return kept


def _run(method: Method, task: Task) -> str:
    try:
        method(task)
    except Spent as limit:
        return str(limit)
    except KeyboardInterrupt:
        task.objective.save()
        task.objective.best  # noqa: B018  (says what is wrong where there is none)
        return "interrupted"
    return "finished"
