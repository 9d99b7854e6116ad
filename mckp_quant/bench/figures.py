"""Figures of many measurements: medians, geometric means, growth, and performance profiles."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def median(values: Iterable[float]) -> float:
    """The median; nan of nothing."""
    return statistics.median(found) if (found := list(values)) else math.nan


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean; nan of nothing."""
    return math.exp(statistics.fmean(math.log(each) for each in found)) if (found := list(values)) else math.nan


def exponent(points: Iterable[tuple[float, float]]) -> float:
    """The slope of a straight line through the logarithms, by least squares; nan of fewer than two sizes."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    if len({x for x, _ in logs}) < 2:
        return math.nan
    return statistics.linear_regression(*zip(*logs, strict=True)).slope


def performance_ratios(seconds: Mapping[str, Mapping[str, float]]) -> dict[str, list[float]]:
    """How many times longer each solver took than the fastest one, problem by problem, in rising order.

    The share of them up to a factor t is the performance profile of the solver at t (Dolan and More 2002,
    *Benchmarking optimization software with performance profiles*, Mathematical Programming 91, 201-213).

    Parameters
    ----------
    seconds
        From solver to problem to the time it took; what it did not solve is left out, or infinite.

    Returns
    -------
    ratios
        From solver to one ratio for each problem that any solver solved: at least 1, infinite where this solver did not
        solve it.
    """
    problems = dict.fromkeys(name for own in seconds.values() for name in own)
    fastest = {name: min(own.get(name, math.inf) for own in seconds.values()) for name in problems}
    solved = [name for name in problems if fastest[name] < math.inf]
    return {
        solver: sorted(own.get(name, math.inf) / fastest[name] if fastest[name] else 1.0 for name in solved)
        for solver, own in seconds.items()
    }


def share_within(ratios: list[float], factor: float) -> float:
    """The share of finite ratios up to a factor: a performance profile at that factor; nan of nothing."""
    return sum(ratio <= factor and ratio < math.inf for ratio in ratios) / len(ratios) if ratios else math.nan
