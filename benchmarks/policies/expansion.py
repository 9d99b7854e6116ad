"""Predictions of what single changes of a quantised network do on new data: by the table, an expansion, or trials.

    python -m benchmarks.policies.expansion [--data FOLDER] [--network NAME,NAME] [--averages 2.5,3,4] [--seeds 0,1]
        [--work FOLDER] [--page docs/truth.md]

It starts from the exact policy of each network, size and seed. One layer at a time gets its next narrower and next
wider format, and the network runs on held-out inputs. These changes of the KL are compared with those that the table
predicts, those that one expansion around the policy predicts (7 passes over the calibration inputs), and those that
were measured on the calibration inputs, change by change. FOLDER and NAME are those of `benchmarks.policies.held_out`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.refinement.expansion import EXPANSION_PASSES, Expander
from mckp_quant.refinement.racing import importance_of

from ..command_line import Command, say
from ..environment import environment
from ..pages import RESULTS, fill, table
from ..ranks import rank_correlation
from .held_out_methods import Laboratory, chosen_names, load_case

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .held_out_methods import Case

PREDICTIONS = ("table", "expansion", "measured on calibration")


def study(case: Case, seed: int, average: Fraction, work: Path) -> tuple[dict[str, float], int]:
    """The rank correlation of each prediction with what held-out inputs say, and how many changes there were."""
    lab = Laboratory(case, seed, work)
    measured_table = lab.table("gauss_newton")
    made = mq.allocate(measured_table, lab.budget(average))
    problem, labels = made.problem, made.problem.label
    assert made.solution.choice is not None
    choice = problem.position(made.solution.choice)
    near = np.flatnonzero(np.abs(labels - labels[choice[problem.group]]) == 1)
    changes = []
    for evaluator in (own := Evaluator(case.model, lab.batches), Evaluator(case.model, case.held_out)):
        start = evaluator.evaluate(made.policy)
        changes.append(
            np.array(
                [
                    evaluator.evaluate(_policy(measured_table, made, choice, position)).kl - start.kl
                    for position in near.tolist()
                ]
            )
        )
    importance = importance_of([(each[0, 0], each[1, 0]) for each in _scores(own, made.policy)])
    expander = Expander(own, measured_table, problem, made.index, range(len(own.sizes)), seed)
    expanded = expander.around(choice, own.simulator.apply(made.policy), importance).change()
    by_table = problem.value - problem.value[choice[problem.group]]
    predicted = dict(zip(PREDICTIONS, (by_table[near], expanded[near], changes[0]), strict=True))
    return {name: rank_correlation(each, changes[1]) for name, each in predicted.items()}, len(near)


def _scores(evaluator: Evaluator, policy: mq.Policy) -> list[NDArray[np.float64]]:
    return evaluator.on_batches(evaluator.simulator.apply(policy), range(len(evaluator.sizes)))


def _policy(of: mq.SensitivityTable, made: mq.Allocation, choice: NDArray[np.int64], position: int) -> mq.Policy:
    other = choice.copy()
    other[made.problem.group[position]] = position
    return mq.Policy.on_table(of, made.index.policy_formats(made.problem.label[other]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0."""
    command = Command(__doc__)
    command.folder("--data", help="the networks and their data")
    command.several("--network", str, None, metavar="NAME,NAME")
    command.several("--averages", Fraction, "2.5,3,4", "bits a weight")
    command.several("--seeds", int, "0,1")
    command.folder("--work", RESULTS / "truth", "where tables are kept")
    command.file("--page", help="the page to fill; by default the table is only printed")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    rows = []
    for name in chosen_names(options.network, options.data):
        case = load_case(name, options.data, None)
        for average in options.averages:
            found, counts = [], []
            for seed in options.seeds:
                say(f"{case.name}, {float(average):g} bits, seed {seed}")
                correlations, count = study(case, seed, average, options.work)
                found.append(correlations)
                counts.append(count)
            means = [f"{np.mean([each[which] for each in found]):.2f}" for which in PREDICTIONS]
            passes = f"{np.mean(counts):.0f}"
            rows.append((f"{case.name}, {float(average):g} bits", *means, f"{EXPANSION_PASSES:.0f}", passes))
    headings = ("rank correlation with held-out inputs", *PREDICTIONS, "passes of expansion", "of measuring")
    where = environment(("torch", "numpy"))
    seeds = ",".join(map(str, options.seeds))
    text = f"{table(headings, rows)}\n\n{where['date']}, {where['versions']}; seeds {seeds}."
    print(text)
    if options.page is not None:
        fill(options.page, {"expansion": text})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
