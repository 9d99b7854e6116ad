"""Runs any method by name, all on the same network, formats, budgets, calibration data and number of evaluations."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..allocation.allocating import as_policy, solve_request
from ..allocation.builder import build_request
from ..allocation.choices import check_order
from ..allocation.request import as_request
from ..common.checks import check_count
from ..common.renamed import OUTPUTS, renamed_keywords, run_keywords
from ..common.run_options import RunOptions
from ..errors import unknown
from ..evaluation.evaluator import Evaluator
from ..evaluation.uniform import best_measured
from ..network.outputs import Outputs
from ..policy.repricing import predicted_by, price
from ..refinement.refining import refine
from ..rounding.chosen_weights import as_weights
from ..sensitivity.estimators import ESTIMATORS, Hutchinson
from ..sensitivity.measuring import measure
from ..solvers import solve
from .methods.emq import EMQ
from .methods.evoq import EvoQ
from .methods.level_switch import LevelSwitch
from .methods.random_policies import RandomPolicies
from .searching import SEARCHES, first_samples, search
from .space import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import nn

    from ..allocation.request import Request
    from ..common.amounts import Amount
    from ..network.batch import Batch
    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from ..rounding.chosen_weights import Weights
    from ..tables.table import SensitivityTable
    from .task import Method

# The estimator and solver of each method that solves a table; "" stands for the table that is given.
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
METHODS = (UNIFORM, *ON_TABLES, REFINED, *SEARCHES)
_EVOQ_SAMPLES = 50  # what its authors use
_TRACE_PROBES = 50  # HAWQ-V2's number of random vectors
_FEW = 10  # policies that live at a time, at the least


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method chose.

    Attributes
    ----------
    method
        One of `METHODS`.
    policy
        Its policy, with the prediction of the table that is given, even where the method used another; None where there
        is none.
    evaluations
        How many passes of a quantised network over the calibration data it took (``"refined"``: over the part that it
        searches on); 0 for what decides on a table of gradients.
    seconds
        Wall time, with the measurement of a table of its own.
    status
        What is proved of a solver's answer on its own table, why a search ended, or why there is no policy.
    history
        Of a search: for each improvement the evaluations made until then, and the fitness.
    """

    method: str
    policy: Policy | None
    evaluations: float
    seconds: float
    status: str
    history: tuple[tuple[float, float], ...] = ()


def sized_search(name: str, evaluations: int) -> Method:
    """The search of this name, of a size that makes use of a number of evaluations.

    Parameters
    ----------
    name
        One of `SEARCHES`.
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
    return sized.get(name, SEARCHES[name])()


@renamed_keywords(**OUTPUTS, **run_keywords("seed", "checkpoint", "progress"))
def run_method(
    name: str,
    model: nn.Module,
    table: SensitivityTable,
    request: Request | Mapping[str, Amount],
    batches: Iterable[object],
    *,
    evaluations: int = 200,
    tables: dict[str, SensitivityTable] | None = None,
    bank: WeightBank | Weights | None = None,
    outputs: Outputs = Outputs(),
    run: RunOptions = RunOptions(),
) -> MethodResult:
    """Let one method choose a policy.

    Parameters
    ----------
    name
        One of `METHODS`, or an estimator, whose table is then solved exactly. ``"evoq"`` sees the first 50 samples
        only, as its authors have it.
    model
        The float network; it is left as it was.
    table
        The table that predicts every policy; a method without an estimator of its own solves it too.
    request
        A `Request`, or a mapping of budgets, as for `allocate`.
    batches
        The calibration data.
    evaluations
        How many passes over the calibration data a search may make.
    tables
        Tables of other estimators by name, so that several calls measure each once; the missing ones are added, as the
        bank rounds.
    bank
        As for `search`. ``"uniform"`` is then the best uniform format, as measured, of all that are within the budgets.
    outputs
        What the network returns, and what its numbers mean.
    run
        The seed of all that is drawn; how many batches are read at most; and for what takes long, a search, a
        refinement or a table to measure: progress, and a checkpoint.

    Returns
    -------
    result
        The policy, and what it took.

    Raises
    ------
    InvalidInput
        When the method is unknown, an argument cannot be used, or a table is about another rounder.
    NoSolution
        When no policy is within the budgets.
    """
    run.only("run_method", "seed", "checkpoint", "max_batches", "progress")
    check_count("evaluations", evaluations, 1)
    weights = as_weights(bank)
    for each in (table, *({} if tables is None else tables).values()):
        weights.check("the table", each.rounder)
    asked = as_request(request)
    data = list(itertools.islice(outputs.batches(batches, model), run.max_batches))
    began = time.monotonic()
    if name in SEARCHES:
        method = sized_search(name, evaluations)
        sample = first_samples(data, _EVOQ_SAMPLES) if isinstance(method, EvoQ) else data
        found = search(
            model, table, asked, sample, method=method, evaluations=evaluations, bank=weights, outputs=outputs, run=run
        )
        return MethodResult(name, found.policy, found.evaluations, found.seconds, found.stopped, found.history)
    if name == UNIFORM:
        space = Space(table, *build_request(table, asked, tight=False))
        policies = [space.policy(genome) for genome in space.uniform()]
        status = "" if policies else "no format fits everywhere"
        if weights.bank is None:
            return MethodResult(name, next(iter(policies), None), 0, time.monotonic() - began, status)
        judge = Evaluator(model, data, outputs=outputs, bank=weights.bank, other_rounder=weights.other_rounder)
        best = best_measured(policies, judge)
        return MethodResult(name, best and best[0], judge.passes, time.monotonic() - began, status)
    if name == REFINED:
        return _refined(model, table, asked, data, evaluations, weights, outputs, run)
    if name not in ON_TABLES and name not in ESTIMATORS:
        raise unknown("method", name, (*METHODS, *ESTIMATORS))
    estimator, solver = ON_TABLES.get(name, (name, "exact"))
    known = {} if tables is None else tables
    if estimator and estimator not in known:
        known[estimator] = measure(
            model,
            data,
            formats=table.formats,
            method=Hutchinson(max(1, -(-_TRACE_PROBES // len(data)))) if estimator == "hutchinson" else estimator,
            outputs=outputs,
            activation_range=table.ranges or "mse",
            bank=weights.bank,
            run=run,
        )
    own = known[estimator] if estimator else table
    problem, index = build_request(own, asked, tight=False)
    check_order(index.formats, solver)
    solution = solve(problem, solver, seed=run.seed)
    policy = price(table, as_policy(own, solution, index))
    passes = own.loss.size if estimator and ESTIMATORS[estimator].passes.entry else 0
    return MethodResult(name, policy, passes, time.monotonic() - began, solution.status.value)


def _refined(
    model: nn.Module,
    table: SensitivityTable,
    asked: Request,
    data: list[Batch],
    evaluations: int,
    weights: Weights,
    outputs: Outputs,
    run: RunOptions,
) -> MethodResult:
    """The exact optimum of the table, improved by measuring."""
    began = time.monotonic()
    start = solve_request(table, asked, *build_request(table, asked, tight=False), "auto", 60.0, run.seed)
    found = refine(model, table, start, data, evaluations=evaluations, bank=weights, outputs=outputs, run=run)
    history = ((1.0, found.start_kl), *((step.evaluations, step.kl) for step in found.steps if step.accepted))
    policy = predicted_by(table, found.policy)
    return MethodResult(REFINED, policy, found.evaluations, time.monotonic() - began, found.stopped, history)
