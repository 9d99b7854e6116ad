"""Large joint problems: how long they take to build and to solve, and what is proved.

    python -m benchmarks.solvers.building [--seeds N] [--layers N] [--seconds S] [--csv FILE] [--page docs/budgets.md]

Convolutional networks of random sizes with five widths for weights and five for activations, so 25 choices a layer, and
three budgets, each a share of what the costliest formats take: size, bit operations and peak memory of activations.
The peak is one budget a step; without `conflicts` its steps are stated in bytes. Building is in CPU seconds, solving in
seconds of wall time. --page writes the table into the page.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.environment import between_markers
from benchmarks.environment import table as markdown
from mckp_quant import Layer, SensitivityTable
from mckp_quant.allocation.builder import build_request
from mckp_quant.allocation.constraints.peak_memory import chain
from mckp_quant.allocation.request import Request
from mckp_quant.common.documents import write_text
from mckp_quant.formats.format import as_formats
from mckp_quant.solvers import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

BITS = (2, 3, 4, 6, 8)
SHARES = ("30%", "50%", "70%")
HEADINGS = ("seed", "share", "conflicts", "resources", "build_seconds", "solve_seconds", "status", "relative_gap")


def network(layers: int, seed: int) -> SensitivityTable:
    """A chain of convolutions whose losses fall by a factor of four with each bit of weights or of activations."""
    rng = np.random.default_rng(seed)
    found: list[Layer] = []
    outputs: list[int] = []
    for number in range(layers):
        channels, kernel, side = (int(rng.choice(menu)) for menu in ((64, 128, 256, 512), (1, 3), (14, 28, 56)))
        shape = (channels, channels, kernel, kernel)
        found.append(Layer(f"conv{number}", "conv2d", shape, channels, channels**2 * kernel**2 * side**2))
        outputs.append(channels * side**2)
    names = [f"w{weight}a{activation}" for weight in BITS for activation in BITS]
    formats = as_formats(names)
    fall = np.array([[4.0**-entry.weight_bits, 4.0 ** -(entry.activation_bits or 32)] for entry in formats])
    scale = np.exp(2 * rng.normal(size=(layers, 2))) * np.array([[layer.elements for layer in found], outputs]).T
    noise = np.exp(0.3 * rng.normal(size=(layers, len(formats))))
    loss = 1e-6 * (scale @ fall.T) * noise
    table = SensitivityTable(tuple(found), formats, loss, np.full(loss.shape, np.nan))
    return SensitivityTable(table.layers, formats, loss, table.stderr, activations=chain(table, [*outputs, 1000]))


def measure(table: SensitivityTable, share: str, *, tight: bool, seconds: float) -> tuple[str, ...]:
    """Resources, seconds to build and to solve, what is proved, and the gap."""
    request = Request(dict.fromkeys(("weight_bytes", "bops", "activation_bytes"), share))
    begin = time.process_time()
    problem, _ = build_request(table, request, tight=tight)
    built = time.process_time() - begin
    begin = time.perf_counter()
    solution = solve(problem, seconds=seconds)
    times = (f"{built:.3f}", f"{time.perf_counter() - begin:.2f}")
    return (str(problem.n_resources), *times, solution.status.value, f"{solution.relative_gap:.1e}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each problem; 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=5.0, help="limit of each solve")
    parser.add_argument("--csv", type=Path, help="where to write the lines too")
    parser.add_argument("--page", type=Path, help="the page whose table to write")
    given = parser.parse_args(arguments)
    measure(network(4, 0), "50%", tight=True, seconds=1.0)  # imports count for nobody
    rows = []
    for seed in range(given.seeds):
        table = network(given.layers, seed)
        for share in SHARES:
            for tight in (True, False):
                found = measure(table, share, tight=tight, seconds=given.seconds)
                rows.append((str(seed), share, "yes" if tight else "no", *found))
                print(*rows[-1], sep="  ", flush=True)
    if given.csv is not None:
        with given.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADINGS, *rows])
    if given.page is not None:
        headings = tuple(heading.replace("_", " ") for heading in HEADINGS)
        write_text(given.page, between_markers(given.page, "building", markdown(headings, rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
