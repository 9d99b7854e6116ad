"""What policies do on data that nobody has seen: every way to choose them, side by side, at equal size.

    python -m benchmarks.truth [--data FOLDER] [--network resnet20|chargpt|demo|all] [--averages 2.5,3,4]
        [--seeds 0] [--evaluations 50,200] [--evolution 0] [--work FOLDER] [--plan] [--output FILE]

FOLDER after --data is that of benchmarks/networks.py; without it only the demo network runs. For each network, average
number of bits and seed: uniform (where a whole number of bits has that size), HAWQ-V2 traces, empirical Fisher and
measured KL with the exact solver, squared weight error with greedy, Gauss-Newton with greedy, exact and with shrunk
interactions, `refine` with so many evaluations from both of these, and the evolutionary search `level_switch` with
--evolution evaluations (0: left out). A seed chooses the calibration inputs, the probes and what searches draw; the
inputs that judge are always the same, and in no calibration set.

Prints what it will cost first. Every policy that has been judged is kept in the --work folder, so a run that was
stopped goes on where it was. --plan prints the cost and ends. Weights only.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import mckp_quant as mq
from benchmarks.environment import environment
from benchmarks.environment import table as markdown_table
from benchmarks.networks import FILES, HELP, budget_bytes, load_networks
from mckp_quant import demo
from mckp_quant.evaluation import Evaluator, mean_and_error
from mckp_quant.files import write_text
from mckp_quant.truth.cross_layer import interactions
from mckp_quant.truth.quadratic import with_interactions
from mckp_quant.truth.refinement import refine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from mckp_quant.truth.quadratic import Interactions

FORMATS = "w2,w3,w4,w5,w6,w8"
# A rough count of what a method's measurement costs, in forward passes over the calibration inputs.
MEASURING = {
    "gauss_newton": 4,
    "empirical_fisher": 4,
    "hutchinson": 10,
    "weight_mse": 1,
    "measured_kl": 60,
    "interactions": 12,
}
TABLES = {
    "HAWQ trace + exact": ("hutchinson", "exact"),
    "empirical Fisher + exact": ("empirical_fisher", "exact"),
    "weight error + greedy": ("weight_mse", "greedy"),
    "Gauss-Newton + greedy": ("gauss_newton", "greedy"),
    "Gauss-Newton + exact": ("gauss_newton", "exact"),
    "measured KL + exact": ("measured_kl", "exact"),
}
REFERENCE = "Gauss-Newton + exact"
PAIRED = "Gauss-Newton + interactions"
PROBES_OF_INTERACTIONS = 4


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, a pool from which calibration inputs are drawn, and inputs to judge on."""

    name: str
    model: nn.Module
    pool: tuple[Tensor, Tensor]
    calibration: int
    batch: int
    held_out: list[tuple[Tensor, Tensor]]

    def drawn(self, seed: int) -> list[tuple[Tensor, Tensor]]:
        """The calibration batches of a seed."""
        picks = torch.randperm(len(self.pool[0]), generator=torch.Generator().manual_seed(seed))[: self.calibration]
        return _batched(self.pool[0][picks], self.pool[1][picks], self.batch)


