"""What policies do on data that nobody has seen: every way to choose them, side by side, at equal size.

    python -m benchmarks.policies.truth plan|run [--data FOLDER] [--network NAME,NAME] [--averages 2.5,3,4] [--seeds 0,1,2]
        [--evaluations 50,200] [--evolution 0] [--calibration N] [--methods TEXT,TEXT] [--work FOLDER]
    python -m benchmarks.policies.truth page [--csv FILE] [--page docs/truth.md]

FOLDER after --data is that of benchmarks/policies/networks.py; without it only the demo network runs. For each network, average
number of bits and seed: uniform (where a format has that size), HAWQ-V2 traces, empirical Fisher and measured KL with
the exact solver, squared weight error with greedy, Gauss-Newton with greedy, exact and with shrunk interactions,
`refine` with so many evaluations, and the evolutionary search `level_switch` with --evolution evaluations (0: left
out). A seed chooses the calibration inputs, the probes and what searches draw; the inputs that judge are always the
same, and in no calibration set.

`run` prints what it will cost first, keeps every policy that it has judged in the --work folder, and goes on where it
was stopped; at its end it writes the --csv file, which `page` puts into words.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.environment import environment
from benchmarks.policies.networks import FILES, FORMATS, HELP
from benchmarks.policies.truth_methods import (
    EXACT,
    MEASURING,
    SUBJECTS,
    TABLES,
    UNIFORM,
    Laboratory,
    methods,
    say,
    subject,
)
from mckp_quant.evaluation.evaluator import Evaluator, mean_and_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.policies.truth_methods import Subject

RESULTS = Path(__file__).parents[1] / "results" / "truth.csv"
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


def planned(
    case: Subject, seeds: int, averages: Sequence[Fraction], evaluations: Sequence[int], evolution: int
) -> float:
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


def judge(case: Subject, options: argparse.Namespace, kept: Kept, keep: Callable[[Record], None]) -> None:
    """Choose and judge every policy of a network that has not been judged."""
    evaluator = Evaluator(case.model, case.held_out)
    where = environment(("torch", "numpy"))
    for seed in options.seeds:
        lab = Laboratory(case, seed, options.work)
        for average in options.averages:
            for method in methods(lab, average, options.evaluations, options.evolution):
                key = case.name, f"{float(average):g}", seed, method.name, case.calibration
                if key in kept or not any(text in method.name for text in options.methods):
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


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    def several(kind: Callable[[str], object]) -> Callable[[str], list[object]]:
        return lambda text: [kind(part) for part in text.split(",") if part]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["plan", "run", "page"])
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the networks and their data")
    parser.add_argument("--network", type=several(str), metavar="NAMES", help=f"some of {', '.join(SUBJECTS)}")
    parser.add_argument("--averages", type=several(Fraction), default=[Fraction("2.5"), Fraction(3), Fraction(4)])
    parser.add_argument("--seeds", type=several(int), default=[0, 1, 2])
    parser.add_argument("--evaluations", type=several(int), default=[50, 200], help="of refine")
    parser.add_argument("--evolution", type=int, default=0, help="evaluations of the evolutionary search")
    parser.add_argument("--calibration", type=int, help="calibration inputs; by default 256, for text 128 sequences")
    parser.add_argument("--methods", type=several(str), default=[""], help="those whose names contain one of these")
    parser.add_argument("--work", type=Path, default=RESULTS.with_suffix(""), help="where results are kept")
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=Path("docs/truth.md"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.action == "page":
        from benchmarks.policies.truth_page import write_page

        write_page(options.csv, options.page)
        return 0
    torch.set_num_threads(1)
    wanted = options.network or (["demo"] if options.data is None else ["resnet20", "chargpt", "demo"])
    if unknown := [name for name in wanted if name not in SUBJECTS]:
        say(f"--network {unknown[0]} is unknown: give some of {', '.join(SUBJECTS)}")
        return 2
    files = [file for name in wanted for file in FILES.get(name.removesuffix("-inputs"), ())]
    if files and options.data is None:
        say(f"--data is missing.\n{HELP}")
        return 2
    if missing := [file for file in files if not (options.data / file).is_file()]:
        say(f"--data {options.data} lacks {', '.join(missing)}.\n{HELP}")
        return 2
    try:
        cases = [subject(name, options.data, options.calibration) for name in wanted]
    except ValueError as error:
        say(f"--calibration {options.calibration} is too much: {error}")
        return 2
    for case in (each for each in cases if each.formats != FORMATS):
        # Where inputs are rounded too, the budgets are those of a uniform format.
        sizeless = [average for average in options.averages if case.uniform(average) is None]
        if sizeless:
            say(f"--averages {float(sizeless[0]):g}: {case.name} has no uniform format of that size in {case.formats}")
            return 2
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


if __name__ == "__main__":
    raise SystemExit(main())
