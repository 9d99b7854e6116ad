"""Says how good a finished network is on other data, beside what it was made from and what it has to beat."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ..evaluation.evaluator import Evaluator
from ..evaluation.validation import Row, Validation, validate
from ..evaluation.verdict import ERRORS, judge, ratio_of
from ..network.outputs import Outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import nn

    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from .finished import Finished

_NOT_FINISHED = "not finished"


def validate_finished(
    model: nn.Module,
    finished: Finished,
    batches: Iterable[object],
    *,
    outputs: Outputs = Outputs(),
    factor: float = 1.5,
    bank: WeightBank | None = None,
    other_rounder: bool = False,
    against: Mapping[str, Policy] | None = None,
) -> Validation:
    """Run a finished network, and set its loss beside the prediction, the policy before the last pass, and its rivals.

    Parameters
    ----------
    model
        The float network; it is left as it was.
    finished
        What `finish` made of it.
    batches
        As for `validate`, others than `finish` saw; they are kept.
    outputs
        What the network returns, and what its numbers mean.
    factor
        By what factor the network may be worse than predicted.
    bank
        The weights in every format. With it, the uniform network is rounded by the same rounder, and the policy before
        the last pass is run too. Without it the uniform networks are rounded to nearest.
    other_rounder
        Whether the policy's prediction may be about another rounder than the bank's.
    against
        Other policies to run for comparison, by name; by default those of `validate`.

    Returns
    -------
    validation
        The rows of `validate`, named as not finished, and last the finished network. Its prediction holds where the
        network is better than predicted, too: the prediction is about weights before the last pass.

    Raises
    ------
    InvalidInput
        Where `validate` does.
    """
    data, policy = list(batches), finished.policy
    as_predicted = bank is not None or policy.rounder in ("", "nearest")
    plain = validate(
        model,
        policy,
        data,
        outputs=outputs,
        against=against,
        factor=factor,
        bank=bank,
        other_rounder=other_rounder or not as_predicted,
    )
    evaluator = Evaluator(model, data, outputs=outputs)
    measured = evaluator.evaluate_model(finished.model)
    verdict, holds, useless = judge(policy, measured, evaluator, factor)
    if holds is False and not useless and measured.kl < policy.expected.loss:
        holds, verdict = (
            True,
            (
                f"the finished network is better than predicted: {policy.expected.loss:.3g} before the last pass, "
                f"measured {measured.kl:.3g} +- {measured.kl_stderr:.2g} {measured.unit}"
            ),
        )
    before = list(plain.rows if as_predicted else plain.rows[:-1])
    rows = [_beside(row, nearest=bank is None, finished=measured.kl_difference(row.measured)) for row in before]
    own = dataclasses.replace(
        plain.policy, name="policy, finished", measured=measured, kl_difference=math.nan, kl_difference_stderr=math.nan
    )
    rivals = [row for row in rows if row.name.startswith("uniform")]
    words = "; ".join([verdict, *_against(rivals)])
    return Validation((*rows, own), words, holds, ratio_of(own.predicted, measured.kl), plain.unit, None, useless)


def _beside(row: Row, *, nearest: bool, finished: tuple[float, float]) -> Row:
    """A row of the validation without the last pass, compared with the finished network."""
    difference, error = -finished[0], finished[1]
    name = row.name
    if row.policy is not None:
        name = f"{name}, {f'nearest, {_NOT_FINISHED}' if nearest else _NOT_FINISHED}"
    return dataclasses.replace(row, name=name, kl_difference=difference, kl_difference_stderr=error)


def _against(rivals: Sequence[Row]) -> list[str]:
    """Whether the network beats the best of its rivals, in words; nothing where there is none."""
    measured = [row for row in rivals if not math.isnan(row.kl_difference)]
    if not measured:
        return []
    best = min(measured, key=lambda row: row.measured.kl)
    difference, error = best.kl_difference, best.kl_difference_stderr
    figures = f"{best.name!r}, KL {best.measured.kl:.3g}"
    if abs(difference) <= ERRORS * error:
        return [f"it cannot be told from {figures}"]
    return [f"it is {'better' if difference > 0 else 'worse'} than {figures}, by {abs(difference):.2g} +- {error:.2g}"]
