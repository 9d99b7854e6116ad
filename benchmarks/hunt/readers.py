"""Damaged files against every reader: only InvalidInput may come out, within 5 s of CPU and 500 MB.

    python -m benchmarks.hunt.readers [--files 100000] [--seed 0] [--processes 2] [--only NAME,NAME] [--output FILE]

Every file is a valid one after one to three changes, of bytes or of what the bytes say (`files.damage`). File n of a
reader is drawn from (seed, reader, n), so that a fault, which is printed with n, can be made again: --only NAME. With
--output a run that was stopped goes on where it was, and a longer one adds to it.
"""

from __future__ import annotations

import faulthandler
import functools
import math
import random
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from ..command_line import Command, WrongInput, say
from ..environment import environment
from ..pages import append_rows, read_rows
from .files.artefacts import artefacts, missing
from .files.damage import damaged
from .files.documents import documents
from .files.tools import foreign_files
from .watched import REFUSED, TAKEN, outcome, watching

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from .files.kind import Kind

BLOCK = 1000
COLUMNS = ("reader", "block", "files", "taken", "refused", "faults", "seed", "cpu_seconds", *environment())
ROOM = 3 * 2**30  # bytes of addresses beyond those of the start
SLOW = "runs"  # a room whose readers run a network: they get a tenth of the files of others
STUCK = 300  # seconds after which a block that no signal stops ends its process


def all_kinds(folder: Path, *, networks: bool = True) -> list[tuple[Path, Kind]]:
    """One valid file of each kind with the folder that it lies in, those of packages that are missing left out.

    Parameters
    ----------
    folder
        An empty folder.
    networks
        Whether to run a network, for the files that runs leave; this needs torch.

    Returns
    -------
    kinds
        With their folders.
    """
    makers = {"documents": documents, "tools": foreign_files}
    if not missing():
        makers["artefacts"] = artefacts
    if networks:
        from .files.runs import runs

        makers["runs"] = runs
    found = []
    for name, make in makers.items():
        (folder / name).mkdir()
        found += [(folder / name, kind) for kind in make(folder / name)]
    return found


def hunt(kind: Kind, folder: Path, files: range, seed: int) -> tuple[dict[str, int], list[str]]:
    """Damage a file again and again.

    Parameters
    ----------
    kind, folder
        The file, and where it lies.
    files
        The numbers of the damaged files to read.
    seed
        Of the draws.

    Returns
    -------
    counts
        Files, and how many were taken and refused.
    faults
        The others, in words.
    """
    counts = {"files": len(files), TAKEN: 0, REFUSED: 0}
    faults = []
    for number in files:
        content = damaged(kind, random.Random(f"{seed}/{kind.name}/{number}"))
        found = outcome(kind, folder, content)
        if found in counts:
            counts[found] += 1
        else:
            faults.append(f"{kind.name}, seed {seed}, file {number}: {found}")
    return counts, faults


def run_block(task: tuple[str, int, int, int, bool]) -> tuple[dict[str, object], list[str]]:
    """A row of the results and the faults, of (reader, block, files, seed, whether networks run)."""
    name, block, files, seed, networks = task
    began = time.process_time()
    _, found = _here(networks)
    folder, kind = found[name]
    faulthandler.dump_traceback_later(STUCK, exit=True)
    with watching():
        counts, faults = hunt(kind, folder, range(block * BLOCK, block * BLOCK + files), seed)
    faulthandler.cancel_dump_traceback_later()
    row = {"reader": name, "block": block, **counts, "faults": len(faults), "seed": seed}
    return {**row, "cpu_seconds": round(time.process_time() - began, 2), **environment()}, faults


@functools.cache
def _here(networks: bool) -> tuple[tempfile.TemporaryDirectory[str], dict[str, tuple[Path, Kind]]]:
    """The files of this process, made once, and how much memory it may ask for from then on."""
    place = tempfile.TemporaryDirectory(prefix="hunt-")
    found = {
        f"{folder.name}/{kind.name}": (folder, kind) for folder, kind in all_kinds(Path(place.name), networks=networks)
    }
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return place, found


def main(arguments: Sequence[str] | None = None) -> int:
    """Damage, read and count; 1 where anything but InvalidInput came out."""
    command = Command(__doc__)
    command.whole("--files", 100_000, "damaged files, over all readers")
    command.whole("--seed", 0, "of the draws", at_least=0)
    command.whole("--processes", 2, "that share the files")
    command.several("--only", str, None, "names of readers, such as documents/policy.json", metavar="NAME,NAME")
    command.flag("--without-networks", "leave out what runs of a network leave, which needs torch")
    command.file("--output", help="where to write a row for every block")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    networks = not options.without_networks
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{place.name}/{kind.name}" for place, kind in all_kinds(Path(folder), networks=networks)]
    for name in options.only or ():
        if name not in names:
            raise WrongInput(f"--only {name}: there is no such reader; known are {', '.join(names)}")
    names = options.only or names
    shares = {name: 0.1 if name.startswith(f"{SLOW}/") else 1.0 for name in names}
    each = {name: math.ceil(options.files * share / sum(shares.values())) for name, share in shares.items()}
    done = set()
    if options.output is not None:
        done = {
            (row["reader"], int(row["block"]), int(row["files"]))
            for row in read_rows(options.output)
            if int(row["seed"]) == options.seed
        }
    tasks = [
        (name, block, files, options.seed, networks)
        for block in range(-(-max(each.values()) // BLOCK))
        for name in names
        if (files := min(BLOCK, each[name] - block * BLOCK)) > 0 and (name, block, files) not in done
    ]
    bad = 0
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        for number, (row, faults) in enumerate(pool.map(run_block, tasks), 1):
            bad += len(faults)
            for fault in faults:
                say(fault)
            if options.output is not None:
                append_rows(options.output, COLUMNS, [row])
            if number % 100 == 0:
                say(f"{number} of {len(tasks)} blocks, {bad} faults")
    print(f"{sum(task[2] for task in tasks):,} files over {len(names)} readers, {bad} faults")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
