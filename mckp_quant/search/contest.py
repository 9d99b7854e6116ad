"""Methods on one footing: the same network, formats, budgets, calibration data and number of evaluations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..allocation.allocating import as_policy, solve_request
from ..allocation.builder import build_request
from ..allocation.choices import check_order
from ..allocation.request import Request
from ..common.run_options import RunOptions
from ..errors import unknown
from ..network.batches import as_batches
from ..network.outputs import Outputs
from ..policy.repricing import price
from ..refinement.refining import refine
from ..sensitivity.estimators import ESTIMATORS, Hutchinson
from ..sensitivity.measuring import measure
from ..solvers import solve
from .methods.emq import EMQ
from .methods.evoq import EvoQ
from .methods.level_switch import LevelSwitch
from .methods.random_policies import RandomPolicies
from .searching import METHODS, first_samples, search
from .space import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torch import nn

    from ..common.amounts import Amount
    from ..policy.policy import Policy
    from ..tables.table import SensitivityTable
    from .task import Method

# Estimator and solver of the methods that decide on a table; "" is the table that is given.
ON_TABLES = {
    "exact": ("", "exact"),
    "greedy": ("", "greedy"),
    "relax": ("", "relax"),
    "monotone": ("", "monotone"),
    "mpqco": ("empirical_fisher", "greedy"),
    "mpqco_exact": ("empirical_fisher", "exact"),
    "hawq": ("hutchinson", "exact"),
    "measured_kl": ("measured_kl", "greedy"),
}
UNIFORM, REFINED = "uniform", "refined"
CONTESTANTS = (UNIFORM, *ON_TABLES, REFINED, *METHODS)
_EVOQ_SAMPLES = 50  # what its authors use
_TRACE_PROBES = 50  # HAWQ-V2's number of random vectors
_FEW = 10  # policies that live at a time, at the least


@dataclass(frozen=True, eq=False)
class Standing:
    """What one method chose.

    Attributes
    ----------
    method
        One of `CONTESTANTS`.
    policy
        Its policy, with the prediction of the table that is given, whatever the method went by; None where it has none.
    evaluations
        How many passes of a quantised network over the calibration data it took (``"refined"``: over the part that it
        searches on); 0 for what decides on a table of gradients.
    seconds
        Wall time, with the measurement of a table of its own.
    status
        What is known of a solver's answer (on its own table), why a search ended, or why there is no policy.
    history
        Of a search: for each improvement the evaluations made until then, and the fitness.
    """

    method: str
    policy: Policy | None
    evaluations: float
    seconds: float
    status: str
    history: tuple[tuple[float, float], ...] = ()


def contestant(name: str, evaluations: int) -> Method:
    """The search of this name, of a size that makes use of a number of evaluations.

    Parameters
    ----------
    name
        One of `METHODS`.
    evaluations
        Passes over the calibration data.

    Returns
    -------
    method
        A tenth of them lives at a time in searches with a population (at least ten policies), and there are as many
        generations as the evaluations allow.
    """
    population = max(_FEW, evaluations // 10)
    generations = max(1, evaluations // population)
    sized: dict[str, Callable[[], Method]] = {
        "evoq": lambda: EvoQ(population, generations),
        "emq": lambda: EMQ(population, generations),
        "level_switch": lambda: LevelSwitch(evaluations),
        "random": lambda: RandomPolicies(evaluations),
    }
    return sized.get(name, METHODS[name])()


def compete(
    name: str,
    model: nn.Module,
    table: SensitivityTable,
    request: Request | Mapping[str, Amount],
    batches: Iterable[object],
    *,
    evaluations: int = 200,
    seed: int = 0,
    tables: dict[str, SensitivityTable] | None = None,
    checkpoint: Path | None = None,
    output: Callable[..., object] | None = None,
    likelihood: str = "categorical",
    progress: Callable[[int, int | None], None] | None = None,
) -> Standing:
    """Let one method choose a policy.

    Parameters
    ----------
    name
        One of `CONTESTANTS`, or an estimator, whose table is then solved exactly. ``"evoq"`` sees the first 50 samples
        only, as its authors have it.
    model
        The float network; it is left as it was.
    table
        The table by which every policy is predicted, and by which those methods decide that have none of their own.
    request
        Budgets, or a `Request`.
    batches
        The calibration data.
    evaluations
        How many passes over the calibration data a search may make.
    seed
        Of all that is drawn.
    tables
        Tables of other estimators by name, so that several calls measure each once; the missing ones are added.
    checkpoint, output, likelihood, progress
        As for `search`.

    Returns
    -------
    standing
        The policy, and what it took.

    Raises
    ------
    InvalidInput
        When the method is unknown, or an argument cannot be used.
    NoSolution
        When no policy is within the budgets.
    """
    if name not in CONTESTANTS and name not in ESTIMATORS:
        raise unknown("method", name, (*CONTESTANTS, *ESTIMATORS))
    data = list(batches)
    asked = request if isinstance(request, Request) else Request(request)
    began = time.monotonic()
    if name in METHODS:
        sample, method = data, contestant(name, evaluations)
        if isinstance(method, EvoQ):
            sample = list(first_samples(list(as_batches(data, model)), _EVOQ_SAMPLES))
        found = search(
            model,
            table,
            asked,
            sample,
            method=method,
            evaluations=evaluations,
            seed=seed,
            checkpoint=checkpoint,
            progress=progress,
            output=output,
            likelihood=likelihood,
        )
        return Standing(name, found.policy, found.evaluations, found.seconds, found.stopped, found.history)
    if name == UNIFORM:
        space = Space(table, *build_request(table, asked, tight=False))
        uniform = space.uniform()
        policy = space.policy(uniform[0]) if uniform else None
        return Standing(name, policy, 0, time.monotonic() - began, "" if uniform else "no format fits everywhere")
    if name == REFINED:
        return _refined(model, table, asked, data, evaluations, seed, checkpoint, output, likelihood, progress)
    estimator, solver = ON_TABLES.get(name, (name, "exact"))
    known = {} if tables is None else tables
    if estimator and estimator not in known:
        known[estimator] = measure(
            model,
            data,
            formats=table.formats,
            method=Hutchinson(max(1, -(-_TRACE_PROBES // len(data)))) if estimator == "hutchinson" else estimator,
            outputs=Outputs(output, likelihood),
            activation_range=table.ranges or "mse",
            run=RunOptions(seed=seed),
        )
    own = known[estimator] if estimator else table
    problem, index = build_request(own, asked, tight=False)
    check_order(index.formats, solver)
    solution = solve(problem, solver, seed=seed)
    policy = price(table, as_policy(own, solution, index))
    passes = own.loss.size if estimator and ESTIMATORS[estimator].passes.entry else 0
    return Standing(name, policy, passes, time.monotonic() - began, solution.status.value)


def _refined(
    model: nn.Module,
    table: SensitivityTable,
    asked: Request,
    data: list[object],
    evaluations: int,
    seed: int,
    checkpoint: Path | None,
    output: Callable[..., object] | None,
    likelihood: str,
    progress: Callable[[int, int | None], None] | None,
) -> Standing:
    """The exact optimum of the table, improved by measuring."""
    began = time.monotonic()
    start = solve_request(table, asked, *build_request(table, asked, tight=False), "auto", 60.0, seed)
    found = refine(
        model,
        table,
        start,
        data,
        evaluations=evaluations,
        seed=seed,
        checkpoint=checkpoint,
        output=output,
        likelihood=likelihood,
        progress=None if progress is None else lambda spent, limit: progress(int(spent), int(limit)),
    )
    history = ((1.0, found.start_kl), *((step.evaluations, step.kl) for step in found.steps if step.accepted))
    return Standing(REFINED, found.policy, found.evaluations, time.monotonic() - began, found.stopped, history)
