"""A trade-off as a falling staircase: what is best at every amount, with single answers marked beside it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .axes import Scale, drawing, frame, place_names
from .markup import Markup, element, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

_HIGH = 380
_RATIO = 5.0  # of the largest to the least height, above which heights are logarithmic


class Mark(NamedTuple):
    """One answer beside the staircase.

    Attributes
    ----------
    at, height
        Where it is, in the units of the axes.
    kind
        ``"own"`` is drawn as a diamond, ``"uniform"`` as a square, ``"measured"`` as a circle.
    words
        What it says when one points at it.
    name
        What is written beside it; nothing where it is empty.
    error
        To either side of the height.
    """

    at: float
    height: float
    kind: str
    words: str
    name: str = ""
    error: float = 0.0


def draw_staircase(
    points: Sequence[tuple[float, float]],
    marks: Sequence[Mark],
    axes: tuple[str, str],
    about: tuple[str, str],
    width: int,
    key: str,
) -> Markup:
    """Draw a front and what lies around it.

    Parameters
    ----------
    points
        ``(amount, height)`` of the front by rising amount, at least one.
    marks
        Single answers; those that come first get the better places for their names, and lie above the others.
    axes
        What the amounts and the heights are.
    about
        A title and a description for those who do not see the picture.
    width
        Of the drawing, in pixels.
    key
        Of its ids.

    Returns
    -------
    markup
        An ``svg`` element; its heights are logarithmic where all are above 0 and far apart.
    """
    amounts = [amount for amount, _ in points] + [each.at for each in marks]
    heights = [height for _, height in points] + [each.height for each in marks]
    across = Scale.around(amounts, 58, width - 14)
    logarithmic = 0 < _RATIO * min(heights) < max(heights)
    up = Scale.around(heights, _HIGH - 46, 28, logarithmic=logarithmic)
    parts = [frame(across, up, axes), _stairs(points, across, up)]
    parts += [_mark(each, across, up) for each in reversed(marks)]
    named = [(across(each.at), up(each.height), each.name) for each in marks if each.name]
    taken = [(across(amount), up(height)) for amount, height in points]
    taken += [(across(each.at), up(each.height)) for each in marks if not each.name]
    parts.append(place_names(named, taken, (58, width)))
    return drawing(key, (width, _HIGH), *about, joined(parts))


def _stairs(points: Sequence[tuple[float, float]], across: Scale, up: Scale) -> Markup:
    (amount, height), *rest = points
    steps = "".join(f"H{across(amount):.1f}V{up(height):.1f}" for amount, height in rest)
    title = f"{len(points)} best answers; nothing between two neighbours is better than the smaller one"
    path = {"d": f"M{across(amount):.1f} {up(height):.1f}{steps}", "class": "front"}
    return element("path", path, element("title", None, title))


def _mark(each: Mark, across: Scale, up: Scale) -> Markup:
    x, y, said = across(each.at), up(each.height), element("title", None, each.words)
    if each.kind == "own":
        return element("path", {"d": f"M{x:.1f} {y - 7:.1f}l7 7-7 7-7-7z", "class": "own"}, said)
    if each.kind == "uniform":
        return element("rect", {"x": x - 4, "y": y - 4, "width": 8, "height": 8, "class": "uniform"}, said)
    error = 0.0 if math.isnan(each.error) else each.error
    ends = f"M{x:.1f} {up(each.height + error):.1f}V{up(max(each.height - error, up.low)):.1f}"
    circle = element("circle", {"cx": x, "cy": y, "r": 4.5, "class": "measured"}, said)
    return joined([element("path", {"d": ends, "class": "error"}), circle])
