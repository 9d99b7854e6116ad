"""The smallest policy under a limit on what is measured, against an exhaustive walk of the front on the same images.

    python -m benchmarks.policies.smallest [--network demo|resnet20] [--data FOLDER] [--batches N] [--first N]
        [--last N]

Every point of the front is run on the held-out images once; then the search of `mckp_quant.smallest` is replayed on
what was measured, for some 70 limits. Prints for each kind of limit how much larger what it found was, at worst, and
how many runs it took. FOLDER is that of `benchmarks.policies.networks`; the demo needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.trade_off.limits import limit_of
from mckp_quant.trade_off.result import Measured
from mckp_quant.trade_off.shrinking import Search
from mckp_quant.trade_off.walking import MOST_POINTS

from ..command_line import Command, say
from .networks import FILES, FORMATS, load_networks, require_data, resnet20

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mckp_quant.evaluation.figures import Evaluation
    from mckp_quant.trade_off.limits import Limit
    from mckp_quant.trade_off.point import Point

_RUNS = 40


@dataclass(frozen=True)
class Walked:
    """A front of which every point was run."""

    points: tuple[Point, ...]
    evaluations: tuple[Evaluation, ...]
    reference: Evaluation


class Replay:
    """Gives what was measured already in the place of running a policy, and notes what was asked for."""

    def __init__(self, walked: Walked, limit: Limit) -> None:
        self.known: dict[int, Measured] = {}
        self.step = limit.step(walked.reference)
        self._walked = walked
        self._limit = limit

    def at(self, position: int) -> Measured:
        own = self._walked.evaluations[position]
        self.known[position] = Measured(
            self._walked.points[position], own, *self._limit.of(own, self._walked.reference)
        )
        return self.known[position]


def limits(reference: Evaluation) -> dict[str, list[Limit]]:
    """What is asked: limits from far above what the samples can tell to far below."""
    return {
        "KL": [limit_of(float(most), None, None) for most in np.geomspace(0.001, 0.3, 25)],
        "loss": [limit_of(None, reference.loss + float(more), None) for more in np.linspace(0.005, 0.2, 25)],
        "accuracy drop": [limit_of(None, None, float(most)) for most in np.arange(0.0025, 0.06, 0.0025)],
        "accuracy drop of 1%": [limit_of(None, None, "1%")],
    }


def compare(walked: Walked, limit: Limit) -> tuple[float, int] | None:
    """How much larger the policy found is than that of the walk, and how many were run; None where it says nothing."""
    figures = np.array([limit.of(each, walked.reference)[0] for each in walked.evaluations])
    keep = np.flatnonzero(figures <= limit.most)
    if not len(keep) or keep[0] == 0:
        return None
    replay: Any = Replay(walked, limit)
    uses = [each.used for each in walked.points]
    search = Search(replay, uses, limit.most, _RUNS, mq.RunOptions())
    search.find()
    return uses[search.first(search.keeps)] / uses[keep[0]], search.spent


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0."""
    command = Command(__doc__)
    command.choice("--network", ["demo", "resnet20"], "demo")
    command.folder("--data", help="the networks and their data")
    command.whole("--batches", None, "batches of the calibration data that the table is measured on; by default all")
    command.whole("--first", 0, "the first point of the front that is run", at_least=0)
    command.whole("--last", MOST_POINTS, "the last one")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if options.network == "demo":
        from mckp_quant import demo

        model, calibration, held_out = demo.model(), demo.calibration(), demo.held_out()
    else:
        require_data(options.data, FILES["resnet20"])
        study = resnet20(load_networks(options.data), options.data)
        model, calibration, held_out = study.model, study.calibration, study.held_out
    table = mq.measure(model, calibration[: options.batches], formats=FORMATS)
    points = mq.front(table).points[options.first : options.last + 1]
    evaluator = Evaluator(model, held_out)
    evaluations = []
    for done, point in enumerate(points, 1):
        evaluations.append(evaluator.evaluate(point.policy))
        if done % 20 == 0:
            say(f"{done} of {len(points)} points were run")
    walked = Walked(points, tuple(evaluations), evaluator.reference)
    print(f"{len(points)} points of the front, {evaluator.reference.samples} samples, at most {_RUNS} runs\n")
    print("| limit on | limits | bytes over those of an exhaustive walk, at worst | runs, mean | runs, most |")
    print("|---|---|---|---|---|")
    for name, asked in limits(walked.reference).items():
        found = [each for each in (compare(walked, limit) for limit in asked) if each is not None]
        if found:
            ratios, runs = zip(*found, strict=True)
            print(f"| {name} | {len(found)} | {max(ratios):.3f}x | {np.mean(runs):.1f} | {max(runs)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
