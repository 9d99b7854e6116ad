"""Damaged files that are drawn by the code that they reach, with atheris, for every reader that needs no network.

    python -m benchmarks.hunt.guided [--seconds 60] [--seed 1] [--corpus build/hunt/corpus] [--only NAME,NAME]

Each reader has a process of its own and a folder of files that reached new code, from which the next run goes on. A
file is changed by atheris in its bytes, or by `files.damage` in what the bytes say. Faults and bounds are those of
`benchmarks.hunt.readers`; the file that made one is kept beside the corpus. Install atheris first.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..command_line import Command, WrongInput, say
from ..pages import ROOT
from .files.damage import damaged
from .files.kind import Kind
from .readers import all_kinds
from .watched import REFUSED, TAKEN, outcome, watching

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

PACKAGE = "atheris"
CODE = """
import atheris, pathlib
with atheris.instrument_imports(include=["mckp_quant"]):
    from benchmarks.hunt.guided import serve
serve({name!r}, pathlib.Path({corpus!r}), {seconds}, {seed})
"""


class Fault(Exception):
    """What ends a run of atheris, which then keeps the file."""


def serve(name: str, corpus: Path, seconds: int, seed: int) -> None:
    """Hunt one reader in this process, which atheris ends."""
    atheris: Any = importlib.import_module(PACKAGE)
    place = Path(tempfile.mkdtemp(prefix="hunt-"))
    folder, kind = next(pair for pair in all_kinds(place, networks=False) if f"{pair[0].name}/{pair[1].name}" == name)
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "valid").write_bytes(kind.content)

    def one(content: bytes) -> None:
        found = outcome(kind, folder, content)
        if found not in (TAKEN, REFUSED):
            raise Fault(f"{name}: {found}")

    def change(content: bytes, most: int, number: int) -> bytes:
        draw = random.Random(number)
        if draw.random() < 0.5:
            try:
                return damaged(Kind(kind.name, content, kind.read), draw)[:most]
            except Exception:  # noqa: BLE001  a file that is damaged already may not be one that can be taken apart
                pass
        return bytes(atheris.Mutate(content, most))

    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=20000", f"-artifact_prefix={corpus.parent}/"]
    with watching():
        atheris.Setup([name, str(corpus), *options], one, custom_mutator=change)
        atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt reader by reader; 1 where a fault was found."""
    command = Command(__doc__)
    command.whole("--seconds", 60, "for each reader")
    command.whole("--seed", 1, "of the draws")
    command.folder("--corpus", ROOT / "build" / "hunt" / "corpus", "where files are kept that reach new code")
    command.several("--only", str, None, "names of readers, such as documents/policy.json", metavar="NAME,NAME")
    command.flag("--skip-missing", "do nothing where atheris is not installed")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if importlib.util.find_spec(PACKAGE) is None:
        if options.skip_missing:
            say(f"{PACKAGE} is not installed: nothing was hunted by coverage")
            return 0
        raise WrongInput(f"the package {PACKAGE} is not installed: pip install {PACKAGE}, where it has wheels")
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{place.name}/{kind.name}" for place, kind in all_kinds(Path(folder), networks=False)]
    for name in options.only or ():
        if name not in names:
            raise WrongInput(f"--only {name}: there is no such reader; known are {', '.join(names)}")
    bad = 0
    for name in options.only or names:
        corpus = options.corpus / name.replace("/", "_")
        code = CODE.format(name=name, corpus=str(corpus), seconds=options.seconds, seed=options.seed)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        faults = [line for line in done.stdout.splitlines() if "Fault: " in line]
        bad += done.returncode != 0
        last = [line for line in done.stdout.splitlines() if line.startswith(("#", "Done"))][-1:]
        say(f"{name}: {' '.join([*faults, *last]) or done.stdout[-300:]}")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
