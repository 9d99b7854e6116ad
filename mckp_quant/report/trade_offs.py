"""Trade-offs and the questions about one answer, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from ..common.display import number, percent, with_error
from .text import BLANK, policy_report, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..policy.policy import Policy
    from ..trade_off.fronts import Front
    from ..trade_off.point import Point
    from ..trade_off.questions import Bought, Explained
    from ..trade_off.result import Measured, Selection, Smallest

_ROWS = 20  # points of a front that are listed
_CHANGES = 4  # layers that a sentence names


def front_report(front: Front) -> Group:
    """Points of a front, evenly spaced, between the uniform policies and the chosen one; the files have all."""
    listed = [*_evenly(front.points, _ROWS), *front.uniforms, *([] if front.chosen is None else [front.chosen])]
    listed.sort(key=lambda each: (each.used, -each.predicted))
    rows = [(each.name or "front", front.amount(each.used), with_error(each.predicted, each.stderr)) for each in listed]
    headings = ("policy", front.along, f"predicted loss increase, {front.unit}")
    return Group(Text("\n".join(_front_words(front))), BLANK, table_of(headings, rows))


def _front_words(front: Front) -> list[str]:
    count = f"{len(front)} points" + (", every policy that no other is better than" if front.complete else "")
    proof = (
        "each proved the best of its size" if front.error == 0 else f"each within {percent(front.error)} of the best"
    )
    words = [f"{count}; {proof}" if len(front) > 1 else f"a single point, {proof}"]
    if len(front) > _ROWS:
        words.append(f"{_ROWS} of them are listed, evenly spaced; --csv, -o and --plot have all")
    words.append("the losses are what the table predicts of policies that were chosen for it: expect more")
    return words


def _evenly(points: Sequence[Point], most: int) -> list[Point]:
    if len(points) <= most:
        return list(points)
    return [points[round(at * (len(points) - 1) / (most - 1))] for at in range(most)]


def explanation_report(found: Explained) -> Group:
    """What the budgets are worth, or why nothing fits."""
    late = [] if found.complete else ["the time was up before everything was known"]
    if found.allocation is None:
        factor = (
            []
            if found.factor is None
            else [f"all budgets together would have to be {number(found.factor, 6)} times as large"]
        )
        lines = ["no policy is within the budgets", *(f"- {each}" for each in (*found.reasons, *factor, *late))]
        return Group(Text("\n".join(lines)))
    unit = found.allocation.policy.unit
    lines = [line for each in found.bought for line in _bought_words(each, unit)]
    lines += [f"- {each}" for each in (*found.reasons, *late)]
    return Group(policy_report(found.allocation.policy), BLANK, Text("\n".join(lines)))


def _bought_words(each: Bought, unit: str) -> list[str]:
    budget = each.budget
    left = each.used - budget.limit if budget.least else budget.limit - each.used
    over = "above it" if budget.least else "left"
    lines = [f"{budget}: the policy takes {budget.in_units(each.used)}, {budget.in_units(left)} {over}"]
    counted = _one(each)
    if each.price > 0:
        lines.append(f"- it binds: one more {counted} is worth about {number(each.price, 3)} {unit} at the margin")
    else:
        lines.append("- it does not bind at the margin")
    if each.next is not None:
        more = abs(each.next.amount - budget.limit)
        changes = [f"{layer} {now} -> {then}" for layer, now, then in each.next.formats[:_CHANGES]]
        rest = len(each.next.formats) - len(changes)
        listed = ", ".join(changes) + (f" and {rest} more" if rest else "")
        lines.append(
            f"- the next amount that helps is {budget.in_units(each.next.amount, up=True)}, {more:,} {counted}s "
            f"{'less' if budget.least else 'more'}: it saves {number(each.next.saving, 3)} {unit} ({listed})"
        )
    return lines


def _one(each: Bought) -> str:
    """What one unit of a budget is called, in what it counts."""
    names = {"weight_bytes": "byte", "bits_per_weight": "stored bit", "bops": "bit operation"}
    return names.get(each.budget.name, each.budget.unit or "unit")


def k_best_report(policies: Sequence[Policy]) -> Group:
    """The policies in their order, with what each changes of the first."""
    first = policies[0]
    rows = []
    for rank, policy in enumerate(policies, 1):
        changes = [
            f"{layer} {one.name} -> {other.name}"
            for layer, one, other in zip(first.layer_names, first.formats, policy.formats, strict=True)
            if one.name != other.name
        ]
        listed = ", ".join(changes[:_CHANGES]) + (f" and {len(changes) - _CHANGES} more" * (len(changes) > _CHANGES))
        rows.append(
            (
                listed or "-",
                str(rank),
                with_error(policy.predicted, policy.predicted_stderr),
                number(policy.predicted - first.predicted, 3),
                f"{policy.costs['weight_bytes']:,}",
            )
        )
    headings = ("changes of the best", "rank", f"predicted, {first.unit}", "above the best", "bytes")
    return Group(table_of(headings, rows))


def smallest_report(found: Smallest) -> Group:
    """The policy, what was measured around it, and the verdict."""
    marks = {id(found.best): "smallest"}
    marks.setdefault(id(found.possible), "possible")
    if found.sure is not None:
        marks.setdefault(id(found.sure), "sure")
    rows = [(*_row(found.front, each, marks), with_error(each.figure, each.stderr)) for each in found.measured]
    headings = (*_headings(found.front), found.metric)
    return Group(policy_report(found.policy), BLANK, table_of(headings, rows), BLANK, Text(found.verdict))


def selection_report(found: Selection) -> Group:
    """The points that were measured, how much worse than the best they are, and the verdict."""
    marks = {id(found.best): "best"}
    rows = [
        (*_row(found.front, each, marks), with_error(each.figure, each.stderr), with_error(above, error))
        for each, (above, error) in zip(found.measured, found.differences, strict=True)
    ]
    headings = (*_headings(found.front), "KL", "above the best")
    return Group(policy_report(found.policy), BLANK, table_of(headings, rows), BLANK, Text(found.verdict))


def _headings(front: Front) -> tuple[str, ...]:
    return "", front.along, f"predicted, {front.unit}"


def _row(front: Front, each: Measured, marks: Mapping[int, str]) -> tuple[str, ...]:
    return marks.get(id(each), ""), front.amount(each.point.used), number(each.point.predicted, 4)
