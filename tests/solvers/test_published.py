"""Problems with published answers: HAWQ-V3's nine for ResNet-18, and Khan's knapsacks with several budgets."""

from __future__ import annotations

import dataclasses
import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant.solvers import Problem, Status

from .checks import COMPLETE, here, solved, solved_or_refused

if TYPE_CHECKING:
    from pathlib import Path

NINE = [(constraint, share) for constraint in ("modelsize", "bops", "latency") for share in ("0.75", "0.5", "0.25")]


@dataclasses.dataclass(frozen=True)
class Hawq:
    """The published tables in exact arithmetic: decimals as printed, costs in whole units."""

    layers: list[str]
    units: list[list[int]]  # layers that must have the same bits; most are alone
    loss: dict[int, list[Decimal]]
    cost: dict[str, dict[int, list[int]]]
    published: dict[tuple[str, str], dict[str, Any]]

    def omega(self, bits: list[int]) -> Decimal:
        return sum((self.loss[b][layer] for layer, b in enumerate(bits)), Decimal(0))

    def use(self, constraint: str, bits: list[int]) -> int:
        return sum(self.cost[constraint][b][layer] for layer, b in enumerate(bits))

    def limit(self, constraint: str, share: str) -> int:
        """``total(4) + share (total(8) - total(4))``, rounded down to a whole unit."""
        low, high = (sum(self.cost[constraint][b]) for b in (4, 8))
        return math.floor(low + Decimal(share) * (high - low))

    def problem(self, constraint: str, share: str) -> Problem:
        value = [[float(sum(self.loss[b][layer] for layer in unit)) for b in (4, 8)] for unit in self.units]
        cost = [[sum(self.cost[constraint][b][layer] for layer in unit) for b in (4, 8)] for unit in self.units]
        return Problem.from_table(value, cost, self.limit(constraint, share))

    def bits(self, choice: Any) -> list[int]:
        chosen = dict.fromkeys(range(len(self.layers)), 0)
        for unit, column in zip(self.units, choice.tolist(), strict=True):
            chosen |= dict.fromkeys(unit, (4, 8)[column])
        return list(chosen.values())


def whole(number: Decimal) -> int:
    assert number == int(number)
    return int(number)


@pytest.fixture(scope="module")
def hawq(instances: Path) -> Hawq:
    path = instances / "hawqv3_resnet18.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the folder of published problems")
    record = json.loads(path.read_text(), parse_float=Decimal)
    raw = record["raw"]
    tied = {second: first for first, second in record["tie_indices"]}
    assert len(tied) == 3
    units = [[layer] for layer in range(len(record["layers"]))]
    for second, first in tied.items():
        units[first].append(second)
    trace = raw["Hutchinson_trace"]
    return Hawq(
        layers=record["layers"],
        units=[unit for layer, unit in enumerate(units) if layer not in tied],
        loss={b: [t * d for t, d in zip(trace, raw[f"delta_weights_{b}bit_square"], strict=True)] for b in (4, 8)},
        cost={
            "modelsize": {b: [n * b // 8 for n in raw["parameters"]] for b in (4, 8)},  # bytes
            "bops": {b: [n * b * b // 16 for n in raw["bops"]] for b in (4, 8)},  # 1/64 of a 32-bit operation
            "latency": {b: [whole(t * 10**8) for t in raw[f"latency_int{b}"]] for b in (4, 8)},  # 10 picoseconds
        },
        published={(one["constraint"], str(one["fraction"])): one for one in record["problems"]},
    )


@pytest.mark.parametrize(("constraint", "share"), NINE)
def test_exact_units_are_the_published_ones(hawq: Hawq, constraint: str, share: str) -> None:
    published = hawq.published[constraint, share]
    unit = {"modelsize": 2**20, "bops": 64 * 10**6, "latency": 10**8}[constraint]
    assert hawq.limit(constraint, share) / unit == pytest.approx(float(published["limit"]), rel=1e-7)
    for kind in ("published", "optimal"):
        bits = published[f"{kind}_bits"]
        assert hawq.use(constraint, bits) / unit == pytest.approx(float(published[f"{kind}_use"]), rel=1e-12)
        assert float(hawq.omega(bits)) == pytest.approx(float(published[f"{kind}_objective"]), rel=1e-12)


@pytest.mark.parametrize(("constraint", "share"), NINE)
@pytest.mark.parametrize("solver", COMPLETE)
def test_hawq_v3_is_matched_and_proved_optimal(hawq: Hawq, solver: str, constraint: str, share: str) -> None:
    here(solver)
    solution = solved(hawq.problem(constraint, share), solver)
    published = hawq.published[constraint, share]
    assert solution.status is Status.OPTIMAL
    bits = hawq.bits(solution.choice)
    assert all(bits[unit[0]] == bits[other] for unit in hawq.units for other in unit)
    assert hawq.use(constraint, bits) == solution.cost[0] <= hawq.limit(constraint, share)
    assert hawq.omega(bits) <= hawq.omega(published["published_bits"])
    assert hawq.omega(bits) == hawq.omega(published["optimal_bits"])
    assert bits == published["optimal_bits"]
    assert solution.value == pytest.approx(float(published["optimal_objective"]), rel=1e-12)


@pytest.mark.parametrize(("name", "optimum"), [("I01", 173.0), ("I02", 364.0)])
@pytest.mark.parametrize("solver", COMPLETE)
def test_khans_knapsacks_have_their_proven_optima(instances: Path, solver: str, name: str, optimum: float) -> None:
    here(solver)
    path = instances / "mmkp_khan.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the folder of published problems")
    instance = json.loads(path.read_text())["instances"][name]
    weight = np.moveaxis(np.array(instance["weight"]), -1, 0)
    problem = Problem.from_table(-np.array(instance["value"]), weight, instance["capacity"])
    solution = solved_or_refused(problem, solver)
    if solution is None:
        return
    assert solution.status is Status.OPTIMAL
    assert solution.value == -optimum
