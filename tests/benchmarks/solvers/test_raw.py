from __future__ import annotations

import pytest

from benchmarks.solvers import raw
from mckp_quant.bench.worker import exact_value, over_budget
from mckp_quant.solvers import solve

from .problems import small


def test_raw_models_reach_the_optimum_of_a_plain_problem() -> None:
    problem = small(8)
    for name in ("raw cp_sat", "raw cp_sat 1e6", "raw cp_sat float", "raw highs", "raw highs default"):
        said = raw.RAW[name](problem, 10.0)
        assert said.optimal
        assert said.choice is not None
        assert exact_value(problem, said.choice) == pytest.approx(solve(problem).value, rel=1e-6)
        assert over_budget(problem, said.choice) == 0
    assert over_budget(problem.with_budget(-3), problem.start[:-1]) >= 3
