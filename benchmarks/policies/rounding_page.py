"""The tables of docs/rounding.md, and the rival's rows in other pages, from results of the study of rounders."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING

from ..pages import fill, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

UNIFORM, GREEDY, EXACT, REFINED = "uniform", "weight error, greedy", "exact", "refined"
RIVAL_PAGES = ("results.md", "truth.md")
COLUMNS = (  # heading, menu, rounder, policy, finished
    ("exact, nearest", "channel", "nearest", EXACT, "0"),
    ("uniform, GPTQ", "channel", "gptq", UNIFORM, "1"),
    ("greedy, GPTQ", "channel", "gptq", GREEDY, "0"),
    ("exact, GPTQ", "channel", "gptq", EXACT, "1"),
    ("uniform, GPTQ, menu", "auto", "gptq", UNIFORM, "1"),
    ("exact, GPTQ, menu", "auto", "gptq", EXACT, "1"),
)


def write_pages(rows: Sequence[Mapping[str, str]], page: Path) -> None:
    """Fill the part of the page, and those of the pages beside it that show the rival."""
    fill(page, {"rounding": every(rows)})
    for name in RIVAL_PAGES:
        if (beside := page.with_name(name)).is_file():
            fill(beside, {"rivals": rivals(rows)})


def every(rows: Sequence[Mapping[str, str]]) -> str:
    """Medians over the splits, and how each stands beside uniform with the same rounder."""
    found: defaultdict[tuple[str, ...], list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in ("network", "average", "menu", "rounder", "policy", "finished"))].append(row)
    lines, head = (
        [],
        ("network", "bits", "formats", "rounder", "policy", "finished", "splits", "KL", "of uniform", "predicted"),
    )
    for key, own in found.items():
        ratios = [ratio(row) for row in own if row["over_uniform"]]
        network, average, menu, rounder, policy, finished = key
        lines.append(
            (
                *(network, average, menu, rounder, policy, "yes" if finished == "1" else "", str(len(own))),
                f"{statistics.median(float(row['kl']) for row in own):.4g}",
                f"{statistics.median(ratios):.2f}" if ratios and policy != UNIFORM else "",
                f"{statistics.median(float(row['predicted']) for row in own):.4g}",
            )
        )
    return "\n".join([*made(rows), "", comparisons(rows), "", table(head, lines), "", *costs(rows)])


def costs(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """What rounding, measuring and the last pass cost: medians of CPU seconds."""
    found: defaultdict[tuple[str, ...], list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in ("network", "menu", "rounder"))].append(row)
    names = ("bank_seconds", "table_seconds", "finish_seconds")
    lines = []
    for key, own in found.items():
        spent = [[float(row[name]) for row in own if row[name]] for name in names]
        lines.append((*key, *(f"{statistics.median(each):.1f}" if each else "" for each in spent)))
    head = ("network", "formats", "rounder", "the bank", "the table", "a last pass")
    return ["Seconds of one core, medians, on machines that did other work as well:", "", table(head, lines)]


def rivals(rows: Sequence[Mapping[str, str]]) -> str:
    """One line for each network and size: policies beside uniform with the same rounder and the same last pass."""
    lines = []
    for network, average in dict.fromkeys((row["network"], row["average"]) for row in rows):
        splits = {row["seed"] for row in rows if (row["network"], row["average"]) == (network, average)}
        cells = [network, average, str(len(splits))]
        for _, *key in COLUMNS:
            names = ("menu", "rounder", "policy", "finished")
            own = [
                float(row["kl"])
                for row in rows
                if (row["network"], row["average"]) == (network, average) and [row[name] for name in names] == key
            ]
            cells.append(f"{statistics.median(own):.4g}" if own else "")
        lines.append(tuple(cells))
    head = ("network", "bits", "splits", *(name for name, *_ in COLUMNS))
    text = "Policies of GPTQ's weights are finished, those of *greedy* and of nearest weights not."
    return "\n".join([*made(rows), f"{text} {comparisons(rows)}", "", table(head, lines)])


def made(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The commands that made the figures, and when."""
    stamps = sorted({(row["date"], row["commit"], row["versions"]) for row in rows})
    return [
        "    python -m benchmarks.policies.rounding run --data FOLDER",
        "    python -m benchmarks.policies.rounding page",
        "",
        *(f"{date}, commit {commit}, {versions}." for date, commit, versions in stamps),
        "",
        "Medians over splits of the inputs into those that calibrate and those that judge; KL to the float network, in "
        "nats.",
    ]


def comparisons(rows: Sequence[Mapping[str, str]]) -> str:
    """How often the exact policy is worse than uniform with the same rounder, both finished, and the median ratio."""
    own = [row for row in rows if row["policy"] == EXACT and row["finished"] == "1" and row["over_uniform"]]
    if not own:
        return "No policy was compared with uniform by the same rounder."
    errors = [float(row["over_uniform"]) / (float(row["over_uniform_stderr"]) or 1.0) for row in own]
    sizes = sorted({row["average"] for row in own}, key=float)
    ratios = ", ".join(
        f"{statistics.median(ratio(row) for row in own if row['average'] == size):.2f} at {size} bits" for size in sizes
    )
    return (
        f"Of {len(own)} comparisons with uniform by the same rounder, both finished, the exact policy is worse beyond "
        f"two paired standard errors in {sum(each > 2 for each in errors)}, beyond three in "
        f"{sum(each > 3 for each in errors)}; the median ratio of the KLs is {ratios}."
    )


def ratio(row: Mapping[str, str]) -> float:
    """The KL over that of uniform."""
    return float(row["kl"]) / (float(row["kl"]) - float(row["over_uniform"]))
