"""Holds the speed of today against that of the last committed figures, as ratios within one run.

    python -m benchmarks.kernels.kept check [--figures benchmarks/results/kept.csv] [--rounds 5]
    python -m benchmarks.kernels.kept write [--figures benchmarks/results/kept.csv] [--rounds 5]

Each figure is the CPU time of something of ours over that of a yardstick which no change of this project touches:
arithmetic of Python and of NumPy on fixed numbers, run in turns with it, so that another machine, or other work on this
one, changes both. The least time of each counts. `check` fails where a ratio is 25 % above the committed one in three
measurements; `write` commits those of today, which is for a machine on which nothing else runs.
"""

from __future__ import annotations

import csv
import io
import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mckp_quant import allocate, read_table
from mckp_quant.common.files import write_text
from mckp_quant.solvers import instances, k_best, solve

from ..command_line import Command, WrongInput, require_file
from ..environment import environment
from ..pages import RESULTS, read_rows

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

LOSS = 1.25  # a ratio this many times the committed one is a loss
TRIES = 3
LAYERS = 2000
COLUMNS = ("figure", "ratio", *environment())


def yardstick() -> None:
    """Some tens of milliseconds of what Python and NumPy do in solves and readers."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.random(20_000)
        np.minimum.accumulate(values[np.argsort(values, kind="stable")]).sum()
    rows = [f"layer{at},{at}x64,{at / 7:.6g}" for at in range(10_000)]
    sum(float(row[2]) for row in csv.reader(io.StringIO("\n".join(rows))))


def figures(folder: Path) -> dict[str, Callable[[], object]]:
    """What is measured, by name; the problems and the table are made before."""
    rng = np.random.default_rng(0)
    lines = [
        f"l{at},{16 * 2 ** (at % 5)}x64,{loss:.6g},{loss / 16:.6g},{loss / 4000:.6g}"
        for at, loss in enumerate(rng.lognormal(0, 2, LAYERS).tolist())
    ]
    path = folder / "table.csv"
    path.write_text("\n".join(["layer,shape,w2,w4,w8", *lines]), encoding="utf-8")
    table = read_table(path).table
    bits = (2, 3, 4, 5, 6, 7, 8)
    one = instances.quantisation(instances.resnet50(), bits, share=0.5, seed=100)
    large = instances.quantisation(instances.lognormal(500, seed=100), bits, share=0.2, seed=100)
    two = instances.quantisation(instances.resnet50(), (2, 3, 4, 8), share=0.5, seed=100, n_budgets=2)
    return {
        "exact, ResNet-50 54x7": lambda: [solve(one, "exact") for _ in range(20)],
        "exact, lognormal 500x7": lambda: [solve(large, "exact") for _ in range(5)],
        "auto, ResNet-50 54x4, 2 budgets": lambda: [solve(two) for _ in range(5)],
        "10 best, ResNet-50 54x7": lambda: k_best(one, 10),
        f"read a CSV of {LAYERS} layers": lambda: read_table(path),
        f"allocate a table of {LAYERS} layers": lambda: allocate(table, {"weight_bytes": "40%"}),
    }


def measured(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The ratio of each figure, of the least times over so many turns."""
    least = dict.fromkeys((*work, ""), math.inf)
    for each in (yardstick, *work.values()):  # imports and first calls are no part of what is timed
        each()
    for _ in range(rounds):
        for name, each in (("", yardstick), *work.items()):
            began = time.process_time()
            each()
            least[name] = min(least[name], time.process_time() - began)
    return {name: least[name] / least[""] for name in work}


def lost(ratios: Mapping[str, float], committed: Mapping[str, float]) -> list[str]:
    """The figures that are slower than the committed ones by more than `LOSS`."""
    return [name for name, ratio in ratios.items() if name in committed and ratio > LOSS * committed[name]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check or write; 1 where something became slower."""
    command = Command(__doc__, ("check", "write"))
    command.file("--figures", RESULTS / "kept.csv", "the committed ratios")
    command.whole("--rounds", 5, "turns, of which the least time counts")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        work = figures(Path(folder))
        if options.action == "write":
            file = io.StringIO()
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for name, ratio in measured(work, options.rounds).items():
                writer.writerow((name, f"{ratio:.3f}", *environment().values()))
            write_text(options.figures, file.getvalue())
            return 0
        require_file("--figures", options.figures, "benchmarks.kernels.kept write")
        committed = {row["figure"]: float(row["ratio"]) for row in read_rows(options.figures)}
        if missing := set(work) - set(committed):
            raise WrongInput(f"--figures {options.figures}: {sorted(missing)[0]!r} is not there; write it anew")
        ratios = measured(work, options.rounds)
        for _ in range(TRIES - 1):
            if slow := lost(ratios, committed):
                ratios |= measured({name: work[name] for name in slow}, options.rounds)
    for name, ratio in ratios.items():
        change = ratio / committed[name] - 1
        print(f"{name}: {ratio:.3f}, committed {committed[name]:.3f}, {change:+.0%}")
    slow = lost(ratios, committed)
    for name in slow:
        print(f"slower by more than {LOSS - 1:.0%}: {name}")
    return int(bool(slow))


if __name__ == "__main__":
    raise SystemExit(main())
