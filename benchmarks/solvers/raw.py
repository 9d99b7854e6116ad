"""General solvers given the plain model, as one writes it in a hurry: nothing is reduced, scaled or checked again.

Each function takes a problem and a time limit in seconds and returns what the solver says: a selection (positions in
the flat arrays) or None, and whether it claims to have proved it optimal. The model has one binary variable for each
choice, one row for each group and one row for each budget.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from scipy.optimize._milp import _OptionsMILP

    from mckp_quant.solvers import Problem


class Said(NamedTuple):
    """What a solver said: a selection, and whether it claims that it is optimal."""

    choice: NDArray[np.int64] | None
    optimal: bool


def cp_sat(problem: Problem, seconds: float) -> Said:
    """CP-SAT with the values scaled so that they add up to 2**50."""
    largest = float(np.maximum.reduceat(np.abs(problem.value), problem.start[:-1]).sum())
    return _cp_sat(problem, seconds, 2.0**50 / largest if largest else 1.0)


def cp_sat_micro(problem: Problem, seconds: float) -> Said:
    """CP-SAT with the values as whole millionths of the largest."""
    largest = float(np.abs(problem.value).max())
    return _cp_sat(problem, seconds, 1e6 / largest if largest else 1.0)


def cp_sat_float(problem: Problem, seconds: float) -> Said:
    """CP-SAT with the values as they are: it scales a float objective by itself."""
    return _cp_sat(problem, seconds, None)


def _cp_sat(problem: Problem, seconds: float, scale: float | None) -> Said:
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    x = [model.new_bool_var("") for _ in range(problem.n_choices)]
    for first, last in zip(problem.start[:-1], problem.start[1:], strict=True):
        model.add_exactly_one(x[first:last])
    for row, limit in zip(problem.cost, problem.budget.tolist(), strict=True):
        model.add(cp_model.LinearExpr.weighted_sum(x, row.tolist()) <= limit)
    value = problem.value.tolist()
    weights = value if scale is None else [round(each * scale) for each in value]
    model.minimize(cp_model.LinearExpr.weighted_sum(x, weights))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Said(None, False)
    chosen = [index for index, variable in enumerate(x) if solver.boolean_value(variable)]
    return Said(np.array(chosen), status == cp_model.OPTIMAL)


def highs(problem: Problem, seconds: float) -> Said:
    """HiGHS through SciPy with a relative gap of 0."""
    return _highs(problem, {"time_limit": seconds, "mip_rel_gap": 0.0})


def highs_default(problem: Problem, seconds: float) -> Said:
    """HiGHS through SciPy as it comes."""
    return _highs(problem, {"time_limit": seconds})


def _highs(problem: Problem, options: _OptionsMILP) -> Said:
    from scipy import optimize, sparse

    n = problem.n_choices
    one: Any = sparse.csr_array((np.ones(n), np.arange(n), problem.start), shape=(problem.n_groups, n))
    result = optimize.milp(
        problem.value,
        integrality=np.ones(n, dtype=np.int64),
        bounds=optimize.Bounds(0, 1),
        constraints=[
            optimize.LinearConstraint(one, 1, 1),
            optimize.LinearConstraint(problem.cost.astype(np.float64), -np.inf, problem.budget.astype(np.float64)),
        ],
        options=options,
    )
    if result.x is None:
        return Said(None, False)
    return Said(_largest(problem, result.x), result.status == 0)


def cbc(problem: Problem, seconds: float) -> Said:
    """CBC through PuLP as it comes."""
    import pulp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PuLP 3 announces the names of version 4
        return _cbc(pulp, problem, seconds)


def _cbc(pulp: Any, problem: Problem, seconds: float) -> Said:
    x = [pulp.LpVariable(f"x{index}", cat="Binary") for index in range(problem.n_choices)]
    model = pulp.LpProblem("allocation", pulp.LpMinimize)
    model += pulp.LpAffineExpression(zip(x, problem.value.tolist(), strict=True))
    for first, last in zip(problem.start[:-1], problem.start[1:], strict=True):
        model += pulp.lpSum(x[first:last]) == 1
    for row, limit in zip(problem.cost, problem.budget.tolist(), strict=True):
        model += pulp.LpAffineExpression(zip(x, row.tolist(), strict=True)) <= limit
    model.solve(pulp.PULP_CBC_CMD(msg=False, timeLimit=seconds, threads=1))
    if model.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return Said(None, False)
    found = np.array([variable.value() or 0.0 for variable in x])
    return Said(_largest(problem, found), model.sol_status == pulp.LpSolutionOptimal)


def scip(problem: Problem, seconds: float) -> Said:
    """SCIP through PySCIPOpt as it comes."""
    import pyscipopt

    model = pyscipopt.Model()
    model.hideOutput()
    model.setParam("limits/time", seconds)
    x = [model.addVar(vtype="B") for _ in range(problem.n_choices)]
    for first, last in zip(problem.start[:-1], problem.start[1:], strict=True):
        model.addCons(pyscipopt.quicksum(x[first:last]) == 1)
    for row, limit in zip(problem.cost, problem.budget.tolist(), strict=True):
        model.addCons(pyscipopt.quicksum(each * own for each, own in zip(x, row.tolist(), strict=True)) <= limit)
    model.setObjective(pyscipopt.quicksum(each * own for each, own in zip(x, problem.value.tolist(), strict=True)))
    model.optimize()
    if model.getNSols() == 0:
        return Said(None, False)
    best: Any = model.getBestSol()
    found = np.array([best[variable] for variable in x])
    return Said(_largest(problem, found), model.getStatus() == "optimal")


def _largest(problem: Problem, x: NDArray[np.float64]) -> NDArray[np.int64]:
    """The largest entry of each group."""
    order = np.lexsort((-x, problem.group))
    return np.asarray(order[problem.start[:-1]])


RAW: dict[str, Callable[[Problem, float], Said]] = {
    "raw cp_sat": cp_sat,
    "raw cp_sat 1e6": cp_sat_micro,
    "raw cp_sat float": cp_sat_float,
    "raw highs": highs,
    "raw highs default": highs_default,
    "raw cbc": cbc,
    "raw scip": scip,
}
