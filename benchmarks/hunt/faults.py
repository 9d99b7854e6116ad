"""Kills, full disks, vanishing files and jumping clocks against every step that writes.

    python -m benchmarks.hunt.faults [--trials 50] [--seed 0] [--steps NAME,NAME] [--faults NAME,NAME] [--output FILE]

A trial runs a step in a process of its own, in a folder of its own, and does something to it at a moment drawn at
random: "kill" sends SIGKILL, "full" lets no file grow beyond a drawn size, "vanish" deletes a drawn file, "clock" sets
the clock ten days forth or back at every look. Then the step is run again without a fault. Nothing may be lost (the
second run ends), the result must be the one of a run that nothing happened to, no file may lie there that such a run
does not leave, and in the first run nothing but OSError and InvalidInput may come out.
"""

from __future__ import annotations

import collections
import logging
import os
import random
import resource
import shutil
import signal
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mckp_quant import InvalidInput

from ..command_line import Command, WrongInput, say
from ..environment import environment
from ..pages import append_rows
from .steps import STEPS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

FAULTS = ("kill", "full", "vanish", "clock")
BAD = ("lost", "different", "strays", "foreign")
COLUMNS = ("step", "fault", "trials", "hit", *BAD, "seed", "cpu_seconds", *environment())
LARGEST = 4000  # bytes that a file may have on a full disk, at most
TEN_DAYS = 864_000.0
_DONE, _REFUSED, _FOREIGN = 0, 3, 4  # exit codes of a process


def start(step: Callable[[Path], str], folder: Path, prepare: Callable[[], None]) -> int:
    """Fork a process that runs a step and writes its result beside the folder; its number."""
    child = os.fork()
    if child:
        return child
    code = _FOREIGN
    try:
        logging.disable()
        warnings.simplefilter("ignore")
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(nothing, stream)
        prepare()
        result = step(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        _beside(folder, "result").write_text(result, encoding="utf-8")
        code = _DONE
    except (OSError, InvalidInput):
        code = _REFUSED
    except BaseException as error:  # noqa: BLE001  what is hunted
        _beside(folder, "error").write_text(f"{type(error).__name__}: {error}"[:300], encoding="utf-8")
    finally:
        os._exit(code)


def trial(step: str, fault: str, draw: random.Random, whole: tuple[str, set[str], float]) -> set[str]:
    """Run a step under a fault, and again without.

    Parameters
    ----------
    step, fault
        Their names.
    draw
        Where moments and sizes are drawn from.
    whole
        Result, files and seconds of a run that nothing happened to.

    Returns
    -------
    found
        Names of `BAD` that hold, and ``"hit"`` where the fault came before the end.
    """
    result, files, seconds = whole
    found = set()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "folder"
        folder.mkdir()
        moment = draw.uniform(0, seconds)
        child = start(STEPS[step], folder, _prepared(fault, folder, draw, moment))
        if fault == "kill":
            time.sleep(moment)
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != _DONE or fault in ("vanish", "clock"):
            found.add("hit")
        if code == _FOREIGN:
            found.add("foreign")
            say(f"{step}, {fault}: {_beside(folder, 'error').read_text(encoding='utf-8')}")
        _beside(folder, "result").unlink(missing_ok=True)
        again = os.waitstatus_to_exitcode(os.waitpid(start(STEPS[step], folder, lambda: None), 0)[1])
        if again != _DONE:
            found.add("lost")
            return found
        if _beside(folder, "result").read_text(encoding="utf-8") != result:
            found.add("different")
        if files_in(folder) - files:
            found.add("strays")
            say(f"{step}, {fault}: left {sorted(files_in(folder) - files)}")
    return found


def _prepared(fault: str, folder: Path, draw: random.Random, moment: float) -> Callable[[], None]:
    size, seed = draw.randrange(LARGEST), draw.randrange(2**31)

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def vanish() -> None:
        threading.Timer(moment, _delete_one, (folder, random.Random(seed))).start()

    def clock() -> None:
        own, real = random.Random(seed), time.time
        time.time = lambda: real() + own.choice((-TEN_DAYS, 0.0, TEN_DAYS))

    return {"full": full, "vanish": vanish, "clock": clock}.get(fault, lambda: None)


def _delete_one(folder: Path, draw: random.Random) -> None:
    there = sorted(each for each in folder.rglob("*") if each.is_file())
    if there:
        draw.choice(there).unlink(missing_ok=True)


def _beside(folder: Path, name: str) -> Path:
    return folder.with_name(name)


def files_in(folder: Path) -> set[str]:
    """The files below a folder, by their names within it."""
    return {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}


def undisturbed(step: str) -> tuple[str, set[str], float]:
    """Result, files and seconds of a run that nothing happens to; one before it, in this process, imports all."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "folder"
        folder.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            STEPS[step](folder)
        shutil.rmtree(folder)
        folder.mkdir()
        began = time.monotonic()
        if os.waitstatus_to_exitcode(os.waitpid(start(STEPS[step], folder, lambda: None), 0)[1]) != _DONE:
            error = _beside(folder, "error")
            raise WrongInput(f"{step} fails without any fault: {error.read_text() if error.exists() else ''}")
        return _beside(folder, "result").read_text(encoding="utf-8"), files_in(folder), time.monotonic() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Try and count; 1 where anything was lost, differed, was left behind, or another error came out."""
    command = Command(__doc__)
    command.whole("--trials", 50, "of each step under each fault")
    command.whole("--seed", 0, "of the draws", at_least=0)
    command.several("--steps", str, ",".join(STEPS), "what runs", metavar="NAME,NAME")
    command.several("--faults", str, ",".join(FAULTS), "what happens to it", metavar="NAME,NAME")
    command.file("--output", help="a row for each step and fault")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    for option, given, known in (("--steps", options.steps, STEPS), ("--faults", options.faults, FAULTS)):
        if odd := [each for each in given if each not in known]:
            raise WrongInput(f"{option} {odd[0]}: known are {', '.join(known)}")
    bad = 0
    for step in options.steps:
        whole = undisturbed(step)
        for fault in options.faults:
            began = time.process_time()
            counts: collections.Counter[str] = collections.Counter()
            for number in range(options.trials):
                counts.update(trial(step, fault, random.Random(f"{options.seed}/{step}/{fault}/{number}"), whole))
            row = {"step": step, "fault": fault, "trials": options.trials, "seed": options.seed}
            row |= {name: counts[name] for name in ("hit", *BAD)}
            row["cpu_seconds"] = round(time.process_time() - began, 2)
            print(", ".join(f"{name} {each}" for name, each in row.items()), flush=True)
            bad += sum(counts[name] for name in BAD)
            if options.output is not None:
                append_rows(options.output, COLUMNS, [{**row, **environment()}])
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
