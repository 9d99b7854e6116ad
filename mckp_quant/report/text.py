"""Policies, allocations and comparisons as tables of plain text."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.text import Text

from ..common.display import number, percent, with_error
from ..common.shown import shown
from .ruled import ruled, wrapped_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from ..allocation.comparison import Comparison
    from ..policy.policy import Policy
    from .ruled import Ruled

_LISTED = ("weight_bytes", "stored_bits", "bops")  # totals that have a line of their own
WIDTH = 240  # columns, of files and logs: hardly anything is wrapped or cut
BLANK = Text("")


def as_text(*parts: RenderableType, width: int = WIDTH) -> str:
    """Render tables and lines as plain text, without colours, within a width.

    Parameters
    ----------
    parts
        What to render, one under the other.
    width
        The longest line, in characters.

    Returns
    -------
    text
        The text, without trailing spaces.
    """
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None, highlight=False, legacy_windows=False)
    for part in _flat(parts):
        if isinstance(part, Text):
            lines = [line for each in part.plain.split("\n") for line in wrapped_line(each, width)]
            part = Text("\n".join(lines))
        console.print(part)
    return "\n".join(shown(line.rstrip()) for line in file.getvalue().split("\n")).rstrip("\n") + "\n"


def _flat(parts: Iterable[RenderableType]) -> Iterator[RenderableType]:
    for part in parts:
        if isinstance(part, Group):
            yield from _flat(part.renderables)
        else:
            yield part


def table_of(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Ruled:
    """A table whose first `left` columns are words and whose other columns are numbers."""
    return ruled(headings, list(rows), left)


def rounder_line(rounder: str) -> str:
    """What rounded the weights that a table or a policy is about."""
    return "weights rounded to nearest" if rounder == "nearest" else f"weights rounded by {rounder}"


def policy_summary(policy: Policy) -> Text:
    """What a policy predicts and costs, and what is proved of it, one fact a line."""
    lines = [f"{policy.status} (ground: {policy.ground})" if policy.ground != "none" else policy.status]
    if policy.tolerance > 0:
        lines[0] += f", to within {number(policy.tolerance, 2)} {policy.unit}"
    if not math.isnan(policy.predicted):
        lines.append(
            f"predicted loss increase  {with_error(policy.expected.loss, policy.expected.stderr)} {policy.unit}"
        )
        if math.isnan(policy.corrected):
            lines += [f"                         {policy.correction}"] if policy.correction else []
        else:
            words = f"corrected: {policy.correction}; {number(policy.predicted, 4)} by the table that chose it"
            lines.append(f"                         {words}")
    if not math.isnan(policy.bound):
        lines.append(f"no policy is below       {number(policy.bound, 4)} {policy.unit} (gap {number(policy.gap, 3)})")
    if policy.costs:
        stored = f"{policy.costs['weight_bytes']:,} bytes, {policy.bits_per_weight:.4f} bits per weight"
        lines.append(f"weights                  {stored}")
        if "bops" in policy.costs:
            lines.append(f"bit operations           {policy.costs['bops']:,} per sample")
        units = {budget.name: budget.unit for budget in policy.budgets}
        for name, total in policy.costs.items():
            if name not in _LISTED:
                lines.append(f"{name:<24} {total:,} {units.get(name, '')}".rstrip())
    if policy.rounder:
        lines.append(f"rounded                  {'to' if policy.rounder == 'nearest' else 'by'} {policy.rounder}")
    if policy.target:
        lines.append(f"stored as by             {policy.target}")
    lines += [f"budget                   {budget}" for budget in policy.budgets]
    if policy.solver:
        lines.append(f"solver                   {policy.solver}, seed {policy.seed}")
    return Text("\n".join(lines))


def policy_layers(policy: Policy) -> Ruled:
    """The format of every layer, with the bytes that it takes."""
    tied = {name: str(number + 1) for number, names in enumerate(policy.ties) for name in names}
    pinned = dict(policy.pinned)
    bits = policy.layer_bits or (None,) * len(policy)
    rows = [
        (
            layer,
            entry.name,
            "pinned" if layer in pinned else f"tied set {tied[layer]}" if layer in tied else "",
            "-" if count is None else f"{-(-count // 8):,}",
        )
        for layer, entry, count in zip(policy.layer_names, policy.formats, bits, strict=True)
    ]
    return table_of(("layer", "format", "", "bytes"), rows, left=3)


def policy_report(policy: Policy) -> Group:
    """A policy: what is known of it, and every layer."""
    return Group(policy_summary(policy), BLANK, policy_layers(policy))


def comparison_report(comparison: Comparison) -> Group:
    """The solvers side by side, and why others did not run."""
    ran = [row for row in comparison.rows if not row.reason]
    rows = [
        (
            row.solver,
            row.status + (f" ({row.ground})" if row.ground != "none" else ""),
            number(row.value, 8),
            number(row.excess, 3),
            percent(row.relative_excess),
            "-" if row.layers_that_differ is None else str(row.layers_that_differ),
            f"{row.seconds:.3f}",
        )
        for row in ran
    ]
    headings = ("solver", "status", comparison.unit, "excess", "relative", "layers that differ", "seconds")
    lines = ["within " + ", ".join(str(budget) for budget in comparison.index.budgets)]
    if comparison.reference:
        proof = "proved optimal" if comparison.proved else "the best found, not proved optimal"
        lines.append(f"excess over the answer of {comparison.reference!r} ({proof})")
    left_out = [f"{row.solver} did not run: {row.reason}" for row in comparison.rows if row.reason]
    return Group(Text("\n".join(lines)), BLANK, table_of(headings, rows, left=2), BLANK, Text("\n".join(left_out)))
