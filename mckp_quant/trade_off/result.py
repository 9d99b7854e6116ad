"""What measuring the points of a front gives back, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common.documents import plain

if TYPE_CHECKING:
    from ..evaluation.figures import Evaluation
    from ..policy.policy import Policy
    from .fronts import Front
    from .point import Point

ERRORS = 2  # standard errors to either side, beyond which a limit is kept or broken for sure


@dataclass(frozen=True, eq=False)
class Measured:
    """A point of a front, run on the network.

    Attributes
    ----------
    point
        The point.
    evaluation
        All that was measured.
    figure, stderr
        What is judged, such as the KL or the drop of the accuracy, and its standard error over the samples.
    """

    point: Point
    evaluation: Evaluation
    figure: float
    stderr: float

    @property
    def margin(self) -> float:
        """Half the width of the interval around the figure; 0 where its error is not known."""
        return ERRORS * self.stderr if self.stderr > 0 else 0.0

    def document(self) -> dict[str, Any]:
        """The same in plain types."""
        measured = self.evaluation
        return {
            "used": self.point.used,
            "predicted": self.point.predicted,
            "figure": self.figure,
            "stderr": self.stderr,
            "kl": measured.kl,
            "kl_stderr": measured.kl_stderr,
            "loss": measured.loss,
            "accuracy": measured.accuracy,
        }


@dataclass(frozen=True, eq=False)
class Smallest:
    """The smallest policy of a front that keeps a limit on what is measured.

    Attributes
    ----------
    best
        The point, and what was measured of it.
    metric
        What is limited: ``"KL"``, ``"loss"`` or ``"accuracy drop"``.
    limit
        The limit.
    possible, sure
        The interval that the samples leave: the smallest measured policy that keeps the limit if its figure is two
        standard errors better than measured, and the smallest that keeps it even if the figure is that much worse;
        None where no measured policy does.
    measured
        All points that were run, by rising use.
    front
        The front.
    evaluations
        How many points were run.
    verdict
        What came out, as a sentence.
    """

    best: Measured
    metric: str
    limit: float
    possible: Measured
    sure: Measured | None
    measured: tuple[Measured, ...]
    front: Front
    evaluations: int
    verdict: str

    @property
    def point(self) -> Point:
        """The point."""
        return self.best.point

    @property
    def policy(self) -> Policy:
        """Its policy."""
        return self.best.point.policy

    def document(self) -> dict[str, Any]:
        """The same in plain types, for JSON; nan is None."""
        document: dict[str, Any] = plain(
            {
                "verdict": self.verdict,
                "metric": self.metric,
                "limit": self.limit,
                "along": self.front.along,
                "counts": self.front.counts,
                "best": self.best.document(),
                "possible": self.possible.document(),
                "sure": None if self.sure is None else self.sure.document(),
                "samples": self.best.evaluation.samples,
                "evaluations": self.evaluations,
                "measured": [each.document() for each in self.measured],
                "policy": self.policy.document(),
            }
        )
        return document


@dataclass(frozen=True, eq=False)
class Selection:
    """The best of the points that were measured.

    Attributes
    ----------
    best
        The point of least KL.
    measured
        All points that were run, by rising use; `Measured.figure` is the KL.
    differences
        For each of them how much larger its KL is than that of the best, and the paired standard error of that; 0 and
        0 for the best itself.
    front
        The front.
    verdict
        What came out, as a sentence.
    """

    best: Measured
    measured: tuple[Measured, ...]
    differences: tuple[tuple[float, float], ...]
    front: Front
    verdict: str

    @property
    def policy(self) -> Policy:
        """The policy of the best point."""
        return self.best.point.policy

    @property
    def neighbours(self) -> tuple[Measured, ...]:
        """The measured points right below and above the best one."""
        at = self.measured.index(self.best)
        return self.measured[max(at - 1, 0) : at] + self.measured[at + 1 : at + 2]

    def document(self) -> dict[str, Any]:
        """The same in plain types, for JSON; nan is None."""
        pairs = zip(self.measured, self.differences, strict=True)
        document: dict[str, Any] = plain(
            {
                "verdict": self.verdict,
                "along": self.front.along,
                "counts": self.front.counts,
                "samples": self.best.evaluation.samples,
                "best": self.best.document(),
                "measured": [
                    {**each.document(), "above_best": above, "above_best_stderr": error}
                    for each, (above, error) in pairs
                ],
                "policy": self.policy.document(),
            }
        )
        return document
