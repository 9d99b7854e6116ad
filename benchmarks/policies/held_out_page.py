"""What docs/truth.md and docs/truth_tables.md show, from the results of `benchmarks.policies.held_out`."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from ..command_line import require_file
from ..pages import fill, read_rows, table
from .held_out_methods import CASES, EXACT, UNIFORM

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Row = dict[str, str]
HEADINGS = ("policy", "predicted KL", "held-out KL", "less that of exact", "top-1 %", "evaluations")


def write_page(results: Path, page: Path) -> None:
    """Fill the parts between markers of the page, and of the page of tables beside it."""
    require_file("--csv", results, "benchmarks.policies.held_out run")
    rows = read_rows(results)
    fill(page, {"made": made(rows)})
    fill(page.with_name(f"{page.stem}_tables.md"), {"findings": findings(rows), "tables": tables(rows)})


def made(rows: list[Row]) -> str:
    return "; ".join(dict.fromkeys(f"{row['date']}, {row['versions']}, {row['processor']}" for row in rows)) + "."


def findings(rows: list[Row]) -> str:
    """The comparisons that matter most, a line each."""
    lines = []
    halved = [row for row in rows if row["method"] == EXACT and row["over_uniform"]]
    for (network, average, size), own in _grouped(halved, "network", "average", "calibration"):
        ratio = _mean(own, "kl") / (_mean(own, "kl") - _mean(own, "over_uniform"))
        lines.append((f"{network}, {average} bits, {size} inputs: exact against uniform", f"{ratio:.2f} of its KL"))
    refined = [row for row in rows if row["method"] == "refined, 200" and row["over_exact"]]
    worse = [row for row in refined if float(row["over_exact"]) > 2 * float(row["over_exact_stderr"])]
    lines.append(
        ("runs of refine, 200, that end above two paired errors over their start", f"{len(worse)} of {len(refined)}")
    )
    for (network, average, size), own in _grouped(refined, "network", "average", "calibration"):
        saved = [-float(row["over_exact"]) / (float(row["kl"]) - float(row["over_exact"])) for row in own]
        text = f"{round(100 * statistics.median(saved))} % ({', '.join(str(round(100 * each)) for each in saved)})"
        lines.append((f"{network}, {average} bits, {size} inputs: KL saved by refine, 200, median (seeds)", text))
    lines.extend(_against_evolution(rows))
    return table(("what", "measured"), lines)


def _against_evolution(rows: list[Row]) -> list[tuple[str, str]]:
    by_cell = {(row["network"], row["average"], row["seed"], row["calibration"], row["method"]): row for row in rows}
    ratios: dict[tuple[str, str], list[float]] = {}
    passes: dict[tuple[str, str], list[float]] = {}
    for (network, average, seed, size, method), row in by_cell.items():
        refined = by_cell.get((network, average, seed, size, "refined, 200"))
        if method.startswith("evolution") and refined is not None:
            ratios.setdefault((network, method), []).append(float(refined["kl"]) / float(row["kl"]))
            passes.setdefault((network, method), []).append(float(refined["evaluations"]))
    return [
        (
            f"{network}: KL of refine, 200, over that of {method}, median (range) of {len(own)} seeds and sizes",
            f"{statistics.median(own):.2f} ({min(own):.2f} to {max(own):.2f}), "
            f"by {statistics.median(passes[network, method]):.0f} evaluations (median)",
        )
        for (network, method), own in ratios.items()
    ]


def tables(rows: list[Row]) -> str:
    """One table for each network and size."""
    text = []
    names = list(CASES.values())
    groups = sorted(_grouped(rows, "network", "calibration", "average"), key=lambda group: names.index(group[0][0]))
    for (network, size, average), own in groups:
        seeds = len({row["seed"] for row in own})
        counted = f"{seeds} {'seed' if seeds == 1 else 'seeds'}"
        title = f"**{network}, {average} bits**, {size} calibration inputs, {counted}:"
        cells = [_cells(method, some, seeds) for (method,), some in _grouped(own, "method")]
        text.append(f"{title}\n\n{table(HEADINGS, sorted(cells, key=lambda each: _order(each[0])))}")
    return "\n\n".join(text)


def _order(method: str) -> int:
    """Uniform first, then tables, then what runs the network, by evaluations."""
    name, _, count = method.partition(" (")[0].partition(", ")
    return {"uniform": -1, "refined": 1000, "evolution": 10**6}.get(name, 0) + (int(count) if count else 0)


def _cells(method: str, rows: list[Row], seeds: int) -> tuple[str, ...]:
    apart = [row for row in rows if row["over_exact"]]
    predicted = [row for row in rows if row["predicted"]]
    return (
        method + (f" ({len(rows)} of {seeds} seeds)" if len(rows) < seeds and method != UNIFORM else ""),
        f"{_mean(predicted, 'predicted'):.3g}" if predicted else "",
        f"{_mean(rows, 'kl'):.3g} ± {_mean(rows, 'kl_stderr'):.3g}",
        ""
        if method == EXACT or not apart
        else f"{_mean(apart, 'over_exact'):+.2g} ± {_mean(apart, 'over_exact_stderr'):.2g}",
        f"{100 * _mean(rows, 'accuracy'):.1f}",
        f"{_mean(rows, 'evaluations'):,.0f}",
    )


def _grouped(rows: Iterable[Row], *names: str) -> list[tuple[tuple[str, ...], list[Row]]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(groups.items())


def _mean(rows: list[Row], name: str) -> float:
    return statistics.mean(float(row[name]) for row in rows)
