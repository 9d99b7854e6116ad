"""What searches found, and how methods stand beside each other, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from ..common.display import number, percent, with_error
from .text import BLANK, policy_report, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..evaluation.figures import Evaluation
    from ..search import Found, MethodResult


def search_report(found: Found) -> Group:
    """The policy, what it took, and the way there."""
    way = table_of(
        ("evaluations", "best fitness"), [(f"{at:g}", number(best, 6)) for at, best in found.history], left=0
    )
    ended = found.stopped if found.stopped in {"finished", "interrupted"} else f"out of {found.stopped}"
    head = f"{found.method}: {ended} after {found.evaluations:g} evaluations, {found.seconds:.1f} seconds"
    return Group(policy_report(found.policy), BLANK, Text(head), BLANK, way)


def standings_report(rows: Sequence[tuple[MethodResult, Evaluation | None]]) -> Group:
    """The methods side by side; figures are of the data that they were judged on.

    Parameters
    ----------
    rows
        What each method chose, and what was measured under it; None where it chose nothing.
    """
    cells = []
    for standing, measured in rows:
        policy = standing.policy
        if policy is None or measured is None:
            cells.append((standing.method, *["-"] * 6, f"{standing.seconds:.1f}", standing.status))
            continue
        cells.append(
            (
                standing.method,
                f"{policy.costs['weight_bytes']:,}",
                f"{policy.costs['bops']:,}" if "bops" in policy.costs else "-",
                number(policy.expected.loss, 4),
                with_error(measured.kl, measured.kl_stderr),
                percent(measured.accuracy),
                f"{standing.evaluations:g}",
                f"{standing.seconds:.1f}",
                standing.status,
            )
        )
    headings = ("method", "bytes", "BOPs", "predicted", "measured KL", "accuracy", "evaluations", "seconds", "status")
    return Group(table_of(headings, cells))
