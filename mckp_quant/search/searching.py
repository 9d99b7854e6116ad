"""Runs a search within its limits, the method given by name or as an object, and gives back the best policy."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from ..allocation.builder import build_request
from ..allocation.request import as_request
from ..common.renamed import OUTPUTS, renamed_keywords, run_keywords
from ..common.run_options import RunOptions
from ..errors import InvalidInput, unknown
from ..network.outputs import Outputs
from ..rounding.chosen_weights import as_weights
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
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import nn

    from ..allocation.request import Request
    from ..common.amounts import Amount
    from ..network.batch import Batch
    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from ..rounding.chosen_weights import Weights
    from ..tables.table import SensitivityTable

# The published searches: a name and a class for each.
SEARCHES: dict[str, Callable[[], Method]] = {
    "evoq": EvoQ,
    "emq": EMQ,
    "level_switch": LevelSwitch,
    "differentiable": Differentiable,
    "progressive": Progressive,
    "random": RandomPolicies,
}


@renamed_keywords(**OUTPUTS, **run_keywords("seed", "checkpoint", "progress", "seconds"))
def search(
    model: nn.Module,
    table: SensitivityTable,
    request: Request | Mapping[str, Amount],
    batches: Iterable[object],
    *,
    method: Method | str = "evoq",
    fitness: str | Callable[[Policy], float] | None = None,
    evaluations: float | None = None,
    bank: WeightBank | Weights | None = None,
    outputs: Outputs = Outputs(),
    run: RunOptions = RunOptions(),
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
        A `Request`, or a mapping of budgets, as for `allocate`.
    batches
        The calibration data; judge the answer on other data.
    method
        A name in `SEARCHES`, or a method with its options.
    fitness
        A name in `fitness.FITNESS`, or any callable from a policy to a number, lower is better; by default the
        method's own. A callable sees all data at every level of a method that has several, and rounds for itself.
    evaluations
        How many passes of a quantised network over the data may be made.
    bank
        The weights in every format, by the rounder of the table; by default they are rounded to nearest.
        ``Weights(bank, other_rounder=True)`` takes a table of another rounder, which then only guides.
    outputs
        What the network returns, and what its numbers mean.
    run
        The seed of all that is drawn; how many batches are read at most; for how many seconds; progress, in
        evaluations; and a checkpoint. A search that is started again with the same arguments goes on from that file,
        which stays.

    Returns
    -------
    found
        The best policy, its fitness, and what it took.

    Raises
    ------
    InvalidInput
        When an argument cannot be used, the table is about another rounder, or the search ended before it had judged a
        policy.
    NoSolution
        When no policy is within the budgets.
    """
    began = time.monotonic()
    chosen = _named(method)
    run.only("search", "seed", "checkpoint", "max_batches", "seconds", "progress")
    weights = as_weights(bank)
    weights.check("the table", table.rounder)
    problem, index = build_request(table, as_request(request), tight=False)
    space = Space(table, problem, index)
    data = list(itertools.islice(outputs.batches(batches, model), run.max_batches))
    levels = _levels(model, data, chosen, fitness, outputs, weights)
    named = fitness if isinstance(fitness, str) else "the caller's" if fitness else chosen.fitness
    settings = (chosen, run.seed, named, table.digest, space.budget, index.groups, problem.label.tolist())
    objective = Objective(
        space,
        levels,
        evaluations=math.inf if evaluations is None else evaluations,
        settings=repr((*settings, *weights.digest)),
        run=run,
    )
    task = Task(model, data, table, space, objective, np.random.default_rng(run.seed), outputs, weights.bank)
    stopped = _run(chosen, task)
    objective.save()
    genome, worth = objective.best
    policy = dataclasses.replace(
        space.policy(genome),
        status="found by a search, not proved optimal",
        solver=repr(chosen),
        seed=run.seed,
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
        if method not in SEARCHES:
            raise unknown("search method", method, SEARCHES)
        return SEARCHES[method]()
    if isinstance(method, type) or not isinstance(method, Method):
        raise InvalidInput(f"method is {method!r}: give a name ({', '.join(SEARCHES)}) or a method such as EvoQ()")
    return method


def _levels(
    model: nn.Module,
    data: list[Batch],
    method: Method,
    fitness: str | Callable[[Policy], float] | None,
    outputs: Outputs,
    weights: Weights,
) -> list[Level]:
    if callable(fitness):
        return [Level(fitness)]
    kind = method.fitness if fitness is None else fitness
    samples = sum(batch.size for batch in data)
    levels = []
    for share in method.shares:
        some = first_samples(data, max(1, math.ceil(share * samples)))
        judge = NetworkFitness(model, some, kind, outputs=outputs, weights=weights)
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
