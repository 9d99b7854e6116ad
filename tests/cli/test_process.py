"""The program as a process: what only shows from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mckp_quant

from ..drawn_tables import make_table

ROOT = Path(mckp_quant.__file__).parents[1]
TABLE = make_table([[9.0, 3.0, 1.0], [5.0, 2.0, 1.0], [7.0, 1.0, 0.0]])
WITHOUT_TORCH = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "sklearn", "safetensors"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
from mckp_quant.cli import main
code = main()
assert "torch" not in sys.modules
sys.exit(code)
"""


def run(
    folder: Path, *arguments: str, python: tuple[str, ...] = ("-m", "mckp_quant")
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, *arguments]
    # PYTHONPATH, because a checkout need not be installed to be tested.
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment, timeout=120
    )


def test_results_go_to_stdout_messages_to_stderr_and_codes_tell_what_happened(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "table.json")
    done = run(tmp_path, "solve", "table.json", "--budget", "weight_bytes=50%", "--json", "-o", "policy.json")
    assert (done.returncode, done.stderr) == (0, "wrote policy.json\n")
    assert json.loads(done.stdout) == json.loads((tmp_path / "policy.json").read_text())
    failed = run(tmp_path, "solve", "table.json", "--budget", "weight_bytes=1", "-o", "none.json")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "the least that works" in failed.stderr
    wrong = run(tmp_path, "solve", "table.json", "--budget", "weight_bytes=x", "-o", "none.json")
    assert (wrong.returncode, wrong.stdout, len(wrong.stderr.splitlines())) == (2, "", 1)
    assert "Traceback" not in failed.stderr + wrong.stderr
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["policy.json", "table.json"]


@pytest.mark.slow
def test_table_work_needs_no_torch_and_the_rest_says_what_to_type(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "table.json")
    python = ("-c", WITHOUT_TORCH)
    solved = run(tmp_path, "solve", "table.json", "--budget", "bops=50%", "-o", "policy.json", python=python)
    assert solved.returncode == 0, solved.stderr
    compared = run(tmp_path, "compare", "table.json", "--budget", "bops=50%", "--solver", "exact,highs", python=python)
    assert compared.returncode == 0, compared.stderr
    for arguments in (
        ("measure", "m.py:model", "--data", "d.npz", "-o", "new.json"),
        ("validate", "policy.json", "--model", "m.py:model", "--data", "d.npz"),
        ("demo", "-o", "demo"),
    ):
        refused = run(tmp_path, *arguments, python=python)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "pip install 'mckp-quant[" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["policy.json", "table.json"]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_are_results(tmp_path: Path, option: str) -> None:
    done = run(tmp_path, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mckp-quant" in done.stdout
