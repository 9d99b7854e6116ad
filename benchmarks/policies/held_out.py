"""Ways to choose a policy, compared at equal size by what their policies do on held-out data.

    python -m benchmarks.policies.held_out plan|run [--data FOLDER] [--network NAME,NAME] [--averages 2.5,3,4]
        [--seeds 0,1,2] [--evaluations 50,200] [--evolution 0] [--calibration N] [--methods TEXT,TEXT] [--work FOLDER]
    python -m benchmarks.policies.held_out page [--csv FILE] [--page docs/truth.md]

FOLDER after --data is that of `benchmarks.policies.networks`; without it only the demo network runs. For each network,
average number of bits and seed it compares: uniform (where a format has that size); HAWQ-V2 traces, empirical Fisher
and measured KL with the exact solver; squared weight error with greedy; Gauss-Newton with greedy, with the exact solver
and with shrunk interactions; `refine` with each number of evaluations; and the evolutionary search `level_switch` with
--evolution evaluations (0 leaves it out). A seed chooses the calibration inputs, the probes and what searches draw. The
inputs that judge are always the same, and in no calibration set.

`run` prints first what it will cost, keeps every policy that it has judged in the --work folder, and goes on where it
was stopped. At its end it writes the --csv file, from which `page` writes the tables.
"""

from __future__ import annotations

import csv
import json
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch

from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.evaluation.figures import mean_and_error

from ..command_line import Command, WrongInput, say
from ..environment import environment
from ..pages import DOCS, RESULTS
from .held_out_methods import CASES, EXACT, MEASURING, TABLES, UNIFORM, Laboratory, chosen_names, load_case, methods
from .held_out_page import write_page
from .networks import FORMATS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .held_out_methods import Case

FIELDS = (
    *("network", "average", "seed", "method", "calibration", "evaluations", "seconds", "weight_bytes", "predicted"),
    *("kl", "kl_stderr", "over_exact", "over_exact_stderr", "over_uniform", "over_uniform_stderr", "loss", "accuracy"),
    *("formats", "date", "versions", "processor"),
)


@dataclass(frozen=True)
class Record:
    """A judged policy: figures, and the KL of every held-out input."""

    network: str
    average: str
    seed: int
    method: str
    calibration: int
    evaluations: float
    seconds: float
    weight_bytes: int
    predicted: float | None
    loss: float
    accuracy: float
    kl: list[float]
    counts: list[float]
    formats: list[str]
    date: str
    versions: str
    processor: str

    @property
    def key(self) -> tuple[str, str, int, str, int]:
        """What tells it from all others."""
        return self.network, self.average, self.seed, self.method, self.calibration


Kept = dict[tuple[str, str, int, str, int], Record]


def planned(case: Case, seeds: int, averages: Sequence[Fraction], evaluations: Sequence[int], evolution: int) -> float:
    """Seconds that a network will take at most, from the time of one pass over one calibration batch."""
    inputs, _ = case.drawn(0)[0]
    with torch.no_grad():
        case.model(inputs)
        began = time.perf_counter()
        case.model(inputs)
        a_pass = (time.perf_counter() - began) * case.calibration / case.batch
    held = sum(len(targets) for _, targets in case.held_out) / case.calibration
    # Runs of `refine` with fewer evaluations are part of the longest one: they share what was measured.
    searching = max(evaluations, default=0) + evolution
    judging = (len(TABLES) + 2 + len(evaluations) + bool(evolution)) * held
    cells = 20 * len(case.formats.split(","))  # of the table of measured KL, for some twenty layers
    return seeds * a_pass * (sum(MEASURING.values()) + cells + len(averages) * (searching + judging))


def judge(case: Case, options: argparse.Namespace, kept: Kept, keep: Callable[[Record], None]) -> None:
    """Choose and judge every policy of a network that has not been judged."""
    evaluator = Evaluator(case.model, case.held_out)
    where = environment(("torch", "numpy"))
    for seed in options.seeds:
        lab = Laboratory(case, seed, options.work)
        for average in options.averages:
            for method in methods(lab, average, options.evaluations, options.evolution):
                key = case.name, f"{float(average):g}", seed, method.name, case.calibration
                if key in kept or (options.methods and not any(text in method.name for text in options.methods)):
                    continue
                began = time.process_time()
                policy, evaluations = method.choose()
                seconds = time.process_time() - began
                found = evaluator.evaluate(policy)
                record = Record(
                    *key,
                    evaluations=evaluations,
                    seconds=round(seconds, 2),
                    weight_bytes=evaluator.simulator.weight_bytes(policy),
                    predicted=policy.predicted if policy.unit == found.unit else None,
                    loss=found.loss,
                    accuracy=found.accuracy,
                    kl=found.totals[0].tolist(),
                    counts=found.counts[0].tolist(),
                    formats=[entry.name for entry in policy.formats],
                    date=where["date"],
                    versions=where["versions"],
                    processor=where["processor"],
                )
                keep(record)
                say(f"{key}: held-out KL {found.kl:.4g} +- {found.kl_stderr:.2g} in {seconds:.0f} s")


