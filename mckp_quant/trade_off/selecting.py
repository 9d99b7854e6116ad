"""Measures the most promising points of a front below a budget, and takes the best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..common.checks import check_count
from ..common.renamed import OUTPUTS, renamed_keywords, run_keywords
from ..common.run_options import RunOptions
from ..errors import InvalidInput
from ..network.outputs import Outputs
from ..solvers import NoSolution
from .limits import Limit
from .meter import Meter
from .result import ERRORS, Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import nn

    from ..common.amounts import Amount
    from ..rounding.bank import WeightBank
    from ..rounding.chosen_weights import Weights
    from .fronts import Front
    from .result import Measured

_RUN = RunOptions()


@renamed_keywords(**OUTPUTS, **run_keywords("progress"))
def select(
    front: Front,
    model: nn.Module,
    batches: Iterable[object],
    *,
    k: int = 8,
    at_most: Amount | None = None,
    bank: WeightBank | Weights | None = None,
    outputs: Outputs = Outputs(),
    run: RunOptions = _RUN,
) -> Selection:
    """Run the k most promising points of a front within a budget, and take the one of least measured KL.

    The points right below the budget are predicted to lose nearly the same, so what is measured decides between them:
    a policy that is a little smaller is often better. The best of several that were measured looks better than it is;
    `Selection.differences` says by how much its neighbours are worse, and how well that is known.

    Parameters
    ----------
    front
        What `front` returned for a table of this network.
    model
        The float network; it is left as it was.
    batches
        As for `measure`, not those that the table was measured on; targets are not needed.
    k
        How many points to run, those of least predicted loss within the budget; at least 1.
    at_most
        The budget, as a number or text such as ``"90kB"``; by default that of the front's request.
    bank, outputs
        As for `smallest`.
    run
        How many batches are read at most, and progress, after each point.

    Returns
    -------
    selection
        The best point, those that were measured, and how they differ.

    Raises
    ------
    InvalidInput
        When an argument cannot be used, or no budget is known.
    NoSolution
        When the front has no point within the budget.
    """
    run.only("select", "max_batches", "progress")
    check_count("k", k, 1)
    meter = Meter(
        model,
        front,
        batches,
        limit=Limit("KL", 0.0, lambda own, _: (own.kl, own.kl_stderr)),
        bank=bank,
        outputs=outputs,
        run=run,
    )
    limit = front.limit if at_most is None else front.counted(at_most)
    if limit is None:
        raise InvalidInput(
            f"the request of the front has no budget of {front.along}: say with at_most= how much may be used"
        )
    within = [at for at, point in enumerate(front.points) if point.used <= limit]
    if not within:
        raise NoSolution(
            f"the front has no point within {front.amount(limit)}: its smallest takes "
            f"{front.amount(front.points[0].used)}"
        )
    chosen = within[-k:]
    measured = []
    for at in chosen:
        measured.append(meter.at(at))
        run.report(len(measured), len(chosen))
    best = min(measured, key=lambda each: math.inf if math.isnan(each.figure) else each.figure)
    differences = tuple(
        (0.0, 0.0) if each is best else each.evaluation.kl_difference(best.evaluation) for each in measured
    )
    return Selection(best, tuple(measured), differences, front, _verdict(front, best, measured, differences))


def _verdict(
    front: Front, best: Measured, measured: Sequence[Measured], differences: Sequence[tuple[float, float]]
) -> str:
    words = (
        f"of {len(measured)} policies that were run, the one of {front.amount(best.point.used)} has the least KL, "
        f"{best.figure:.4g} +- {best.stderr:.2g} {best.evaluation.unit}"
    )
    alike = sum(
        other is not best and not above > ERRORS * error
        for other, (above, error) in zip(measured, differences, strict=True)
    )
    if len(measured) == 1:
        return words
    if not alike:
        return f"{words}; all others are worse by more than two paired standard errors"
    return f"{words}; {alike} of the others are not worse by more than two paired standard errors"
