"""The scripts of docs/many_machines.md, with a stub in place of the program: which parts they ask for, and how."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mckp_quant
from mckp_quant.cli.entry import application

PAGE = (Path(mckp_quant.__file__).parents[1] / "docs" / "many_machines.md").read_text(encoding="utf-8")
STUB = '#!/bin/bash\necho "$@" >> "$CALLS"\n'


def block(kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def calls(script: str, folder: Path, variable: str, values: range) -> list[list[str]]:
    """What a script calls the program with, for every value of the variable that its queue sets."""
    program, said = folder / "mckp-quant", folder / "calls"
    program.write_text(STUB)
    program.chmod(0o755)
    for value in values:
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(said), variable: str(value)}
        subprocess.run(["bash", "-c", script], check=True, env=environment)
    return [shlex.split(line) for line in said.read_text().splitlines()]


def check(found: list[list[str]]) -> None:
    """Eight parts, each with a file and a checkpoint of its own, by options that exist."""
    assert [call[call.index("--part") + 1] for call in found] == [f"{part}/8" for part in range(1, 9)]
    for part, call in enumerate(found, start=1):
        assert call[0] == "measure"
        assert call[call.index("-o") + 1] == f"part{part}.json"
        assert call[call.index("--checkpoint") + 1] == f"state{part}.json"
    help_text = CliRunner().invoke(application, ["measure", "--help"]).output
    assert all(word in help_text for word in found[0] if word.startswith("--"))


def test_the_slurm_array_asks_for_every_part(tmp_path: Path) -> None:
    script = block("bash")
    assert "--array=1-8\n" in script
    check(calls(script, tmp_path, "SLURM_ARRAY_TASK_ID", range(1, 9)))


def test_the_kubernetes_job_asks_for_every_part(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    spec = yaml.safe_load(block("yaml"))["spec"]
    assert spec["completionMode"] == "Indexed"
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == ["bash", "-c"]
    (script,) = container["args"]
    check(calls(script, tmp_path, "JOB_COMPLETION_INDEX", range(spec["completions"])))


class Ray:
    """A stub that runs tasks at once."""

    def remote(self, num_gpus: int) -> Any:
        def of(function: Any) -> Any:
            return type("Task", (), {"remote": staticmethod(function)})

        return of

    def get(self, tasks: list[Any]) -> list[Any]:
        return tasks


def test_the_line_for_ray_merges_every_part() -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("parts = ray.get")]
    given: dict[str, Any] = {"ray": Ray(), "measure_part": lambda part: part, "mq": type("Stub", (), {"merge": list})}
    exec(line, given)
    assert given["table"] == [f"{part}/8" for part in range(1, 9)]
