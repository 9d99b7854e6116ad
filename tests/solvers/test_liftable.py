"""The folder `solvers` can be copied into another project: under another name, without the rest of this one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from mckp_quant import solvers

GUARD = 'if __name__ != "mckp_quant.solvers":'

LIFTED = """
import sys


class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mckp_quant", "solvers"):
            raise ImportError(f"{name} is imported")


sys.meta_path.insert(0, Forbidden())
try:
    import mckp_quant
except ImportError:
    pass
else:
    raise SystemExit("mckp_quant can be imported")
import knapsack

problem = knapsack.Problem.from_table([[4.0, 2.0, 0.0], [1.0, 0.5, 0.0]], [[1, 3, 9], [2, 4, 6]], 5)
solution = knapsack.solve(problem).require()
assert solution.status is knapsack.Status.OPTIMAL
assert solution.certificate.holds(problem)
for name, reason in knapsack.available().items():
    if reason is None and name != "pairwise":
        assert knapsack.solve(problem, name).certificate.holds(problem)
assert knapsack.front(problem).value[-1] == solution.value
assert not [name for name in sys.modules if name.partition(".")[0] in ("mckp_quant", "solvers")]
print(solution.choice.tolist(), solution.value)
"""


def test_folder_solves_under_another_name_and_alone(tmp_path: Path) -> None:
    lifted = tmp_path / "knapsack"
    shutil.copytree(Path(solvers.__file__).parent, lifted, ignore=shutil.ignore_patterns("__pycache__"))
    entry = lifted / "__init__.py"
    before, guard, after = entry.read_text(encoding="utf-8").partition(GUARD)
    assert guard
    rest = after[after.index("\nfrom .") :]  # the guard ends where the imports begin
    entry.write_text(before + rest, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", LIFTED], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "[1, 0] 3.0"
