"""Changes the code of a room, one place at a time, and counts the changes that the tests notice.

    python -m benchmarks.hunt.mutants map --room solvers [--tests tests/solvers] [--map build/hunt/solvers.json]
    python -m benchmarks.hunt.mutants run --room solvers [--mutants 600] [--map ...] [--output FILE] [--processes 1]
    python -m benchmarks.hunt.mutants list --output FILE

`map` runs the tests once with the package coverage and notes which tests run which lines. `run` takes changes in a
random order whose every beginning has of each file in proportion, and runs the tests that run the changed line, the
quickest first, each in a process that is forked for it: the file on disk stays as it is. A change is killed by a test
that fails or takes more than 30 s of CPU, and has survived where all pass, where no test runs the line, or where 90 s
of CPU were not enough. With --output a run that was stopped goes on where it was. `list` prints the share killed with
its 95 % interval (Wilson, 1927), by room, and what survived.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import math
import os
import re
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from mckp_quant.common.files import write_text

from ..command_line import Command, WrongInput, require_file, say
from ..environment import environment
from ..pages import ROOT, append_rows, read_rows
from .changes import Change, changes_of, in_order

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Sequence
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType

COLUMNS = (*Change._fields, "outcome", "tests", "cpu_seconds", "seed", *environment())
LEFT_OUT = "not slow and not fuzz"
ONE_TEST, ALL_TESTS = 30.0, 90.0  # seconds of CPU
KILLED, SURVIVED, NOT_RUN, CUT_OFF = "killed", "survived", "no test runs it", "survived, cut off"
_ANEW = ("mckp_quant", "benchmarks", "tests")  # what may hold code that is to be changed
_CODES = {10: SURVIVED, 11: KILLED, 12: CUT_OFF}
_PACKAGES = ("numpy", "scipy.optimize", "hypothesis", "ortools.sat.python.cp_model", "pulp")  # loaded before the fork


class _Contexts:
    """Tells coverage which test runs, and notes how long each takes."""

    def __init__(self, measured: Any) -> None:
        self.measured = measured
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.measured.switch_context(item.nodeid)
        began = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = round(time.process_time() - began, 3)


class _Chosen:
    """Runs chosen tests alone, in the order given, and ends the process at the first that fails or takes too long."""

    def __init__(self, names: Sequence[str]) -> None:
        self.order = {name: at for at, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (each for each in items if each.nodeid in self.order), key=lambda each: self.order[each.nodeid]
        )

    def pytest_runtest_setup(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, ONE_TEST)
        if time.process_time() > ALL_TESTS:
            os._exit(12)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(11)


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from changed source."""

    def __init__(self, name: str, path: Path, source: bytes) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        package = self.path.name == "__init__.py"
        spec = importlib.util.spec_from_loader(fullname, self, origin=str(self.path), is_package=package)
        if spec is not None and package:
            spec.submodule_search_locations = [str(self.path.parent)]
        return spec

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self.path)
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


def make_map(room: Path, tests: Sequence[str], target: Path) -> None:
    """Run the tests and write which of them run which lines, and how long each takes."""
    import coverage

    measured = coverage.Coverage(data_file=None, include=[f"{room.resolve()}/*", f"{ROOT}/mckp_quant/{room.name}/*"])
    contexts = _Contexts(measured)
    measured.start()
    code = pytest.main(["-q", "-p", "no:cacheprovider", "-m", LEFT_OUT, *tests], plugins=[contexts])
    measured.stop()
    if code != 0:
        raise WrongInput(f"--tests {' '.join(tests)}: they fail without any change; mend that first")
    data = measured.get_data()
    lines: dict[str, dict[int, list[str]]] = {}
    for file in data.measured_files():
        name = os.path.relpath(os.path.realpath(file), ROOT)
        own = lines.setdefault(name, {})
        for line, found in data.contexts_by_lineno(file).items():
            own[line] = sorted({*own.get(line, ()), *(each for each in found if each)})
    names = sorted(contexts.seconds)
    number = {name: at for at, name in enumerate(names)}
    kept = {
        file: {line: [number[each] for each in found] for line, found in own.items()} for file, own in lines.items()
    }
    write_text(target, json.dumps({"tests": [(name, contexts.seconds[name]) for name in names], "lines": kept}))


def running(known: dict[str, Any], change: Change) -> list[str]:
    """The tests that run the line of a change, or its file where only the import runs the line; the quickest first."""
    lines = known["lines"].get(change.file, {})
    found = lines.get(str(change.line))
    if found == []:
        found = sorted({at for own in lines.values() for at in own})
    found = found or []
    return [name for name, _ in sorted((known["tests"][at] for at in found), key=lambda each: each[1])]


