"""Improves a policy by measuring: candidates raced on the network, and a table corrected by what they did."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..allocation.allocating import Allocation, allocate, check_origin
from ..common.checks import check_count, check_seed
from ..errors import InvalidInput
from ..evaluation.evaluator import Evaluator
from ..network.batches import as_batches
from ..network.dense_outputs import classes_last
from ..network.weight_uses import check_usable
from .correction import Correction
from .expansion import Expander
from .measurements import Measurements
from .racing import mean_kl
from .result import Refinement
from .rounds import Search

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray
    from torch import nn

    from ..common.amounts import Amount
    from ..interactions.form import Interactions
    from ..tables.table import SensitivityTable
    from .result import Step

logger = logging.getLogger(__name__)

_ATTEMPTS = 3  # with one part of the batches held back after the other
_WORTH_ANOTHER = 20.0  # evaluations that have to be left


def refine(
    model: nn.Module,
    table: SensitivityTable,
    budgets: Mapping[str, Amount] | Allocation,
    batches: Iterable[object],
    *,
    evaluations: float = 200,
    interactions: Interactions | None = None,
    confirm: float = 0.125,
    candidates: int = 6,
    patience: int = 10,
    expand: bool = True,
    output: Callable[..., object] | None = None,
    likelihood: str = "categorical",
    class_dim: int | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Refinement:
    """Improve the measured KL of a policy within the same budgets.

    The loss is expanded around the network under the incumbent (`Expansion`), which says what every format of every
    layer would change there. Candidates come from that and from exchanges (`propose`), are raced against the incumbent
    on growing parts of the batches (`race`), and what they did corrects what is known (`Correction`). A candidate that
    was measured better, and is better by all that is known, becomes the incumbent. In the end it has to be no worse
    than the start on all batches, and not clearly worse on those that were held back all the time; otherwise the ones
    before it are tried, and then the search begins again with other batches held back.

    Parameters
    ----------
    model
        The float network; it is left as it was.
    table
        The sensitivities to start from, in nats.
    budgets
        Budgets as for `allocate`; or what `allocate` made of this table, with whatever else it was asked for.
    batches
        Calibration data as for `measure`, not the data that will judge the policy; targets are not used.
    evaluations
        How many passes over the batches of the search may be spent, those for the confirmation included.
    interactions
        Terms between layers; how much they count is corrected too. Beside expansions they say what two changes at once
        add, which an expansion leaves out.
    confirm
        The share of the batches that is held back.
    candidates
        How many to race in a round.
    patience
        After how many rounds without a new incumbent to stop.
    expand
        Whether to expand the loss; without, and where the network cannot be differentiated, the search goes by the
        table. An expansion counts as seven evaluations, about what it takes.
    output, likelihood, class_dim
        As for `measure`.
    seed
        Of the split of the batches and all draws.
    checkpoint
        A file that is written now and then, and when the search ends or is stopped; with the same arguments and
        batches, what it holds is not measured again. More evaluations may be asked for then.
    progress
        Called after each round with the evaluations spent and their limit.

    Returns
    -------
    refinement
        The policy, what was measured of it, and a record of every round.

    Raises
    ------
    InvalidInput
        When an argument cannot be used, or there are too few batches to hold some back.
    NoSolution
        When no policy is within the budgets.
    """
    _check(evaluations, confirm, candidates, patience)
    check_seed(seed)
    check_usable(model)
    allocation = allocate(table, budgets) if isinstance(budgets, Mapping) else check_origin(budgets, table)
    if class_dim is not None:
        output = classes_last(output, class_dim)
    without_targets = (dataclasses.replace(batch, targets=None) for batch in as_batches(batches, model))
    evaluator = Evaluator(model, without_targets, output=output, likelihood=likelihood)
    unit = evaluator.reference.unit
    _check_fit(table, allocation, unit, likelihood, interactions)
    order, search = _split(len(evaluator.sizes), confirm, seed)
    problem, index = allocation.problem, allocation.index
    asked = (table.digest, problem.budget.tolist(), problem.start.tolist(), problem.label.tolist(), index.groups)
    begun = _labels(allocation).tolist()  # what the start does says how much samples count
    settings = repr((*asked, begun, confirm, expand, seed, likelihood, evaluator.sizes, evaluator.digest))
    measured = Measurements(evaluator, table, allocation, search, checkpoint, settings)
    whole = problem if interactions is None else interactions.on(problem, index, 1.0)

    def after_round(spent: float) -> None:
        measured.save()
        if progress is not None:
            progress(spent, evaluations)

    steps: list[Step] = []
    try:
        held = len(order) - search
        for attempt in range(min(_ATTEMPTS, len(order) // held)):
            own = np.roll(order, attempt * held)
            expander = Expander(evaluator, table, problem, index, likelihood, own[:search].tolist(), seed)
            measured.turn(own, expander if expand else None)
            run = Search(measured, Correction(whole), allocation, evaluations, candidates, patience, seed, attempt)
            place, confirmed, stderr = run.to_the_end(problem.position(_labels(allocation)), after_round)
            steps.extend(run.record(place))
            if place > 0 or len(run.incumbents) == 1 or evaluations - run.spent < _WORTH_ANOTHER:
                break
    finally:
        measured.save(all_of_it=True)
    if place == 0 and len(run.incumbents) > 1:
        logger.warning("no improvement held on the batches that were held back: the policy stays as it was")
    spent, chosen = run.spent, run.incumbents[place]
    return Refinement(
        policy=run.policy(table, chosen) if place else allocation.policy,
        start=allocation.policy,
        kl=mean_kl(measured.known(chosen, search))[0],
        start_kl=run.start_kl,
        confirmed=confirmed,
        confirmed_stderr=stderr,
        steps=tuple(steps),
        evaluations=spent,
        stopped=run.stopped,
        corrected=_corrected(table, run.correction, allocation),
        unit=unit,
    )


def _labels(allocation: Allocation) -> NDArray[np.int64]:
    choice = allocation.solution.require().choice
    assert choice is not None
    return choice


def _check(evaluations: float, confirm: float, candidates: int, patience: int) -> None:
    if not evaluations >= 1:
        raise InvalidInput(f"evaluations is {evaluations}: give at least 1, such as 200")
    if not 0 < confirm < 1:
        raise InvalidInput(f"confirm is {confirm}: it is the share of the batches to hold back, such as 0.125")
    check_count("candidates", candidates, 1)
    check_count("patience", patience, 1)


def _check_fit(
    table: SensitivityTable, allocation: Allocation, unit: str, likelihood: str, interactions: Interactions | None
) -> None:
    if table.unit != unit:
        raise InvalidInput(
            f"the table predicts {table.unit!r}, the network is measured in {unit!r}, and the two cannot be compared: "
            "measure the table with 'gauss_newton' or 'measured_kl'"
        )
    table.check_likelihood(likelihood)
    if interactions is None:
        return
    if interactions.unit != unit:
        raise InvalidInput(
            f"the interactions are in {interactions.unit!r} and the table in {unit!r}, which do not add up: "
            "measure both on the same network"
        )
    if allocation.problem.rows is not None:
        raise InvalidInput(
            "the allocation has constraints and interactions were given, which no solver takes together: leave "
            "constraints= of allocate or interactions= out"
        )


def _split(batches: int, confirm: float, seed: int) -> tuple[NDArray[np.int64], int]:
    """An order of the batches, and how many of them are searched on."""
    if batches < 2:
        raise InvalidInput("there is 1 batch: give at least 2, so that one can be held back from the search")
    held = min(batches - 1, max(1, round(confirm * batches)))
    return np.random.default_rng([seed, 1]).permutation(batches), batches - held


def _corrected(table: SensitivityTable, correction: Correction, allocation: Allocation) -> SensitivityTable:
    """The table with every entry scaled as that of its group is; contributions of batches go with it."""
    problem, index = correction.problem, allocation.index
    value = correction.posterior().value
    ratio = np.divide(value, problem.value, out=np.ones_like(value), where=problem.value != 0)
    factors = np.ones_like(table.loss)
    for group, rows in enumerate(index.groups):
        own = slice(problem.start[group], problem.start[group + 1])
        for row in rows:
            factors[row, problem.label[own]] = ratio[own]
    return dataclasses.replace(
        table,
        loss=table.loss * factors,
        stderr=np.full_like(table.loss, np.nan),
        contributions=None,
        batch_sizes=None,
        method=f"{table.method}, corrected by measuring policies",
    )
