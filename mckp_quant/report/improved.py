"""How sure a policy is and what measuring made of it, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from ..common.display import number, percent, with_error
from .text import BLANK, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..refinement.result import Confirmation, Refinement
    from ..stability.result import Stability
    from ..stability.sanity import Doubt
    from ..tuning.finished import Finished

_SHOWN = 12  # doubts before the rest is counted


def stability_report(found: Stability, doubts: Sequence[Doubt] = ()) -> Group:
    """The verdict, the policy beside a robust one, and how often each layer keeps its format."""
    candidates = [("nominal", found.nominal), ("robust", found.robust)]
    compared = [
        (
            name if name == "nominal" or each is not found.nominal else "robust (the same)",
            number(each.policy.expected.loss, 4),
            percent(each.best),
            number(each.regret.expected, 3),
            number(each.regret.high, 3),
            number(each.regret.worst, 3),
        )
        for name, each in candidates
    ]
    layers = [
        (
            layer,
            found.nominal.policy[layer].name,
            percent(float(kept)),
            found.robust.policy[layer].name,
            ", ".join(
                f"{name} {percent(float(share))}"
                for name, share in zip(found.formats, shares, strict=True)
                if share > 0
            ),
        )
        for layer, kept, shares in zip(found.layer_names, found.kept, found.shares, strict=True)
    ]
    head = f"{found.draws} draws of the table's {found.resampled}; different best policies: {found.distinct}"
    regrets = ("policy", "predicted", "best in", "mean regret", "95 % regret", "worst regret")
    return Group(
        Text(head),
        Text(found.verdict),
        BLANK,
        table_of(regrets, compared),
        BLANK,
        table_of(("layer", "format", "kept in", "robust", "formats of the draws"), layers, left=2),
        *(() if not doubts else (BLANK, doubts_report(doubts))),
    )


def doubts_report(doubts: Sequence[Doubt]) -> Text:
    """What is doubtful about a table, a line each."""
    lines = [f"- {each}" for each in doubts[:_SHOWN]]
    if len(doubts) > _SHOWN:
        lines.append(f"- and {len(doubts) - _SHOWN} more")
    return Text("\n".join(["doubts about the table:", *lines]))


def refinement_report(found: Refinement) -> Group:
    """The verdict, and the rounds whose changes were kept."""
    rows = [
        (
            number(step.evaluations, 4),
            number(step.kl, 4),
            with_error(step.difference, step.stderr),
            "; ".join(step.changes),
        )
        for step in found.steps
        if step.kept
    ]
    headings = ("evaluations", "KL", "difference", "changes")
    tail = (BLANK, table_of(headings, rows, left=0)) if rows else ()
    return Group(Text(found.verdict), Text(f"stopped: {found.stopped}"), *tail)


def confirmation_report(found: Confirmation) -> Group:
    """The verdict, and the cells that were measured."""
    rows = [
        (each.layer, each.format, number(each.before, 4), with_error(each.loss, each.stderr)) for each in found.replaced
    ]
    tail = (BLANK, table_of(("layer", "format", "before", "measured"), rows, left=2)) if rows else ()
    return Group(Text(found.verdict), Text(f"stopped: {found.stopped}"), *tail)


def finished_report(found: Finished) -> Text:
    """What was decided, a line each."""
    return Text("\n".join(found.decided.words))
