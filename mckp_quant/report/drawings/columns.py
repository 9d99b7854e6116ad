"""Drawings with a column for each layer, in the order of the network: bytes and loss, and how sure its format is."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from ...common.display import (
    LETTER,
    Markup,
    Scale,
    cut,
    drawing,
    element,
    joined,
    letters,
    levels,
    line,
    number,
    percent,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..page.data import ReportData
    from ..page.lines import LayerLine

_LEFT, _RIGHT = 58, 12
_NAMED = 15.0  # pixels of a column from which on its layer is named
_LETTERS = 20  # of a name
_TOLD = 20.0  # pixels of a column from which on its format is written above it
_POINTED = 6.0  # pixels of a bar from which on one can point at it, and be told more
_LEAST = 0.6  # pixels of a bar's height, so that it is seen
_GAP = 6.0  # pixels of a column from which on there is a gap to the next


class _Bar(NamedTuple):
    """One bar: its left and upper edge, its height, its class and what it says."""

    left: float
    top: float
    high: float
    kind: str
    words: str


def format_class(data: ReportData, name: str) -> str:
    """The class of a format, which colours it: by its rank among the table's formats in bits."""
    if name not in data.formats:
        return "float"
    order = sorted(range(len(data.formats)), key=lambda at: (data.bits[at], at))
    return f"f{order.index(data.formats.index(name))}"


def draw_layers(data: ReportData, width: int, key: str) -> Markup:
    """Draw the network: a column a layer, its bytes upwards and its share of the predicted loss downwards.

    Parameters
    ----------
    data
        What the report shows.
    width
        Of the drawing, in pixels.
    key
        Of its ids.

    Returns
    -------
    markup
        An ``svg`` element.
    """
    step = (width - _LEFT - _RIGHT) / len(data.layers)
    middle, reach = 190, 90
    stored = [each.stored_bytes or 0 for each in data.layers]
    shares = [0.0 if math.isnan(each.loss_share) else each.loss_share for each in data.layers]
    up = Scale(0, max(*stored, 1), middle, 34)
    down = Scale(0, max(*shares, 0.01), middle, middle + reach)
    parts = [
        letters(_LEFT, 14, "bytes", kind="axis"),
        letters(_LEFT, middle + reach + 18, "share of the loss", kind="axis"),
    ]
    edges = _LEFT, width - _RIGHT
    parts += [levels(up, up.ticks(3), edges), levels(down, down.ticks(2)[1:], edges, percent)]
    wide, bars = _width(step), list[_Bar]()
    for at, each in enumerate(data.layers):
        left = _LEFT + at * step + (step - wide) / 2
        kind = format_class(data, each.format)
        bars.append(_Bar(left, up(stored[at]), middle - up(stored[at]), kind, _words(each)))
        bars.append(_Bar(left, middle, down(shares[at]) - middle, f"{kind} lost", _words(each)))
        if step >= _TOLD and LETTER * len(each.format) <= step + 4:
            parts.append(letters(left + wide / 2, up(stored[at]) - 5, each.format, "middle", "small"))
    parts += [_drawn(bars, wide), line(_LEFT, middle, width - _RIGHT, middle, "zero")]
    foot, high = _names(data, step, middle + reach + 28)
    largest = max(data.layers, key=lambda each: 0 if math.isnan(each.loss_share) else each.loss_share)
    return drawing(
        key,
        (width, high),
        "The network layer by layer",
        f"{len(data.layers)} columns in the order of the network: bytes upwards, share of the loss downwards. "
        f"{largest.name} in {largest.format} carries most, {percent(largest.loss_share)}.",
        joined([*parts, foot]),
    )


def draw_stability(data: ReportData, width: int, key: str) -> Markup:
    """Draw how sure each layer's format is: a column a layer, parted by the formats of the draws.

    Parameters
    ----------
    data
        What the report shows, with the shares of the draws.
    width
        Of the drawing, in pixels.
    key
        Of its ids.

    Returns
    -------
    markup
        An ``svg`` element.
    """
    step = (width - _LEFT - _RIGHT) / len(data.layers)
    top, bottom = 28, 168
    up = Scale(0, 1, bottom, top)
    parts = [
        letters(_LEFT, 14, "share of the draws", kind="axis"),
        levels(up, (0.0, 0.5, 1.0), (_LEFT, width - _RIGHT), percent),
    ]
    wide, bars = _width(step), list[_Bar]()
    for at, each in enumerate(data.layers):
        left, reached = _LEFT + at * step + (step - wide) / 2, 0.0
        own = data.formats.index(each.format) if each.format in data.formats else -1
        # Its own format stands at the bottom, so that the columns show at a glance how often it is kept.
        for column in [own, *(other for other in range(len(each.shares)) if other != own)]:
            share = each.shares[column] if each.shares else 0.0
            if share > 0:
                words = f"{each.name}: {data.formats[column]} in {percent(share)} of the draws"
                kind = format_class(data, data.formats[column]) + ("" if column == own else " other")
                rises = up(reached) - up(reached + share)
                bars.append(_Bar(left, up(reached + share), rises, kind, words))
                reached += share
    parts.append(_drawn(bars, wide))
    foot, high = _names(data, step, bottom + 8)
    unsure = [each.name for each in data.layers if each.kept < 0.5]
    told = f"Another format than the policy's is best in most draws for {', '.join(unsure[:5])}." if unsure else ""
    return drawing(
        key,
        (width, high),
        "How sure each layer's format is",
        f"{len(data.layers)} columns in the order of the network, parted by the formats of the draws. {told}".strip(),
        joined([*parts, foot]),
    )


def _width(step: float) -> float:
    return step * 0.82 if step >= _GAP else step


def _drawn(bars: Sequence[_Bar], wide: float) -> Markup:
    """Bars with words each; narrow ones, at which nobody can point, as one path for all of a class."""
    if wide >= _POINTED:
        return joined(
            element(
                "rect",
                {"x": each.left, "y": each.top, "width": wide, "height": max(each.high, _LEAST), "class": each.kind},
                element("title", None, each.words),
            )
            for each in bars
        )
    paths: dict[str, str] = defaultdict(str)
    for each in bars:
        paths[each.kind] += f"M{each.left:.1f} {each.top:.1f}h{wide:.1f}v{max(each.high, _LEAST):.1f}h-{wide:.1f}z"
    return joined(element("path", {"d": path, "class": kind}) for kind, path in paths.items())


def _words(each: LayerLine) -> str:
    stored = "bytes not known" if each.stored_bytes is None else f"{each.stored_bytes:,} bytes"
    return (
        f"{each.name}: {each.format}, {stored}, predicted loss {number(each.predicted, 3)}"
        f" ({percent(each.loss_share)} of all)"
    )


def _names(data: ReportData, step: float, top: float) -> tuple[Markup, float]:
    """The layers' names below their columns, or numbers of some where names have no room; and the height in all."""
    parts = []
    if step >= _NAMED:
        names = [cut(each.name, _LETTERS) for each in data.layers]
        for at, name in enumerate(names):
            parts.append(letters(_LEFT + (at + 0.5) * step + 4, top + 4, name, "end", "small", -90))
        return joined(parts), top + LETTER * max(map(len, names)) + 12
    width = step * len(data.layers)
    every = next(each for each in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**6) if each * step >= 44 or each > 999)
    for at in range(0, len(data.layers), every):
        parts.append(letters(_LEFT + (at + 0.5) * step, top + 14, str(at + 1), "middle", "small"))
    parts.append(letters(_LEFT + width / 2, top + 32, "layer, in the order of the network", "middle", "axis"))
    return joined(parts), top + 40
