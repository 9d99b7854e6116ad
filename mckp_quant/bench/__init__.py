"""Benchmarks of solvers: every solver on every problem, in a process of its own, and whose answers are wrong.

Problems come from tables, problem files, the literature's text files and generated families. No torch is needed.
"""

from __future__ import annotations

from .measured import Measured, Results, read_results
from .page import write_page
from .problems import FAMILIES, BenchProblem, problems_of
from .running import RESULTS_FILE, run_bench

__all__ = [
    "FAMILIES",
    "RESULTS_FILE",
    "BenchProblem",
    "Measured",
    "Results",
    "problems_of",
    "read_results",
    "run_bench",
    "write_page",
]
