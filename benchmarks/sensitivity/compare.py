"""What every estimator of sensitivity costs in time and memory, and how well it ranks layers and policies on new data.

    python -m benchmarks.sensitivity.compare [--data FOLDER] [--network digits|resnet20|chargpt|all] [--part PART]
        [--page]

Says first what it is going to do and about how long that takes. Results go to a CSV file, line by line; what is there
already is not run again, so that a run that was stopped goes on. --page writes the tables of docs/sensitivity.md from
that file. Without --data only the digits network runs; FOLDER is that of `benchmarks.policies.networks`.

Everything runs in other processes with one thread each; each figure of cost or memory has a process of its own.

- cost: CPU time for all layers in four formats, divided by that of one gradient evaluation (a forward and a backward
  pass to all parameters) on the same batches, in turns; medians over rounds. Rounding the weights, done once before
  the batches, is left out; checking the hooks on the first batch is in. Estimators of many passes read one batch.
- memory: the most that one batch takes beyond the model and the batch, rounding errors of the weights included.
- truth: the KL divergence of every layer and format, and of every policy, on held-out inputs; accuracy needs it.
- accuracy: Spearman's rank correlation with the KL divergence measured on as many held-out inputs, over the layers
  within each format, and over mixed policies of equal size, whose predicted loss is the sum over layers. A seed draws
  the calibration inputs, the probes and the policies. Estimators of many passes have one seed.
- spread: how much plain probes and Hutch++ spread on one layer's trace, with equally many products.
- trace: PyHessian's run on the whole network, with its own stop rule, beside `gauss_newton` on the same inputs.

PyHessian and curvlinops take part where they are installed. Both ask for torchvision, which they do not need and which
cannot be imported beside the CPU build of torch: install them, and what curvlinops needs besides, with --no-deps.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mckp_quant.sensitivity import ESTIMATORS

from ..command_line import Command, say
from ..environment import environment
from ..pages import DOCS, RESULTS, ROOT, append_rows, fill, read_rows
from ..policies.networks import require_data
from .page import parts_of
from .rivals import PRODUCTS, RIVALS, missing
from .studies import FAMILIES, NEEDED, NETWORKS, study
from .worker import PARTS, PASSES, PRODUCTS_A_TRACE, SEEDS, SLOW, VARIANTS, gradients, timed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from .studies import Study

COLUMNS = ("date", "commit", "versions", "processor", "part", "network", "method", "seed", "name", "value")
PACKAGES = ("torch", "numpy", "scipy", "pyhessian", "curvlinops-for-pytorch")
DATA_FREE = [name for name, each in ESTIMATORS.items() if hasattr(each, "losses")]
MEASURING = [name for name in ESTIMATORS if name != "metric" and name not in DATA_FREE]
FOR_COST = [*MEASURING, *VARIANTS, *RIVALS, *PRODUCTS]
FOR_MEMORY = ["gradient", "gauss_newton", *VARIANTS, "empirical_fisher", "measured_kl", "hutchinson"]
FOR_ACCURACY = [*MEASURING, *DATA_FREE, *RIVALS]
TOO_LONG = {("curvlinops ggn", "resnet20"), ("curvlinops ggn", "chargpt")}  # to judge: a quarter of an hour each
ONCE = {*SLOW, *DATA_FREE, "measured_loss"}  # judged with one seed
START_SECONDS = 4.0  # CPU time of a process before it begins
FORWARD = 0.35  # of a gradient evaluation
# About how many gradient evaluations a method takes, to say how long a run will be.
GRADIENTS = {
    "measured_kl": 36.0,
    "measured_loss": 36.0,
    "hessian_form": 120.0,
    "hutchinson": 6.0,
    "hutchinson_blockwise": 30.0,
    "hutch_plus_plus": 90.0,
    "pyhessian by layer": 40.0,
    "curvlinops ggn": 300.0,
    "pyhessian": 250.0,
}


@dataclass(frozen=True)
class Process:
    """What one process does."""

    part: str
    network: str
    jobs: tuple[tuple[str, int], ...]


def planned(parts: Sequence[str], networks: Sequence[str], done: set[tuple[str, str, str, int]]) -> Iterator[Process]:
    """What has no result yet: one estimator after the other on all networks, so that slow minutes hit all alike."""

    def left(part: str, network: str, jobs: list[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
        return tuple(job for job in jobs if (part, network, *job) not in done and missing(job[0]) is None)

    alone = [("cost", method) for method in FOR_COST] + [("memory", method) for method in FOR_MEMORY]
    alone += [("trace", "pyhessian"), ("trace", "gauss_newton"), ("truth", "truth")]
    alone += [("spread", "hutchinson_blockwise"), ("spread", "hutch_plus_plus")]
    for part, method in alone:
        for network in networks if part in parts else ():
            if jobs := left(part, network, [(method, 0)]):
                yield Process(part, network, jobs)
    for network in networks if "accuracy" in parts else ():
        if jobs := left(
            "accuracy",
            network,
            [(m, s) for m in FOR_ACCURACY if (m, network) not in TOO_LONG for s in (SEEDS[:1] if m in ONCE else SEEDS)],
        ):
            yield Process("accuracy", network, jobs)


def say_plan(processes: Sequence[Process], options: argparse.Namespace) -> None:
    """How many processes, and about how much CPU time."""
    total = START_SECONDS * len(processes)
    for network in dict.fromkeys(process.network for process in processes):
        chosen = study(network, options.data, options.images)
        batch = chosen.timed[:1]
        unit = timed({"gradient": functools.partial(gradients, chosen.model, batch)}, 1)["gradient"]
        passes = [passes_of(each, chosen, options) for each in processes if each.network == network]
        total += unit * sum(passes)
    say(f"{len(processes)} processes, about {total / 60:.0f} minutes of CPU time")


def passes_of(process: Process, chosen: Study, options: argparse.Namespace) -> float:
    """About how many gradient evaluations of one batch a process takes."""
    judged = chosen.calibration / chosen.batch
    if process.part == "truth":
        runs: float = judged * (GRADIENTS["measured_kl"] + FORWARD * len(FAMILIES) * len(SEEDS) * options.policies)
        return runs
    if process.part == "spread":
        return PASSES * sum(PRODUCTS_A_TRACE) * len(chosen.traced[0]) / 4 / chosen.batch
    passes = 0.0
    for method, _ in process.jobs:
        times = {
            "cost": 1.0 if method in SLOW else (options.rounds + 1) * len(chosen.timed),
            "memory": 1.0,
            "accuracy": judged,
            "trace": len(chosen.traced[0]) / chosen.batch * (1 if method == "pyhessian" else PASSES),
        }
        passes += times[process.part] * GRADIENTS.get(VARIANTS.get(method, (method, ""))[0], 1.5)
    return passes


def run(
    process: Process, options: argparse.Namespace, held_out: dict[str, float]
) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Start the process and pass on the figures of each method and seed."""
    order = {
        "part": process.part,
        "network": process.network,
        "jobs": process.jobs,
        "folder": None if options.data is None else str(options.data),
        "images": options.images,
        "rounds": options.rounds,
        "policies": options.policies,
        "held_out": held_out,
    }
    command = [sys.executable, "-m", "benchmarks.sensitivity.worker"]
    # Freed memory goes back to the system at once, so that resident memory is memory in use.
    surroundings = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    surroundings = surroundings if process.part == "memory" else dict(os.environ)
    with subprocess.Popen(
        command, cwd=ROOT, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(order))
        child.stdin.close()
        for line in child.stdout:
            found = json.loads(line)
            say(f"  {process.part} {process.network} {found['method']}, seed {found['seed']}: {found['cpu']:.1f} s")
            yield found["method"], found["seed"], found["figures"]
    if child.returncode:
        say(f"  {process.part} {process.network} failed; its process has said why")


