"""Memory over many solves and many measurements in one process: it may not grow.

    python -m benchmarks.hunt.growth [--solves 2000] [--measures 500] [--most 8] [--without-networks]

A tenth of the repetitions comes first, until caches and the allocator have what they want. What is compared is the
resident memory after half of the rest and after all of it; `--most` is how many MB it may rise by.
"""

from __future__ import annotations

import gc
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from mckp_quant.solvers import instances, solve

from ..command_line import Command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence


def resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def grown(work: Callable[[int], object], count: int) -> int:
    """By how many bytes the second half of so many repetitions, of which a tenth more come first, adds to memory."""
    for number in range(count // 10):
        work(number)
    held = []
    for half in range(2):
        for number in range(count // 2):
            work(half * (count // 2) + number)
        gc.collect()
        held.append(resident())
    return held[1] - held[0]


def solved(number: int) -> object:
    """Solve a problem of its own for each number, by a solver of its own."""
    bits = ((2, 4, 8), (2, 3, 4, 5, 6, 7, 8))[number % 2]
    problem = instances.quantisation(instances.resnet50(), bits, share=0.3 + 0.4 * (number % 10) / 10, seed=number)
    return solve(problem, ("auto", "exact", "greedy")[number % 3])


def main(arguments: Sequence[str] | None = None) -> int:
    """Repeat and compare; 1 where memory grows."""
    command = Command(__doc__)
    command.whole("--solves", 2000, "how many")
    command.whole("--measures", 500, "how many")
    command.whole("--most", 8, "MB that memory may rise by")
    command.flag("--without-networks", "leave the measurements out, which need torch")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    work: dict[str, tuple[Callable[[int], object], int]] = {"solves": (solved, options.solves)}
    if not options.without_networks:
        import mckp_quant as mq

        from .files.runs import FORMATS, batches, network

        model, data = network(), batches()
        work["measures"] = (lambda number: mq.measure(model, data, formats=FORMATS), options.measures)
    bad = False
    for name, (each, count) in work.items():
        rise = grown(each, count)
        bad |= rise > options.most * 2**20
        print(f"{count} {name}: {rise / 2**20:+.1f} MB in the second half")
    return int(bad)


if __name__ == "__main__":
    raise SystemExit(main())
