"""The trade-off: predicted loss against the bytes of weights, with uniform formats and what was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..text import number
from .axes import Scale, drawing, frame, place_names
from .markup import Markup, element, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..page.data import ReportData
    from ..page.lines import FrontLine, Measured

_HIGH = 380
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
    own = (float("nan") if facts.weight_bytes is None else facts.weight_bytes, predicted)
    seen = measured_points(data)
    losses = [loss for _, loss in front.points] + [loss for _, _, loss in front.uniforms]
    losses += [predicted] * (not math.isnan(predicted)) + [each.kl for each in seen]
    logarithmic = all(loss > 0 for loss in losses)
    sizes = [float(size) for size, _ in front.points] + [float(each.weight_bytes) for each in seen]
    sizes += [float(size) for _, size, _ in front.uniforms]
    across = Scale.around(sizes, 58, width - 14)
    up = Scale.around(losses, _HIGH - 46, 28, logarithmic=logarithmic)
    parts: list[str] = [frame(across, up, ("bytes of weights", f"loss increase ({facts.unit})"))]
    parts.append(_line(front, across, up))
    for name, size, loss in front.uniforms:
        parts.append(_square(across(size), up(loss), f"uniform {name}: {size:,} bytes, predicted {number(loss, 4)}"))
    for each in seen:
        parts.append(_with_bars(each, across, up))
    marks = []
    if not any(map(math.isnan, own)):
        x, y = across(own[0]), up(own[1])
        words = f"this policy: {facts.weight_bytes:,} bytes, predicted {number(predicted, 4)}"
        parts.append(element("path", {"d": _diamond(x, y), "class": "own"}, element("title", None, words)))
        marks.append((x, y, "this policy"))
    marks += [(across(size), up(loss), name) for name, size, loss in front.uniforms]
    taken = [(across(size), up(loss)) for size, loss in front.points]
    taken += [(across(each.weight_bytes), up(each.kl)) for each in seen]
    parts.append(place_names(marks, taken, (58, width)))
    return drawing(
        key,
        (width, _HIGH),
        "Predicted loss against the bytes of weights",
        f"A falling line of {len(front.points)} best policies from {front.points[0][0]:,} bytes to "
        f"{front.points[-1][0]:,} bytes, with {len(front.uniforms)} uniform formats, this policy, and "
        f"{len(seen)} measured networks.",
        joined(parts),
    )


def measured_points(data: ReportData) -> tuple[Measured, ...]:
    """The networks that were measured in the unit of the prediction, but for the float one."""
    return tuple(
        each for each in data.networks if each is not data.floating and not math.isnan(each.kl) and each.kl > 0
    )


def _line(front: FrontLine, across: Scale, up: Scale) -> Markup:
    (size, loss), *rest = front.points
    steps = f"M{across(size):.1f} {up(loss):.1f}" + "".join(
        f"H{across(size):.1f}V{up(loss):.1f}" for size, loss in rest
    )
    title = f"{len(front.points)} best policies; nothing between two neighbours is better than the smaller one"
    return element("path", {"d": steps, "class": "front"}, element("title", None, title))


def _square(x: float, y: float, words: str) -> Markup:
    return element(
        "rect", {"x": x - 4, "y": y - 4, "width": 8, "height": 8, "class": "uniform"}, element("title", None, words)
    )


def _diamond(x: float, y: float) -> str:
    return f"M{x:.1f} {y - 7:.1f}l7 7-7 7-7-7z"


def _with_bars(each: Measured, across: Scale, up: Scale) -> Markup:
    x, error = across(each.weight_bytes), 0.0 if math.isnan(each.kl_stderr) else _ERRORS * each.kl_stderr
    words = f"{each.name}: {each.weight_bytes:,} bytes, measured {number(each.kl, 4)}"
    bar = f"M{x:.1f} {up(each.kl + error):.1f}V{up(max(each.kl - error, up.low)):.1f}"
    return joined(
        [
            element("path", {"d": bar, "class": "error"}),
            element(
                "circle", {"cx": x, "cy": up(each.kl), "r": 4.5, "class": "measured"}, element("title", None, words)
            ),
        ]
    )


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """What the marks mean: pairs of a class and words."""
    return element(
        "ul",
        {"class": "legend"},
        *(element("li", None, element("span", {"class": f"key {kind}"}), words) for kind, words in entries),
    )
