from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import mckp_quant
from mckp_quant import Request, allocate
from mckp_quant.common.documents import plain

from .drawn_tables import make_table

ROOT = Path(mckp_quant.__file__).parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "embed_in_toolchain.py"


def test_example_runs_without_torch_and_prints_a_proved_policy() -> None:
    script = f"import sys; sys.modules['torch'] = None; exec(open({str(EXAMPLE)!r}, encoding='utf-8').read())"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    policy, proof = done.stdout.splitlines()
    assert policy == "{'stem': 'w8', 'body': 'w4', 'head': 'w4'}"
    assert proof == "288352 bytes, proved optimal"
    assert done.stderr == ""
    code = [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines()[1:] if line and not line.startswith("#")]
    assert len(code) <= 15


@pytest.mark.parametrize("solver", ["auto", "greedy"])
def test_results_survive_pickling(solver: str) -> None:
    found = allocate(
        make_table([[3.0, 2.0, 1.0]] * 4), Request({"weight_bytes": "50%"}, tied=[["a", "b"]]), solver=solver
    )
    again = pickle.loads(pickle.dumps(found))
    assert again.policy == found.policy
    assert plain(again.policy.document()) == plain(found.policy.document())
    assert again.solution.certificate.holds(again.problem)
    assert again.index == found.index


def test_threads_find_what_one_thread_finds() -> None:
    rng = np.random.default_rng(0)
    table = make_table((rng.random((12, 1)) * [[1.0, 0.1, 0.01]]).tolist())
    shares = [f"{share}%" for share in range(30, 100, 5)]

    def values(share: str) -> tuple[str, ...]:
        return tuple(entry.name for entry in allocate(table, {"weight_bytes": share}).policy.formats)

    alone = [values(share) for share in shares]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(values, shares)) == alone
    assert len(set(alone)) > 5