def rows(kept: Kept) -> list[dict[str, object]]:
    """The lines of the results file: every policy, and its paired differences from exact and uniform."""
    made = []
    for record in kept.values():
        row: dict[str, object] = {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        row["kl"], row["kl_stderr"] = mean_and_error(np.array(record.kl), np.array(record.counts))
        row["formats"] = " ".join(record.formats)
        for name, method in (("exact", EXACT), ("uniform", UNIFORM)):
            other = kept.get((record.network, record.average, record.seed, method, record.calibration))
            if other is not None:
                apart = np.array(record.kl) - np.array(other.kl)
                row[f"over_{name}"], row[f"over_{name}_stderr"] = mean_and_error(apart, np.array(record.counts))
        made.append(row)
    return sorted(made, key=lambda row: [str(row[name]) for name in ("network", "calibration", "average", "seed")])


def write(path: Path, kept: Kept) -> None:
    """Write the results file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(kept))


def load(path: Path) -> Kept:
    """What was judged before; a line that was cut off is judged again."""
    kept: Kept = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = Record(**json.loads(line))
            except (json.JSONDecodeError, TypeError):
                continue
            kept[record.key] = record
    return kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what a run costs, run, or write the page; 0."""
    command = Command(__doc__, ("plan", "run", "page"))
    command.folder("--data", help="the networks and their data")
    command.several("--network", str, None, f"some of {', '.join(CASES)}", "NAME,NAME")
    command.several("--averages", Fraction, "2.5,3,4", "bits a weight")
    command.several("--seeds", int, "0,1,2")
    command.several("--evaluations", int, "50,200", "of refine")
    command.whole("--evolution", 0, "evaluations of the evolutionary search", at_least=0)
    command.whole("--calibration", None, "calibration inputs; by default 256, for text 128 sequences")
    command.several("--methods", str, None, "those whose names contain one of these", "TEXT,TEXT")
    command.folder("--work", RESULTS / "truth", "where results are kept")
    command.file("--csv", RESULTS / "truth.csv", "the results")
    command.file("--page", DOCS / "truth.md", "the page to fill")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if options.action == "page":
        write_page(options.csv, options.page)
        return 0
    torch.set_num_threads(1)
    cases = _cases(options)
    settings = len(options.seeds), options.averages, options.evaluations, options.evolution
    seconds = [planned(case, *settings) for case in cases]
    for case, own in zip(cases, seconds, strict=True):
        judging = sum(len(targets) for _, targets in case.held_out)
        say(f"{case.name}: at most about {own / 60:.0f} minutes of one core, {judging} inputs judge")
    say(f"together about {sum(seconds) / 60:.0f} minutes, less what {options.work} already holds")
    if options.action == "plan":
        return 0
    path = options.work / "judged.jsonl"
    options.work.mkdir(parents=True, exist_ok=True)
    kept = load(path)
    with path.open("a", encoding="utf-8") as file:

        def keep(record: Record) -> None:
            kept[record.key] = record
            file.write(json.dumps(record.__dict__) + "\n")
            file.flush()

        for case in cases:
            judge(case, options, kept, keep)
    write(options.csv, kept)
    return 0


def _cases(options: argparse.Namespace) -> list[Case]:
    """The networks that were asked for, with their data."""
    names = chosen_names(options.network, options.data)
    try:
        cases = [load_case(name, options.data, options.calibration) for name in names]
    except ValueError as error:
        raise WrongInput(f"--calibration {options.calibration} is too much: {error}") from error
    for case in (each for each in cases if each.formats != FORMATS):
        # Where inputs are rounded too, the budgets are those of a uniform format.
        for average in options.averages:
            if case.uniform(average) is None:
                raise WrongInput(
                    f"--averages {float(average):g}: {case.name} has no uniform format of that size in {case.formats}"
                )
    return cases


if __name__ == "__main__":
    raise SystemExit(main())
