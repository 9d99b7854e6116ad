"""Published problems, read from a folder of JSON files that is not part of the repository.

`mmkp_khan.json` holds Khan's multiple-choice multi-dimensional knapsacks I01 to I13 (from coin-or/Dip, EPL-1.0):
``instances[name] = {"value": (groups, choices), "weight": (groups, choices, resources), "capacity": (resources,)}``.
`hawqv3_resnet18.json` holds HAWQ-V3's tables of ResNet-18 (Yao et al. 2021; from Zhen-Dong/HAWQ, MIT): traces, squared
weight errors, sizes, bit operations and latencies of 19 layers in 4 and 8 bits, with three pairs of tied layers.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mckp_quant.solvers import Problem
from mckp_quant.solvers.instances import mmkp

if TYPE_CHECKING:
    from pathlib import Path

KHAN = "mmkp_khan.json"
HAWQ = "hawqv3_resnet18.json"
SHARES = ("0.75", "0.5", "0.25")
UNITS = {"modelsize": "bytes", "bops": "64ths of a 32-bit operation", "latency": "10 picoseconds"}


@cache
def _read(path: Path, number: type[float] | type[Decimal]) -> Any:
    return json.loads(path.read_text(encoding="utf-8"), parse_float=number)


def khan(folder: Path, name: str) -> Problem:
    """One of Khan's knapsacks; the value is the negated profit."""
    record = _read(folder / KHAN, float)["instances"][name]
    return mmkp(record["value"], record["weight"], record["capacity"])


def hawq(folder: Path, resource: str, share: str) -> Problem:
    """One of HAWQ-V3's nine problems for ResNet-18: 4 or 8 bits per layer, tied layers as one group.

    The limit lies at `share` of the way from 4 bits everywhere to 8 bits everywhere, rounded down to a whole unit.
    """
    record = _read(folder / HAWQ, Decimal)
    raw, tied = record["raw"], {second: first for first, second in record["tie_indices"]}
    units = {layer: [layer] for layer in range(len(record["layers"])) if layer not in tied}
    for second, first in tied.items():
        units[first].append(second)
    trace = raw["Hutchinson_trace"]
    loss = {b: [t * d for t, d in zip(trace, raw[f"delta_weights_{b}bit_square"], strict=True)] for b in (4, 8)}
    cost = {
        "modelsize": {b: [int(n) * b // 8 for n in raw["parameters"]] for b in (4, 8)},
        "bops": {b: [int(n) * b * b // 16 for n in raw["bops"]] for b in (4, 8)},
        "latency": {b: [int(t * 10**8) for t in raw[f"latency_int{b}"]] for b in (4, 8)},
    }[resource]
    low, high = sum(cost[4]), sum(cost[8])
    return Problem.from_table(
        [[float(sum(loss[b][layer] for layer in own)) for b in (4, 8)] for own in units.values()],
        np.array([[sum(cost[b][layer] for layer in own) for b in (4, 8)] for own in units.values()]),
        math.floor(low + Decimal(share) * (high - low)),
    )
