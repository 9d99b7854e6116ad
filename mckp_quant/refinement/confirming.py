"""Measures the few cells of a table that decide, puts them into a copy of it, and solves again until nothing is new."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from ..allocation.allocating import allocate
from ..common.checks import check_count
from ..common.renamed import OUTPUTS, renamed_keywords, run_keywords
from ..common.run_options import RunOptions
from ..evaluation.evaluator import Evaluator
from ..formats.format import FLOAT
from ..network.outputs import Outputs
from ..network.weight_uses import check_usable
from ..policy.policy import Policy
from ..rounding.chosen_weights import as_weights
from .refining import check_measured
from .result import Confirmation, Replaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from torch import nn

    from ..allocation.allocating import Allocation
    from ..allocation.request import Pins, Request
    from ..common.amounts import Amount
    from ..evaluation.figures import Evaluation
    from ..rounding.bank import WeightBank
    from ..rounding.chosen_weights import Weights
    from ..tables.table import SensitivityTable

logger = logging.getLogger(__name__)

_SOLVER_SECONDS, _LEAST_SECONDS = 60.0, 1.0  # of each solve, where there is no limit, and where the time is up
_SHARE = 0.5  # of the predicted loss: the cells that carry it are the ones that decide


@renamed_keywords(**OUTPUTS, **run_keywords("seed", "seconds", "progress"))
def confirm_table(
    model: nn.Module,
    table: SensitivityTable,
    request: Request | Mapping[str, Amount],
    batches: Iterable[object],
    *,
    bank: WeightBank | Weights | None = None,
    target: str | None = None,
    pinned: Pins | None = None,
    outputs: Outputs = Outputs(),
    evaluations: int = 40,
    run: RunOptions = RunOptions(),
) -> Confirmation:
    """Measure the cells of a table that carry half of the predicted loss of its best policy, and solve again.

    An estimate from one backward pass may be wrong where a layer is hard to round, and a solver looks for the cells
    that are too low. So the cells that matter are measured: one layer in its format, all others in floating point, the
    KL divergence as `measured_kl` would measure it. They take the place of the estimates, the request is solved on that
    table, and so on until the cells that carry half of the loss have all been measured. What is left of the loss is
    spread over many cells, whose errors average out. At last the whole policy is measured, which shows what the
    layers' errors add to each other.

    Parameters
    ----------
    model
        The float network; it is left as it was.
    table
        The sensitivities, in nats; it is left as it was.
    request, target, pinned
        As for `allocate`.
    batches
        Calibration data as for `measure`, best those of the table; targets are not used. They are kept.
    bank
        The weights in every format, by the rounder of the table; by default they are rounded to nearest.
        ``Weights(bank, other_rounder=True)`` takes a table of another rounder.
    outputs
        What the network returns, and what its numbers mean.
    evaluations
        How many passes over the batches may be spent: one for each cell, and one for the whole policy.
    run
        The seed of the solver and of the correction, how many batches are read at most, the seconds after which no
        further cell is measured, and progress, after each evaluation.

    Returns
    -------
    confirmation
        The table with what was measured, the best policy on it with a proof, and what was replaced. Losses above that
        of a guess, ``ln(classes)``, are lowered to it, where the outputs are classes.

    Raises
    ------
    InvalidInput
        When an argument cannot be used, or table, bank and network do not fit each other.
    NoSolution
        When no policy is within the budgets.
    """
    run.only("confirm_table", "seed", "max_batches", "seconds", "progress")
    check_count("evaluations", evaluations, 1)
    began = time.perf_counter()
    weights = as_weights(bank)
    weights.check("the table", table.rounder)
    check_usable(model)
    held = [
        dataclasses.replace(batch, targets=None)
        for batch in itertools.islice(outputs.batches(batches, model), run.max_batches)
    ]
    evaluator = Evaluator(model, held, outputs=outputs, bank=weights.bank, other_rounder=weights.other_rounder)
    check_measured(table, evaluator.reference.unit, outputs.likelihood)
    capped = int((table.loss > table.guessing).sum())
    limit = math.inf if run.seconds is None else run.seconds

    def solved(own: SensitivityTable, corrected: bool) -> Allocation:
        left = max(min(_SOLVER_SECONDS, limit - (time.perf_counter() - began)), _LEAST_SECONDS)
        return allocate(own, request, target=target, pinned=pinned, seed=run.seed, seconds=left, corrected=corrected)

    confirmed, known, replaced = _capped(table), set[tuple[int, int]](), list[Replaced]()
    found = solved(confirmed, False)
    start, stopped = found.policy, ""
    while not stopped:
        new = [cell for cell in _deciding(confirmed, found.policy) if cell not in known]
        for row, column in new[: evaluations - 1 - len(replaced)]:
            if time.perf_counter() - began > limit:
                break
            layer, entry = table.layer_names[row], table.formats[column]
            alone = Policy((layer,), (entry,), ranges=found.policy.ranges)
            confirmed = _with_cell(confirmed, row, column, evaluator.evaluate(alone))
            loss, stderr = float(confirmed.loss[row, column]), float(confirmed.stderr[row, column])
            replaced.append(Replaced(layer, entry.name, float(table.loss[row, column]), loss, stderr))
            known.add((row, column))
            logger.info("%s in %s: %.3g, not %.3g", layer, entry.name, loss, table.loss[row, column])
            run.report(len(replaced), evaluations)
        if not new:
            stopped = "all cells that carry half of the predicted loss are measured"
        elif len(replaced) >= evaluations - 1:
            stopped = "the evaluations are spent"
        elif time.perf_counter() - began > limit:
            stopped = "the time is up"
        if new:
            found = solved(confirmed, False)
    if replaced:
        cells = "1 cell" if len(replaced) == 1 else f"{len(replaced)} cells"
        confirmed = dataclasses.replace(confirmed, method=f"{table.method}, {cells} measured", rounder=weights.rounder)
    found = solved(confirmed, True)
    whole = evaluator.evaluate(found.policy)
    run.report(len(replaced) + 1, evaluations)
    return Confirmation(
        table=confirmed,
        allocation=dataclasses.replace(found, policy=_as_measured(found.policy, whole)),
        start=start,
        replaced=tuple(replaced),
        capped=capped,
        kl=whole.kl,
        kl_stderr=whole.kl_stderr,
        evaluations=evaluator.passes,
        seconds=time.perf_counter() - began,
        stopped=stopped,
    )


def _deciding(table: SensitivityTable, policy: Policy) -> list[tuple[int, int]]:
    """The cells of a policy that carry half of its predicted loss, the largest first."""
    cells = [(row, table.column(entry.name)) for row, entry in enumerate(policy.formats) if entry != FLOAT]
    cells.sort(key=lambda cell: -table.loss[cell])
    losses = np.array([max(0.0, float(table.loss[cell])) for cell in cells])
    if not losses.sum() > 0:
        return cells[:1]
    before = np.cumsum(losses) - losses
    return [cell for cell, sum_before in zip(cells, before, strict=True) if sum_before < _SHARE * losses.sum()]


def _capped(table: SensitivityTable) -> SensitivityTable:
    """The table with losses above that of a guess lowered to it, their batches and errors in proportion."""
    factor = np.where(table.loss > table.guessing, table.guessing / np.where(table.loss > 0, table.loss, 1), 1.0)
    if (factor == 1).all():
        return table
    return dataclasses.replace(
        table,
        loss=table.loss * factor,
        stderr=table.stderr * factor,
        contributions=None if table.contributions is None else table.contributions * factor,
    )


def _with_cell(table: SensitivityTable, row: int, column: int, measured: Evaluation) -> SensitivityTable:
    """The table with one cell as it was measured: its loss, its standard error and its batches."""
    loss, stderr = table.loss.copy(), table.stderr.copy()
    kl = measured.kl if math.isfinite(measured.kl) else math.nan
    loss[row, column], stderr[row, column] = kl, measured.kl_stderr
    contributions = None
    if table.contributions is not None and table.batch_sizes is not None:
        parts = _by_batch(measured, table.batch_sizes)
        if parts is not None:
            contributions = table.contributions.copy()
            contributions[:, row, column] = parts
    return _capped(
        dataclasses.replace(
            table,
            loss=loss,
            stderr=stderr,
            contributions=contributions,
            batch_sizes=None if contributions is None else table.batch_sizes,
        )
    )


def _by_batch(measured: Evaluation, sizes: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """What was measured in as many parts as the table has batches; None where there are too few samples for that.

    Parts of the same batches are these batches. Of other data they are independent of the table's, as they should be.
    """
    share, seen = sizes / sizes.sum(), np.cumsum(np.append(0.0, measured.counts[0]))
    edges = np.searchsorted((seen[1:] + seen[:-1]) / 2, np.cumsum(share) * seen[-1])
    starts = np.concatenate([[0], edges[:-1]])
    counts = np.array([measured.counts[0, first:last].sum() for first, last in zip(starts, edges, strict=True)])
    sums = np.array([measured.totals[0, first:last].sum() for first, last in zip(starts, edges, strict=True)])
    if not ((counts > 0) & np.isfinite(sums)).all():
        return None
    means = sums / counts
    return np.asarray(means + (measured.kl - share @ means))


def _as_measured(policy: Policy, whole: Evaluation) -> Policy:
    """The policy with what was measured of it, corrected by the share by which its prediction is."""
    if not (math.isfinite(whole.kl) and policy.predicted > 0):
        return policy
    words = f"measured as a whole on {whole.samples} samples; {policy.correction}"
    if math.isnan(policy.corrected):
        return dataclasses.replace(policy, corrected=whole.kl, corrected_stderr=whole.kl_stderr, correction=words)
    corrected = whole.kl * policy.corrected / policy.predicted
    # Both errors are of the same samples: the larger of them counts.
    relative = max(whole.kl_stderr / whole.kl if whole.kl > 0 else 0.0, policy.corrected_stderr / abs(policy.corrected))
    return dataclasses.replace(
        policy, corrected=corrected, corrected_stderr=abs(corrected) * relative, correction=words
    )