def _batched(inputs: Tensor, targets: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def subject(name: str, data: Path | None) -> Subject:
    """Load a network and split its data."""
    if name == "demo":
        parts = [*zip(*demo.calibration(), strict=True)], [*zip(*demo.held_out(), strict=True)]
        (inputs, targets), (others, labels) = ([torch.cat(each) for each in part] for part in parts)
        # Judged on all held-out images and on calibration images that no seed draws.
        held = torch.cat([others, inputs[300:]]), torch.cat([labels, targets[300:]])
        return Subject("demo network", demo.model(), (inputs[:300], targets[:300]), 256, 32, _batched(*held, 100))
    assert data is not None
    networks = load_networks(data)
    if name == "resnet20":
        images, labels = networks.cifar10(data, "test")
        pool = images[:512], labels[:512]
        return Subject("ResNet-20", networks.resnet20(data), pool, 384, 32, _batched(images[512:], labels[512:], 101))
    inputs, targets = networks.shakespeare(data, "validation")
    judged = _batched(inputs[-512:], targets[-512:], 32)
    return Subject("character transformer", networks.chargpt(data), (inputs[:256], targets[:256]), 192, 16, judged)


class Laboratory:
    """One network and seed: tables are measured when they are first needed, and kept in the work folder."""

    def __init__(self, case: Subject, seed: int, work: Path) -> None:
        self.case = case
        self.seed = seed
        self._work = work / f"{case.name.replace(' ', '-')}-{seed}"
        self.batches = case.drawn(seed)

    @functools.cache  # noqa: B019  # a laboratory lives as long as the run
    def table(self, method: str) -> mq.SensitivityTable:
        """The table of a method."""
        path = self._work / f"{method}.json"
        if not path.exists():
            say(f"{self.case.name}, seed {self.seed}: measuring {method}")
            mq.measure(self.case.model, self.batches, formats=FORMATS, method=method, seed=self.seed).save(path)
        return mq.SensitivityTable.load(path)

    @functools.cache  # noqa: B019
    def interactions(self) -> Interactions:
        """The terms between layers; measured again in every run, from a few backward passes."""
        say(f"{self.case.name}, seed {self.seed}: measuring interactions")
        return interactions(
            self.case.model, self.batches, formats=FORMATS, probes=PROBES_OF_INTERACTIONS, seed=self.seed
        )

    def budget(self, average: Fraction) -> dict[str, int]:
        """The bytes of an average number of bits."""
        return {"weight_bytes": budget_bytes(self.table("gauss_newton").layers, average)}

    def checkpoint(self, name: str, average: Fraction) -> Path:
        """Where a search keeps what it measured."""
        return self._work / f"{name}-{float(average):g}.json"


def methods(lab: Laboratory, average: Fraction, evaluations: Sequence[int], evolution: int) -> Iterator[Method]:
    """Every way to choose a policy at a size."""
    budget = functools.partial(lab.budget, average)
    if average.denominator == 1 and f"w{average}" in FORMATS.split(","):
        yield Method("uniform", 0, lambda: mq.Policy.uniform(lab.table("gauss_newton"), f"w{average}"))
    for name, (estimator, solver) in TABLES.items():
        yield Method(name, 0, functools.partial(_solved, lab, budget, estimator, solver))
    yield Method(PAIRED, 0, lambda: _paired(lab, budget()).policy)
    for count in evaluations:
        yield Method(f"refined, {count}", count, functools.partial(_refined, lab, average, count, False))
        yield Method(f"interactions, refined, {count}", count, functools.partial(_refined, lab, average, count, True))
    if evolution:
        yield Method(f"evolution, {evolution}", evolution, functools.partial(_evolved, lab, average, evolution))


@dataclass(frozen=True, eq=False)
class Method:
    """A way to choose a policy, and how many passes over the calibration inputs it makes."""

    name: str
    passes: int
    choose: Callable[[], mq.Policy]


def _solved(lab: Laboratory, budget: Callable[[], dict[str, int]], estimator: str, solver: str) -> mq.Policy:
    return mq.allocate(lab.table(estimator), budget(), solver=solver, seed=lab.seed).policy


def _paired(lab: Laboratory, budget: dict[str, int]) -> mq.Allocation:
    table = lab.table("gauss_newton")
    return with_interactions(table, mq.allocate(table, budget), lab.interactions(), seconds=60.0, seed=lab.seed)


def _refined(lab: Laboratory, average: Fraction, count: int, paired: bool) -> mq.Policy:
    found = refine(
        lab.case.model,
        lab.table("gauss_newton"),
        mq.allocate(lab.table("gauss_newton"), lab.budget(average)),
        lab.batches,
        evaluations=count,
        interactions=lab.interactions() if paired else None,
        seed=lab.seed,
        checkpoint=lab.checkpoint("interactions" if paired else "refined", average),
    )
    say(f"  {found.verdict} ({found.stopped})")
    return found.policy


def _evolved(lab: Laboratory, average: Fraction, count: int) -> mq.Policy:
    from mckp_quant.search import LevelSwitch, search

    return search(
        lab.case.model,
        lab.table("gauss_newton"),
        lab.budget(average),
        lab.batches,
        method=LevelSwitch(generations=10**6),
        evaluations=count,
        seed=lab.seed,
        checkpoint=lab.checkpoint("evolution", average),
    ).policy


def planned(
    case: Subject, seeds: int, averages: Sequence[Fraction], evaluations: Sequence[int], evolution: int
) -> float:
    """Seconds that a network will take, from the time of one pass over one calibration batch."""
    inputs, _ = case.drawn(0)[0]
    with torch.no_grad():
        case.model(inputs)
        began = time.perf_counter()
        case.model(inputs)
        a_pass = (time.perf_counter() - began) * case.calibration / case.batch
    held = sum(len(targets) for _, targets in case.held_out) / case.calibration
    # Runs of `refine` with fewer evaluations are part of the longest one: they share what was measured.
    searching = 2 * max(evaluations, default=0) * 0.75 + evolution
    judging = (len(TABLES) + 2 + 2 * len(evaluations) + bool(evolution)) * held
    return seeds * a_pass * (sum(MEASURING.values()) + len(averages) * (searching + judging))


def judge(case: Subject, options: argparse.Namespace, kept: dict[str, Record], keep: Callable[[Record], None]) -> None:
    """Choose and judge every policy of a network that has not been judged."""
    evaluator = Evaluator(case.model, case.held_out)
    for seed in options.seeds:
        lab = Laboratory(case, seed, options.work)
        for average in options.averages:
            for method in methods(lab, average, options.evaluations, options.evolution):
                key = f"{case.name}|{float(average):g}|{seed}|{method.name}"
                if key in kept:
                    continue
                began = time.process_time()
                policy = method.choose()
                seconds = time.process_time() - began
                found = evaluator.evaluate(policy)
                record = Record(
                    key=key,
                    weight_bytes=evaluator.simulator.weight_bytes(policy),
                    predicted=policy.predicted if policy.unit == found.unit else None,
                    loss=found.loss,
                    accuracy=found.accuracy,
                    seconds=seconds,
                    kl=found.totals[0].tolist(),
                    counts=found.counts[0].tolist(),
                    formats=[entry.name for entry in policy.formats],
                )
                kept[key] = record
                keep(record)
                say(f"{key}: held-out KL {found.kl:.4g} +- {found.kl_stderr:.2g} in {seconds:.0f} s")


@dataclass(frozen=True)
class Record:
    """A judged policy: figures, and the KL of every held-out input."""

    key: str
    weight_bytes: int
    predicted: float | None
    loss: float
    accuracy: float
    seconds: float
    kl: list[float]
    counts: list[float]
    formats: list[str]


HEADINGS = (
    "network, average bits, policy",
    "seeds",
    "predicted KL",
    "held-out KL",
    "less that of exact",
    "top-1 %",
    "CPU s",
)


def summary(kept: dict[str, Record]) -> str:
    """One line for each network, size and method: means over seeds, and paired differences."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for key, record in kept.items():
        name, average, _, method = key.split("|")
        groups.setdefault((name, average, method), []).append(record)
    rows = []
    for (name, average, method), records in groups.items():
        kl = np.mean([mean_and_error(np.array(each.kl), np.array(each.counts))[0] for each in records])
        apart, errors = [], []
        for each in records:
            other = kept.get("|".join([name, average, each.key.split("|")[2], REFERENCE]))
            if other is not None:
                found = mean_and_error(np.array(each.kl) - np.array(other.kl), np.array(each.counts))
                apart.append(found[0])
                errors.append(found[1])
        predicted = [each.predicted for each in records if each.predicted is not None and np.isfinite(each.predicted)]
        rows.append(
            (
                f"{name}, {average}, {method}",
                str(len(records)),
                f"{np.mean(predicted):.4f}" if predicted else "",
                f"{kl:.4f}",
                "" if method == REFERENCE or not apart else f"{np.mean(apart):+.4f} ± {np.mean(errors):.4f}",
                f"{100 * np.mean([each.accuracy for each in records]):.1f}",
                f"{np.mean([each.seconds for each in records]):.0f}",
            )
        )
    return markdown_table(HEADINGS, rows)


def load(path: Path) -> dict[str, Record]:
    """What was judged before; a line that was cut off is judged again."""
    kept: dict[str, Record] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = Record(**json.loads(line))
            except (json.JSONDecodeError, TypeError):
                continue
            kept[record.key] = record
    return kept


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    def numbers(kind: Callable[[str], object]) -> Callable[[str], list[object]]:
        return lambda text: [kind(part) for part in text.split(",") if part]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the networks and their data")
    parser.add_argument("--network", choices=["resnet20", "chargpt", "demo", "all"], default="all")
    parser.add_argument("--averages", type=numbers(Fraction), default=[Fraction("2.5"), Fraction(3), Fraction(4)])
    parser.add_argument("--seeds", type=numbers(int), default=[0])
    parser.add_argument("--evaluations", type=numbers(int), default=[50, 200], help="of refine")
    parser.add_argument("--evolution", type=int, default=0, help="evaluations of the evolutionary search")
    parser.add_argument("--work", type=Path, default=Path("truth-work"), help="where results are kept")
    parser.add_argument("--plan", action="store_true", help="print the cost and end")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a markdown file for the table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    torch.set_num_threads(1)
    wanted = ["resnet20", "chargpt", "demo"] if options.network == "all" else [options.network]
    if options.data is None:
        if options.network in {"resnet20", "chargpt"}:
            say(f"--data is missing.\n{HELP}")
            return 2
        wanted = ["demo"]
    missing = [file for name in wanted for file in FILES.get(name, ()) if not (options.data / file).is_file()]
    if missing:
        say(f"--data {options.data} lacks {', '.join(missing)}.\n{HELP}")
        return 2
    cases = [subject(name, options.data) for name in wanted]
    settings = len(options.seeds), options.averages, options.evaluations, options.evolution
    seconds = [planned(case, *settings) for case in cases]
    for case, own in zip(cases, seconds, strict=True):
        judging = sum(len(targets) for _, targets in case.held_out)
        say(f"{case.name}: about {own / 60:.0f} minutes of one core, {judging} inputs judge")
    say(f"together about {sum(seconds) / 60:.0f} minutes, less what {options.work} already holds")
    if options.plan:
        return 0
    path = options.work / "judged.jsonl"
    options.work.mkdir(parents=True, exist_ok=True)
    kept = load(path)
    with path.open("a", encoding="utf-8") as file:

        def keep(record: Record) -> None:
            file.write(json.dumps(record.__dict__) + "\n")
            file.flush()

        for case in cases:
            judge(case, options, kept, keep)
    where = environment(("numpy", "torch"))
    text = f"{where['date']}, {where['versions']}, 1 thread.\n\n{summary(kept)}\n"
    print(text, end="")
    if options.output is not None:
        write_text(options.output, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
