"""The tables of docs/comparison.md, from results of other tools beside those of mckp-quant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...pages import fill, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Row = Mapping[str, str]

HEADINGS = ("average bits", "formats", "policy", "bytes", "held-out KL", "top-1 %", "seconds")
OWN = "mckp-quant"


def write_page(rows: Sequence[Row], page: Path) -> None:
    """Fill the part of the page between its markers."""
    fill(page, {"rivals": text(rows)})


def text(rows: Sequence[Row]) -> str:
    """How it was made, a table for each network, and what could not be run."""
    parts = ["\n".join(made(rows))]
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network and row["kl"]]
        if own:
            # A stable sort: within one size and menu the tools stay in the order in which they ran, ours last.
            own.sort(key=lambda row: (float(row["average"]), row["menu"], row["tool"] == OWN))
            parts.append(f"## {network}\n\n{table(HEADINGS, [cells(row) for row in own])}")
    if failed := [row for row in rows if not row["kl"]]:
        lines = [f"- {row['version']}, {row['network']}{asked(row)}: {row['note']}." for row in failed]
        parts.append("\n".join(["## What could not be run", "", *lines]))
    return "\n\n".join(parts)


def asked(row: Row) -> str:
    """The method and the size, where one was asked for."""
    return f", {row['policy']}, {row['average']} bits" if row["average"] else ""


def cells(row: Row) -> tuple[str, ...]:
    """One policy as the table shows it."""
    return (
        row["average"],
        row["menu"].replace(",", " "),
        f"{row['tool']}: {row['policy']}",
        f"{int(row['weight_bytes']):,}",
        f"{float(row['kl']):.3g} ± {float(row['kl_stderr']):.1g}",
        f"{100 * float(row['accuracy']):.1f}" if row["accuracy"] else "",
        f"{float(row['seconds']):.0f}",
    )


def made(rows: Sequence[Row]) -> list[str]:
    """The commands that made the figures, when, and with which versions."""
    tools = sorted({row["version"] for row in rows})
    stamps = sorted({(row["date"], row["commit"], row["versions"], row["processor"]) for row in rows})
    return [
        "    python -m benchmarks.policies.rivals run --data FOLDER --environments FOLDER",
        "    python -m benchmarks.policies.rivals page",
        "",
        f"{', '.join(tools)}.",
        *(f"{date}, commit {commit}, {versions}, {processor}." for date, commit, versions, processor in stamps),
    ]