def held_out_of(rows: Sequence[dict[str, str]], network: str) -> dict[str, float]:
    """What was measured on the inputs to judge on."""
    return {row["name"]: float(row["value"]) for row in rows if (row["part"], row["network"]) == ("truth", network)}


def work(processes: Sequence[Process], options: argparse.Namespace) -> None:
    """Run all, writing down what comes."""
    began = time.monotonic()
    for number, process in enumerate(processes):
        say(f"{number + 1} of {len(processes)}, {time.monotonic() - began:.0f} s")
        held_out = held_out_of(read_rows(options.results), process.network) if process.part == "accuracy" else {}
        stamp = environment(PACKAGES)
        for method, seed, figures in run(process, options, held_out):
            place = {"part": process.part, "network": process.network, "method": method, "seed": seed}
            lines = [{**stamp, **place, "name": name, "value": repr(value)} for name, value in figures.items()]
            append_rows(options.results, COLUMNS, lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what has no result yet, and print the tables; 0."""
    command = Command(__doc__)
    command.folder("--data", help="the trained networks and their data")
    command.choice("--network", [*NETWORKS, "all"], "all")
    command.choice("--part", [*PARTS, "all", "none"], "all")
    command.text("--only", None, "processes that begin with this method, or with its variants", "METHOD")
    command.whole("--rounds", 5, "rounds of timing")
    command.whole("--images", 256, "to measure on, and as many to judge on")
    command.whole("--policies", 32, "of each family and seed")
    command.file("--results", RESULTS / "sensitivity.csv", "the CSV file")
    command.flag("--page", "write the tables of docs/sensitivity.md")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    given = options.data is not None
    wanted = [
        name
        for name in NETWORKS
        if options.network == name or (options.network == "all" and (given or name == "digits"))
    ]
    require_data(options.data, (file for name in wanted for file in NEEDED[name]))
    parts = list(PARTS) if options.part == "all" else [options.part]
    done = {(row["part"], row["network"], row["method"], int(row["seed"])) for row in read_rows(options.results)}
    processes = [
        each for each in planned(parts, wanted, done) if options.only is None or options.only in each.jobs[0][0]
    ]
    if processes:
        say_plan(processes, options)
        work(processes, options)
    tables = parts_of(read_rows(options.results))
    print("\n\n".join(tables.values()))
    if options.page:
        fill(DOCS / "sensitivity.md", tables)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
