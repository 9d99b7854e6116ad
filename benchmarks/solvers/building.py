"""Large joint problems: how long they take to build and to solve, and what is proved.

    python -m benchmarks.solvers.building [--seeds N] [--layers N] [--seconds S] [--csv FILE] [--page docs/budgets.md]

Convolutional networks of random sizes with five widths for weights and five for activations, so 25 choices a layer, and
three budgets, each a share of what the costliest formats take: size, bit operations and peak memory of activations.
The peak is one budget a step; without `conflicts` its steps are stated in bytes. Building is in CPU seconds, solving in
seconds of wall time. --page writes the table into the page.
"""

from __future__ import annotations

import csv
import time
from typing import TYPE_CHECKING

import numpy as np

from mckp_quant import Layer, SensitivityTable
from mckp_quant.allocation.builder import build_request
from mckp_quant.allocation.constraints.peak_memory import chain
from mckp_quant.allocation.request import Request
from mckp_quant.formats.format import as_formats
from mckp_quant.solvers import solve

from ..command_line import Command
from ..pages import fill
from ..pages import table as markdown

if TYPE_CHECKING:
    import argparse
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
    command = Command(__doc__)
    command.whole("--seeds", 3, "networks to draw")
    command.whole("--layers", 300, "of each network")
    command.seconds("--seconds", 5.0, "limit of each solve")
    command.file("--csv", help="where to write the lines too")
    command.file("--page", help="the page whose table to write")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    measure(network(4, 0), "50%", tight=True, seconds=1.0)  # imports are not part of what is timed
    rows = []
    for seed in range(options.seeds):
        table = network(options.layers, seed)
        for share in SHARES:
            for tight in (True, False):
                found = measure(table, share, tight=tight, seconds=options.seconds)
                rows.append((str(seed), share, "yes" if tight else "no", *found))
                print(*rows[-1], sep="  ", flush=True)
    if options.csv is not None:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADINGS, *rows])
    if options.page is not None:
        headings = tuple(heading.replace("_", " ") for heading in HEADINGS)
        fill(options.page, {"building": markdown(headings, rows)})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
