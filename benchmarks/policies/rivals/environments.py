"""An environment of its own for each tool, and its worker run there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from ...command_line import WrongInput, say
from ...pages import ROOT
from .workers.job import read_answer

if TYPE_CHECKING:
    from pathlib import Path

    from .tools import Tool
    from .workers.job import Answer

LOG = "worker.log"
SHOWN = 3  # of the lines that pip wrote before it failed


def python_of(environments: Path, tool: Tool) -> Path:
    """The Python of the tool's environment, which is made where the folder has none, or none with the tool."""
    folder = environments / tool.name
    python = folder / "bin" / "python"
    if not python.exists():
        say(f"{tool.name}: making {folder}")
        _call([sys.executable, "-m", "venv", str(folder)], tool)
    wanted, _, version = tool.packages[0].partition("==")
    script = f"from importlib.metadata import version; raise SystemExit(version({wanted!r}) != {version!r})"
    if subprocess.run([str(python), "-c", script], capture_output=True, check=False).returncode:
        say(f"{tool.name}: installing {', '.join(tool.packages)}")
        _call([str(python), "-m", "pip", "install", "--quiet", *tool.packages], tool)
    return python


def answer_of(python: Path, tool: Tool, folder: Path) -> Answer:
    """Run the worker on the job of a folder, with one core and no network, and read its answer."""
    settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with (folder / LOG).open("w", encoding="utf-8") as log:
        done = subprocess.run(
            [str(python), "-m", tool.worker, str(folder)],
            cwd=folder,
            env={**os.environ, **settings, "CUDA_VISIBLE_DEVICES": ""},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        # The last line is the error; those before it name folders, and the message goes into the results.
        last = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise WrongInput(f"{tool.name} failed (exit code {done.returncode}): {''.join(last)}")
    return read_answer(folder)


def _call(command: list[str], tool: Tool) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).splitlines()[-SHOWN:]
        raise WrongInput(f"--tool {tool.name}: its environment could not be made: {' | '.join(last)}")
