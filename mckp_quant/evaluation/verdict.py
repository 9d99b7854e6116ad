"""Says in a sentence whether a prediction holds, and whether the network under the policy is of any use at all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..policy.policy import Policy
    from .evaluator import Evaluator
    from .figures import Evaluation

ERRORS = 2.0  # standard errors within which two figures count as equal
KNOWN = 1.5  # within this factor of 1 measured / predicted must lie with its error, for agreement to mean something
_LEFT = 0.1  # of what the float network knows beyond a guess: a network that keeps less is useless


def judge(
    policy: Policy,
    measured: Evaluation,
    evaluator: Evaluator,
    factor: float,
    cause: str = "",
) -> tuple[str, bool | None, bool]:
    """Compare what is predicted of a policy with what was measured.

    A prediction holds where it agrees with what was measured and the ratio of the two is known well enough for that to
    mean something: it lies with its error within `KNOWN` of 1. Where the two disagree by more than their errors, it
    still holds to within `factor`, and the verdict says that it is biased.

    Parameters
    ----------
    policy
        The policy, with its prediction.
    measured
        What was measured of the network under it.
    evaluator
        The evaluator that did.
    factor
        By what factor the prediction may be off where it is known to be off.
    cause
        Why the prediction would fail, see `known_cause`; empty where that is not known.

    Returns
    -------
    verdict
        A sentence without its full stop.
    holds
        Whether the prediction holds; None where there is nothing to compare, or it is not known well enough; never true
        of a useless network.
    useless
        Whether the network is no better than a guess.
    """
    verdict, holds, off = _prediction(policy, measured, factor, cause)
    why = _useless(measured, evaluator)
    if not why:
        return verdict, holds, False
    words = f"the network under this policy is useless, {why}: allow the layers more bits"
    if holds:
        return f"{words}; the prediction said so, {off}", False, True
    return f"{verdict}; {words}", holds, True


def ratio_of(predicted: float, measured: float) -> float:
    """Predicted over measured; 1 where both are 0."""
    if measured == 0:
        return 1.0 if predicted == 0 else predicted * math.inf
    return predicted / measured


def _useless(measured: Evaluation, evaluator: Evaluator) -> str:
    """Why the network is no better than a guess; empty where it is, or its outputs are no classes."""
    if evaluator.outputs.distribution.name != "categorical" or math.isnan(measured.kl):
        return ""
    classes, guess = evaluator.classes, evaluator.guessing
    if measured.kl >= (1 - _LEFT) * guess:
        return (
            f"its KL of {measured.kl:.3g} beside {guess:.3g} for giving all {classes} classes the same probability, "
            "whatever the input"
        )
    floating = evaluator.reference
    chance = 1 / classes
    known, error = floating.accuracy - chance, floating.accuracy_stderr
    if known > ERRORS * error and measured.accuracy + measured.accuracy_stderr - chance <= _LEFT * known:
        return f"its accuracy of {measured.accuracy:.2%} beside {chance:.2%} for guessing among {classes} classes"
    if measured.agreement + measured.agreement_stderr - chance <= _LEFT * (1 - chance):
        return (
            f"its answers agree with the float network's in {measured.agreement:.2%}, guesses among {classes} classes "
            f"in {chance:.2%}"
        )
    return ""


def _prediction(policy: Policy, measured: Evaluation, factor: float, cause: str) -> tuple[str, bool | None, str]:
    """The verdict on the prediction alone, whether it holds, and the figures."""
    predicted, kl = policy.expected.loss, measured.kl
    if policy.unit != measured.unit:
        return (
            f"no verdict: the prediction is in {policy.unit!r}, the measured KL in {measured.unit!r}, and the two "
            "cannot be compared",
            None,
            "",
        )
    if math.isnan(kl):
        return "no verdict: all positions of the batches are padding, so nothing was measured", None, ""
    if math.isnan(predicted):
        return "no verdict: the policy comes without a prediction; make it from a table", None, ""
    figures = f"predicted {predicted:.3g}, measured {kl:.3g} +- {measured.kl_stderr:.2g} {measured.unit}"
    own = 0.0 if math.isnan(policy.expected.stderr) else policy.expected.stderr
    seen = math.inf if math.isnan(measured.kl_stderr) else measured.kl_stderr
    agree = abs(kl - predicted) <= ERRORS * math.hypot(seen, own)
    if kl == predicted == 0:
        return f"the prediction holds within its error: {figures}", True, figures
    if not (predicted > 0 and 0 < kl < math.inf):
        if agree:
            return f"no verdict: the prediction is not known well enough to be judged ({figures})", None, figures
        return f"the prediction fails: {figures}; there is no factor, because one is not positive", False, figures
    ratio, error = kl / predicted, math.hypot(seen, kl / predicted * own) / predicted
    # What a ratio is compatible with says nothing where it is compatible with everything.
    most = max(factor, KNOWN)
    if agree and ratio + error <= most and ratio - error >= 1 / most:
        return f"the prediction holds within its error: {figures}", True, figures
    if agree:
        words = (
            f"no verdict: measured / predicted is {ratio:.2g} +- {error:.2g}, which is not known well enough to tell "
            f"whether the prediction holds ({figures}); give more batches, here or to the table, whichever error is "
            "the larger"
        )
        return words, None, figures
    off = max(ratio, 1 / ratio)
    side = "low" if ratio > 1 else "high"
    if off <= factor:
        words = (
            f"the prediction holds within a factor of {factor:g}: off by {off:.2g}x, too {side} by more than its error "
            f"({figures})"
        )
        return words, True, figures
    why = cause or (
        "its rounding is too coarse for a quadratic form, or the layers' errors add to each other: trust the measured "
        "figure, allow the layers more bits, or let confirm_table measure the cells that decide"
        if ratio > 1
        else "the table was measured on few samples, or on other data: trust the measured figure, and measure the "
        "table on more"
    )
    return f"the prediction fails, off by {off:.2g}x: {figures}; {why}", False, figures
