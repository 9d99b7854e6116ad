"""The trade-off: predicted loss against the bytes of weights, with uniform formats and what was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...common.display import Mark, Markup, draw_staircase, element, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..page.data import ReportData
    from ..page.lines import Measured

_ERRORS = 2  # standard errors to either side of a measured loss


def draw_trade_off(data: ReportData, width: int, key: str) -> Markup:
    """Draw the trade-off.

    Parameters
    ----------
    data
        What the report shows; its `front` is not None.
    width
        Of the drawing, in pixels.
    key
        Of its ids.

    Returns
    -------
    markup
        An ``svg`` element.
    """
    front, facts = data.front, data.facts
    assert front is not None
    predicted, _ = facts.expected
    seen = measured_points(data)
    marks = []
    if facts.weight_bytes is not None and not math.isnan(predicted):
        words = f"this policy: {facts.weight_bytes:,} bytes, predicted {number(predicted, 4)}"
        marks.append(Mark(facts.weight_bytes, predicted, "own", words, "this policy"))
    for name, size, loss in front.uniforms:
        words = f"uniform {name}: {size:,} bytes, predicted {number(loss, 4)}"
        marks.append(Mark(size, loss, "uniform", words, name))
    for each in seen:
        words = f"{each.name}: {each.weight_bytes:,} bytes, measured {number(each.kl, 4)}"
        marks.append(Mark(each.weight_bytes, each.kl, "measured", words, error=_ERRORS * each.kl_stderr))
    description = (
        f"A falling line of {len(front.points)} best policies from {front.points[0][0]:,} bytes to "
        f"{front.points[-1][0]:,} bytes, with {len(front.uniforms)} uniform formats, this policy, and "
        f"{len(seen)} measured networks."
    )
    return draw_staircase(
        front.points,
        marks,
        ("bytes of weights", f"loss increase ({facts.unit})"),
        ("Predicted loss against the bytes of weights", description),
        width,
        key,
    )


def measured_points(data: ReportData) -> tuple[Measured, ...]:
    """The networks that were measured in the unit of the prediction, but for the float one."""
    return tuple(
        each for each in data.networks if each is not data.floating and not math.isnan(each.kl) and each.kl > 0
    )


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """What the marks mean: pairs of a class and words."""
    return element(
        "ul",
        {"class": "legend"},
        *(element("li", None, element("span", {"class": f"key {kind}"}), words) for kind, words in entries),
    )