def verdict(change: Change, tests: Sequence[str]) -> str:
    """Run tests on a change, in a process forked for it."""
    if not tests:
        return NOT_RUN
    source = change.carried_out((ROOT / change.file).read_bytes())
    child = os.fork()
    if not child:
        _run_changed(change, source, tests)
    status = os.waitpid(child, 0)[1]
    return _CODES.get(os.waitstatus_to_exitcode(status), KILLED)


def _run_changed(change: Change, source: bytes, tests: Sequence[str]) -> None:
    """Never returns: the process ends with a code of `_CODES`, or dies of the change."""
    code = 11
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        signal.signal(signal.SIGPROF, lambda number, frame: os._exit(11))
        path = ROOT / change.file
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts if parts[0] == "mckp_quant" else ("mckp_quant", *parts)).removesuffix(".__init__")
        for each in [each for each in sys.modules if each.partition(".")[0] in _ANEW]:
            del sys.modules[each]
        sys.meta_path.insert(0, _Changed(name, path, source))
        files = sorted({each.partition("::")[0] for each in tests})
        result = pytest.main(
            ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", "-m", LEFT_OUT, *files],
            plugins=[_Chosen(tests)],
        )
        code = 10 if result == 0 else 11
    finally:
        os._exit(code)


def interval(killed: int, all_of_them: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    if not all_of_them:
        return 0.0, 1.0
    z, share = 1.959964, killed / all_of_them
    middle = share + z * z / (2 * all_of_them)
    half = z * math.sqrt(share * (1 - share) / all_of_them + z * z / (4 * all_of_them**2))
    below = 1 + z * z / all_of_them
    return (middle - half) / below, (middle + half) / below


def show(rows: Sequence[dict[str, str]]) -> str:
    """Shares killed by folder, with intervals, and what survived."""
    lines = []
    folders = sorted({row["file"].rpartition("/")[0] for row in rows})
    for name, own in [
        ("all", list(rows)),
        *((each, [r for r in rows if r["file"].rpartition("/")[0] == each]) for each in folders),
    ]:
        killed = sum(row["outcome"] == KILLED for row in own)
        low, high = interval(killed, len(own))
        lines.append(f"{name}: {killed} of {len(own)} killed, {killed / len(own):.1%} ({low:.1%} to {high:.1%})")
    for row in rows:
        if row["outcome"] != KILLED:
            before, after = (re.sub(r"\s+", " ", row[each]) for each in ("before", "after"))
            lines.append(f"{row['file']}:{row['line']} {row['outcome']}: {before}  ->  {after}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Map, run, or list; 0."""
    command = Command(__doc__, ("map", "run", "list"))
    command.folder("--room", ROOT / "solvers", "whose code is changed", exists=True)
    command.several("--tests", str, "tests/solvers", "what to run", metavar="PATH,PATH")
    command.file("--map", ROOT / "build" / "hunt" / "solvers.json", "which tests run which lines")
    command.whole("--mutants", 600, "how many changes")
    command.whole("--seed", 0, "of their order", at_least=0)
    command.whole("--processes", 1, "that share them")
    command.file("--output", ROOT / "benchmarks" / "results" / "mutants.csv", "a row for every change")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if options.action == "map":
        make_map(options.room, options.tests, options.map)
        return 0
    if options.action == "list":
        require_file("--output", options.output, "benchmarks.hunt.mutants run")
        print(show(read_rows(options.output)))
        return 0
    require_file("--map", options.map, "benchmarks.hunt.mutants map")
    known = json.loads(options.map.read_text(encoding="utf-8"))
    room = options.room.resolve()
    every = [change for file in sorted(room.rglob("*.py")) for change in changes_of(ROOT, file)]
    done = {tuple(row[name] for name in Change._fields) for row in read_rows(options.output)}
    left = [each for each in in_order(every, options.seed)[: options.mutants] if tuple(map(str, each)) not in done]
    say(f"{len(every)} changes, {len(left)} to run")
    for package in _PACKAGES:
        importlib.import_module(package)

    def one(change: Change) -> dict[str, object]:
        tests = running(known, change)
        began = time.monotonic()
        outcome = verdict(change, tests)
        took = round(time.monotonic() - began, 1)
        row = dict(zip(Change._fields, change, strict=True))
        return {
            **row,
            "outcome": outcome,
            "tests": len(tests),
            "cpu_seconds": took,
            "seed": options.seed,
            **environment(),
        }

    with ThreadPoolExecutor(options.processes) as pool:
        for row in pool.map(one, left):
            append_rows(options.output, COLUMNS, [row])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
