"""What is limited, and how it is read off what was measured; wrong limits are refused before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..common.amounts import read
from ..common.checks import check_least
from ..errors import InvalidInput
from .result import ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..common.amounts import Amount
    from ..evaluation.figures import Evaluation

Figure = tuple[float, float]
_ACCURACY = 2  # the row of accuracies in the scores of an evaluation


@dataclass(frozen=True)
class Limit:
    """A limit on what is measured.

    Attributes
    ----------
    metric
        What is limited, in words.
    most
        The limit.
    counted
        Whether the figure counts hits, so that it moves in steps of one.
    of
        From an evaluation and that of the float network to the figure and its standard error.
    """

    metric: str
    most: float
    of: Callable[[Evaluation, Evaluation], Figure]
    counted: bool = False

    def step(self, reference: Evaluation) -> float:
        """The least by which the figure can move on these samples; 0 where it moves smoothly."""
        return 1 / float(reference.counts[_ACCURACY].sum()) if self.counted else 0.0


def limit_of(kl_at_most: float | None, loss_at_most: float | None, accuracy_drop_at_most: Amount | None) -> Limit:
    """The one limit that is given.

    Parameters
    ----------
    kl_at_most, loss_at_most, accuracy_drop_at_most
        As for `smallest`.

    Returns
    -------
    limit
        The limit.

    Raises
    ------
    InvalidInput
        When none or several are given, or a number cannot be used.
    """
    given = {
        "kl_at_most": kl_at_most,
        "loss_at_most": loss_at_most,
        "accuracy_drop_at_most": accuracy_drop_at_most,
    }
    named = [name for name, amount in given.items() if amount is not None]
    if len(named) != 1:
        raise InvalidInput(
            f"{'no limit is given' if not named else f'{len(named)} limits are given'}: give one of "
            "kl_at_most=, loss_at_most= and accuracy_drop_at_most="
        )
    if accuracy_drop_at_most is not None:
        drop = read("accuracy_drop_at_most", accuracy_drop_at_most)
        if drop.of(1) >= 1:
            raise InvalidInput(
                f"accuracy_drop_at_most is {accuracy_drop_at_most!r}: write 0.01 or '1%' for one percentage point"
            )
        return Limit("accuracy drop", float(drop.of(1)), _drop, counted=True)
    check_least(named[0], given[named[0]], 0)
    if kl_at_most is not None:
        return Limit("KL", float(kl_at_most), lambda own, _: (own.kl, own.kl_stderr))
    assert loss_at_most is not None
    return Limit("loss", float(loss_at_most), lambda own, _: (own.loss, own.loss_stderr))


def _drop(own: Evaluation, reference: Evaluation) -> Figure:
    """How much less accurate than the float network, sample by sample: both find the same ones hard.

    Where all answers are the same, the samples leave room for a drop of 3 / n (the rule of three: Hanley and
    Lippman-Hand, 1983, *If nothing goes wrong, is everything all right?*), and the error is never below that.
    """
    from ..evaluation.figures import mean_and_error

    lost = reference.totals[_ACCURACY] - own.totals[_ACCURACY]
    drop, stderr = mean_and_error(lost, own.counts[_ACCURACY])
    return drop, max(stderr, 3 / ERRORS / own.samples)
