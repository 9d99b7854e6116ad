"""Improves a policy by measuring: races candidates on the network, and corrects the table by what was measured."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..allocation.allocating import Allocation, allocate, check_origin
from ..allocation.left_in_float import as_indexed
from ..allocation.request import Request
from ..common.checks import check_least
from ..common.renamed import OUTPUTS, renamed_keywords, run_keywords
from ..common.run_options import RunOptions
from ..errors import InvalidInput
from ..evaluation.evaluator import Evaluator
from ..network.checkpoints.plain_names import unwrapped
from ..network.outputs import Outputs
from ..network.weight_uses import check_usable
from ..rounding.chosen_weights import as_weights
from .correction import Correction
from .expansion import Expander
from .measurements import Measurements
from .racing import mean_kl
from .result import Refinement
from .rounds import Rounds, Search

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import nn

    from ..common.amounts import Amount
    from ..interactions.form import Interactions
    from ..rounding.bank import WeightBank
    from ..rounding.chosen_weights import Weights
    from ..tables.table import SensitivityTable
    from .result import Step

logger = logging.getLogger(__name__)

_ATTEMPTS = 3  # with one part of the batches held back after the other
_WORTH_ANOTHER = 20.0  # evaluations that have to be left


@renamed_keywords(
    budgets="request=...",
    confirm="rounds=Rounds(held_back=...)",
    held_back="rounds=Rounds(held_back=...)",
    candidates="rounds=Rounds(candidates=...)",
    patience="rounds=Rounds(patience=...)",
    expand="rounds=Rounds(expand=...)",
    **OUTPUTS,
    **run_keywords("seed", "checkpoint", "progress"),
)
def refine(
    model: nn.Module,
    table: SensitivityTable,
    request: Request | Mapping[str, Amount] | Allocation,
    batches: Iterable[object],
    *,
    evaluations: float = 200,
    interactions: Interactions | None = None,
    rounds: Rounds = Rounds(),
    bank: WeightBank | Weights | None = None,
    outputs: Outputs = Outputs(),
    run: RunOptions = RunOptions(),
) -> Refinement:
    """Improve the measured KL of a policy within the same budgets.

    The incumbent is the best policy so far. An expansion of the loss around it (`Expansion`) says what every format of
    every layer would change. In every round candidates are proposed from that (`propose`), raced against the incumbent
    on growing parts of the batches (`race`), and what was measured of them corrects the entries (`Correction`). A
    candidate that was measured better, and is better by the corrected entries too, becomes the incumbent. In the end
    the incumbent must be no worse than the start on all batches, and not clearly worse on those held back. If it is,
    the incumbents before it are tried, and then the search begins again with other batches held back.

    Parameters
    ----------
    model
        The float network; it is left as it was.
    table
        The sensitivities to start from, in nats.
    request
        A `Request` or a mapping of budgets, as for `allocate`; or what `allocate` made of this table.
    batches
        Calibration data as for `measure`, not the data that will judge the policy; targets are not used.
    evaluations
        How many passes over the batches of the search may be spent, those for the confirmation included.
    interactions
        Terms between layers; how much they count is corrected too. They say what two changes add to each other, which
        an expansion leaves out.
    rounds
        How many candidates are raced in a round, when to stop, whether to expand the loss, and which share of the
        batches is held back from the search: a `mckp_quant.refinement.Rounds`.
    bank
        The weights in every format, by the rounder of the table; by default they are rounded to nearest. All networks
        that are tried, and the expansion, have these weights; their biases and norms are the float network's, since
        matching them would take several passes for each candidate. ``Weights(bank, other_rounder=True)`` takes a table
        of another rounder, which is only where the search begins.
    outputs
        What the network returns, and what its numbers mean.
    run
        The seed of the split of the batches and of all draws; how many batches are read at most; progress, after each
        round, in evaluations; and a checkpoint. That file is written now and then, and when the search ends or is
        stopped; with the same arguments and batches, what it holds is not measured again. More evaluations may be asked
        for then.

    Returns
    -------
    refinement
        The policy, what was measured of it, and a record of every round.

    Raises
    ------
    InvalidInput
        When an argument cannot be used, there are too few batches to hold some back, or the table, the interactions,
        the bank and the checkpoint are not all about one rounder.
    NoSolution
        When no policy is within the budgets.
    """
    run.only("refine", "seed", "checkpoint", "max_batches", "progress")
    model = unwrapped(model)
    check_least("evaluations", evaluations, 1)
    weights = as_weights(bank)
    weights.check("the table", table.rounder)
    if interactions is not None:
        weights.check("the matrix of interactions", interactions.rounder)
    check_usable(model)
    allocation = allocate(table, request) if isinstance(request, Request | Mapping) else check_origin(request, table)
    table = as_indexed(table, allocation.index)
    read = itertools.islice(outputs.batches(batches, model), run.max_batches)
    evaluator = Evaluator(
        model,
        (dataclasses.replace(batch, targets=None) for batch in read),
        outputs=outputs,
        bank=weights.bank,
        other_rounder=weights.other_rounder,
    )
    unit = evaluator.reference.unit
    _check_fit(table, allocation, unit, outputs.distribution.name, interactions)
    order, search = _split(len(evaluator.sizes), rounds.held_back, run.seed)
    problem, index = allocation.problem, allocation.index
    asked = (table.digest, problem.budget.tolist(), problem.start.tolist(), problem.label.tolist(), index.groups)
    begun = _labels(allocation).tolist()  # the measurements of the start decide how much each sample counts
    how = (rounds.held_back, rounds.expand, run.seed, outputs.distribution.name, *weights.digest)
    settings = repr((*asked, begun, *how, evaluator.sizes, evaluator.digest))
    measured = Measurements(evaluator, table, allocation, search, run.checkpoint, settings)
    whole = problem if interactions is None else interactions.on(problem, index, 1.0)

    def after_round(spent: float) -> None:
        measured.save()
        run.report(spent, evaluations)

    steps: list[Step] = []
    try:
        held = len(order) - search
        for attempt in range(min(_ATTEMPTS, len(order) // held)):
            own = np.roll(order, attempt * held)
            expander = Expander(evaluator, table, problem, index, own[:search].tolist(), run.seed)
            measured.turn(own, expander if rounds.expand else None)
            going = Search(measured, Correction(whole), allocation, evaluations, rounds, run.seed, attempt)
            place, confirmed, stderr = going.to_the_end(problem.position(_labels(allocation)), after_round)
            steps.extend(going.record(place))
            if place > 0 or len(going.incumbents) == 1 or evaluations - going.spent < _WORTH_ANOTHER:
                break
    finally:
        measured.save(all_of_it=True)
    if place == 0 and len(going.incumbents) > 1:
        logger.warning("no improvement held on the batches held back: the policy stays as it was")
    spent, chosen = going.spent, going.incumbents[place]
    corrected = _corrected(table, going.correction, allocation, weights.rounder)
    return Refinement(
        policy=going.policy(corrected, chosen) if place else allocation.policy,
        start=allocation.policy,
        kl=mean_kl(measured.known(chosen, search))[0],
        start_kl=going.start_kl,
        confirmed=confirmed,
        confirmed_stderr=stderr,
        steps=tuple(steps),
        evaluations=spent,
        stopped=going.stopped,
        corrected=corrected,
        unit=unit,
    )


def _labels(allocation: Allocation) -> NDArray[np.int64]:
    choice = allocation.solution.require().choice
    assert choice is not None
    return choice


def _check_fit(
    table: SensitivityTable, allocation: Allocation, unit: str, likelihood: str, interactions: Interactions | None
) -> None:
    check_measured(table, unit, likelihood)
    if interactions is None:
        return
    if interactions.unit != unit:
        raise InvalidInput(
            f"the interactions are in {interactions.unit!r} and the table in {unit!r}, which do not add up: "
            "measure both on the same network"
        )
    if allocation.problem.rows is not None:
        raise InvalidInput(
            "the allocation has constraints and interactions were given, which no solver takes together: leave out "
            "the constraints or interactions="
        )


def check_measured(table: SensitivityTable, unit: str, likelihood: str) -> None:
    """Refuse a table that does not predict what is measured of the network; raises InvalidInput."""
    if table.unit != unit:
        raise InvalidInput(
            f"the table predicts {table.unit!r}, the network is measured in {unit!r}, and the two cannot be compared: "
            "measure the table with 'gauss_newton' or 'measured_kl'"
        )
    table.check_likelihood(likelihood)


def _split(batches: int, held_back: float, seed: int) -> tuple[NDArray[np.int64], int]:
    """An order of the batches, and how many of them are searched on."""
    if batches < 2:
        raise InvalidInput("there is 1 batch: give at least 2, so that one can be held back from the search")
    held = min(batches - 1, max(1, round(held_back * batches)))
    return np.random.default_rng([seed, 1]).permutation(batches), batches - held


def _corrected(
    table: SensitivityTable, correction: Correction, allocation: Allocation, rounder: str
) -> SensitivityTable:
    """The table with every entry scaled as the correction scales it; the contributions of batches are dropped.

    It is about the rounder of what was measured, whatever it was about before.
    """
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
        rounder=rounder,
    )
