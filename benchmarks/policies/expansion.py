"""What single changes of a quantised network do on new data, and what foretells it: table, expansion, or trying them.

    python -m benchmarks.policies.expansion [--data FOLDER] [--network NAME,NAME] [--averages 2.5,3,4] [--seeds 0,1]
        [--work FOLDER] [--page docs/truth.md]

For the exact policy of each network, size and seed every layer is put into its next narrower and next wider format,
alone, and the network is run on held-out inputs. Set against these changes of the KL are those that the table
predicts, those that one expansion around the policy predicts (7 passes over the calibration inputs), and those that
were measured on the calibration inputs, change by change. FOLDER and NAME are those of `benchmarks.policies.truth`.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import mckp_quant as mq
from benchmarks.environment import between_markers, environment, table
from benchmarks.policies.networks import FILES, HELP
from benchmarks.policies.truth import RESULTS
from benchmarks.policies.truth_methods import Laboratory, say, subject
from mckp_quant.common.documents import write_text
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.refinement.expansion import EXPANSION_PASSES, Expander
from mckp_quant.refinement.racing import importance_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.policies.truth_methods import Subject

FORETOLD = ("table", "expansion", "measured on calibration")


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's, without ties."""
    return float(np.corrcoef(first.argsort().argsort(), second.argsort().argsort())[0, 1])


def study(case: Subject, seed: int, average: Fraction, work: Path) -> tuple[dict[str, float], int]:
    """The rank correlation with what held-out inputs say, of each way to foretell it; how many changes there were."""
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
    foretold = dict(zip(FORETOLD, (by_table[near], expanded[near], changes[0]), strict=True))
    return {name: rank_correlation(each, changes[1]) for name, each in foretold.items()}, len(near)


def _scores(evaluator: Evaluator, policy: mq.Policy) -> list[NDArray[np.float64]]:
    return evaluator.on_batches(evaluator.simulator.apply(policy), range(len(evaluator.sizes)))


def _policy(of: mq.SensitivityTable, made: mq.Allocation, choice: NDArray[np.int64], position: int) -> mq.Policy:
    other = choice.copy()
    other[made.problem.group[position]] = position
    return mq.Policy.on_table(of, made.index.policy_formats(made.problem.label[other]))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the networks and their data")
    parser.add_argument("--network", default="", metavar="NAMES")
    parser.add_argument("--averages", default="2.5,3,4")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--work", type=Path, default=RESULTS.with_suffix(""), help="where tables are kept")
    parser.add_argument("--page", type=Path, help="the page to fill; by default the table is only printed")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    names = options.network or ("demo" if options.data is None else "resnet20,chargpt,demo")
    files = [file for name in names.split(",") for file in FILES.get(name, ())]
    if options.data is not None and (missing := [file for file in files if not (options.data / file).is_file()]):
        say(f"--data {options.data} lacks {', '.join(missing)}.\n{HELP}")
        return 2
    rows = []
    for name in names.split(","):
        case = subject(name, options.data, None)
        for average in map(Fraction, options.averages.split(",")):
            found, counts = [], []
            for seed in map(int, options.seeds.split(",")):
                say(f"{case.name}, {float(average):g} bits, seed {seed}")
                correlations, count = study(case, seed, average, options.work)
                found.append(correlations)
                counts.append(count)
            means = [f"{np.mean([each[which] for each in found]):.2f}" for which in FORETOLD]
            passes = f"{np.mean(counts):.0f}"
            rows.append((f"{case.name}, {float(average):g} bits", *means, f"{EXPANSION_PASSES:.0f}", passes))
    headings = ("rank correlation with held-out inputs", *FORETOLD, "passes of expansion", "of measuring")
    where = environment(("torch", "numpy"))
    text = f"{table(headings, rows)}\n\n{where['date']}, {where['versions']}; seeds {options.seeds}."
    print(text)
    if options.page is not None:
        write_text(options.page, between_markers(options.page, "expansion", text))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
