"""The colours of formats, from few bits to many, for a light and for a dark page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .data import ReportData

# Red for few bits, over green, to blue for many; each stands out from its background by 3 to 1 at least.
_LIGHT = ("#b3261e", "#c2620a", "#8a7a00", "#2f7d32", "#00797a", "#1f5fbf", "#5b3fb0")
_DARK = ("#ff8a80", "#ffb066", "#e0d060", "#7fd88a", "#5fd6d3", "#8ab8ff", "#c0adff")


def color_rules(data: ReportData) -> str:
    """Style rules that give each format of the table its colour: on drawings, bars and keys.

    Parameters
    ----------
    data
        What the report shows.

    Returns
    -------
    rules
        CSS.
    """
    count = len(data.formats)
    names = [f"f{rank}" for rank in range(count)]
    light = _variables(names, _spread(_LIGHT, count))
    dark = _variables(names, _spread(_DARK, count))
    uses = "".join(f".{name}{{fill:var(--{name});background:var(--{name})}}" for name in names)
    return (
        f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}@media print{{:root{{{light}}}}}{uses}\n"
    )


def format_colors(count: int) -> list[str]:
    """The colours of so many formats on a light page, from few bits to many, as ``#rrggbb``."""
    return _spread(_LIGHT, count)


def _variables(names: Sequence[str], colors: Sequence[str]) -> str:
    return "".join(f"--{name}:{color};" for name, color in zip(names, colors, strict=True))


def _spread(stops: Sequence[str], count: int) -> list[str]:
    """So many colours, evenly spaced along a line through some."""
    if count == 1:
        return [stops[-2]]
    found = []
    for at in range(count):
        place = at * (len(stops) - 1) / (count - 1)
        first = min(int(place), len(stops) - 2)
        found.append(_between(stops[first], stops[first + 1], place - first))
    return found


def _between(one: str, other: str, part: float) -> str:
    pairs = [(int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(a + part * (b - a)):02x}" for a, b in pairs)
