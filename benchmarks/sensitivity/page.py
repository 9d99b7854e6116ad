"""The tables of docs/sensitivity.md, from the lines of a results file."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from ..pages import table
from .studies import FAMILIES, FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Row = dict[str, str]

TITLES = {"digits": "digits", "resnet20": "ResNet-20", "chargpt": "character transformer"}
UNLIKE_KL = {"weight_mse", "sqnr"}  # in units of their own: no ratio


def parts_of(rows: Sequence[Row]) -> dict[str, str]:
    """Markdown for each pair of markers in the page."""
    makers = {"costs": costs, "memory": memory, "traces": traces, "spreads": spreads, "ranks": ranks}
    return {name: "\n\n".join([*maker(rows), stamp(rows)]) for name, maker in makers.items()}


def stamp(rows: Iterable[Row]) -> str:
    """When and with what."""
    given = [", ".join(sorted({row[key] for row in rows})) for key in ("date", "commit", "versions", "processor")]
    return "; ".join(each for each in given if each) + "."


def networks(rows: Iterable[Row]) -> list[str]:
    """Those that occur, in the order of `TITLES`."""
    found = {row["network"] for row in rows}
    return [name for name in TITLES if name in found]


def figures(rows: Iterable[Row], part: str, network: str) -> dict[str, dict[str, list[float]]]:
    """By method and name, one value for each seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if (row["part"], row["network"]) == (part, network):
            found.setdefault(row["method"], {}).setdefault(row["name"], []).append(float(row["value"]))
    return found


def by_network(rows: Sequence[Row], part: str, name: str) -> dict[str, dict[str, float]]:
    """By method and network."""
    found: dict[str, dict[str, float]] = {}
    for network in networks(rows):
        for method, values in figures(rows, part, network).items():
            if name in values:
                found.setdefault(method, {})[network] = statistics.median(values[name])
    return found


def costs(rows: Sequence[Row]) -> list[str]:
    """Gradient evaluations."""
    found = by_network(rows, "cost", "gradients")
    shown = networks(rows)
    lines = [
        (f"`{method}`" if "," not in method else method, *(_number(values.get(name)) for name in shown))
        for method, values in found.items()
    ]
    return [table(("estimator", *(TITLES[name] for name in shown)), lines)]


def memory(rows: Sequence[Row]) -> list[str]:
    """MiB, and the quotient by the gradient's."""
    found = by_network(rows, "memory", "peak")
    shown = networks(rows)
    unit = found.get("gradient", {})
    lines = []
    for method, values in found.items():
        cells = [
            f"{values[name] / 2**20:.1f} ({values[name] / unit[name]:.2f})" if name in values and name in unit else ""
            for name in shown
        ]
        lines.append((f"`{method}`" if "," not in method else method, *cells))
    return [table(("one batch", *(f"{TITLES[name]}, MiB" for name in shown)), lines)]


def traces(rows: Sequence[Row]) -> list[str]:
    """PyHessian's run beside passes of `gauss_newton`."""
    headings = (
        "network",
        "PyHessian: draws",
        "CPU seconds",
        "error",
        "`gauss_newton`: CPU seconds a pass",
        "error of the sum",
        "error of an entry",
        "times cheaper: sum",
        "all entries",
    )
    lines = []
    for network in networks(rows):
        found = figures(rows, "trace", network)
        if len(found) < 2:
            continue
        theirs, ours = ({key: values[0] for key, values in found[m].items()} for m in ("pyhessian", "gauss_newton"))
        cells = [f"{theirs['draws']:.0f}", f"{theirs['seconds']:.1f}", f"{100 * theirs['error']:.1f} %"]
        cells += [f"{ours['seconds']:.2f}", f"{100 * ours['total error']:.1f} %", f"{100 * ours['error']:.1f} %"]
        for error in (ours["total error"], ours["error"]):
            passes = max(1, math.ceil((error / theirs["error"]) ** 2))
            cells.append(_number(theirs["seconds"] / (passes * ours["seconds"])))
        lines.append((TITLES[network], *cells))
    return [table(headings, lines)] if lines else []


def spreads(rows: Sequence[Row]) -> list[str]:
    """Plain probes beside Hutch++."""
    shown = networks(rows)
    lines = [
        (
            f"`{method}`, {name.split()[1]} products",
            *(f"{100 * values[each]:.1f} %" if each in values else "" for each in shown),
        )
        for name in ("spread 3", "spread 12")
        for method, values in by_network(rows, "spread", name).items()
    ]
    return [table(("one trace", *(TITLES[name] for name in shown)), lines)] if lines else []


def ranks(rows: Sequence[Row]) -> list[str]:
    """Rank correlations, a table for each network."""
    formats, parts = FORMATS.split(","), []
    headings = (
        "estimator",
        *formats,
        "worst",
        *(f"{{{family}}}" for family in FAMILIES),
        "worst",
        "predicted / measured",
    )
    for network in networks(rows):
        lines = []
        for method, values in figures(rows, "accuracy", network).items():
            within = [values[f"within {name}"] for name in formats]
            policies = [values[f"policies {family}"] for family in FAMILIES]
            ratio = " ".join(f"{statistics.median(values[f'ratio {name}']):.2g}" for name in formats)
            lines.append(
                (
                    f"`{method}`" + (" (one seed)" if len(within[0]) == 1 and method not in UNLIKE_KL else ""),
                    *(f"{statistics.median(each):.2f}" for each in within),
                    f"{min(map(min, within)):.2f}",
                    *(f"{statistics.median(each):.2f}" for each in policies),
                    f"{min(map(min, policies)):.2f}",
                    "" if method in UNLIKE_KL else ratio,
                )
            )
        if lines:
            parts += [f"{TITLES[network]}:", table(headings, lines)]
    return parts


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"
