"""Line charts as SVG, without a plotting library: the page of a benchmark has to open wherever it was measured."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT = 640, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 16, 48
_LEGEND = 18  # pixels a line
# Told apart by people who see colours differently (Okabe and Ito 2008, Color universal design), on light and on dark.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
_DASHES = ("", "6 3", "2 3")


@dataclass(frozen=True)
class Axis:
    """An axis: its title, its ends, and whether it is logarithmic."""

    title: str
    low: float
    high: float
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Where numbers stand: powers of ten, or fifths."""
        if not self.logarithmic:
            return [self.low + (self.high - self.low) * step / 5 for step in range(6)]
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        every = max(1, (last - first) // 6)
        return [10.0**power for power in range(first, last + 1, every)]


def line_chart(lines: Mapping[str, Sequence[tuple[float, float]]], x: Axis, y: Axis, title: str) -> str:
    """Draw lines, with a legend below.

    Parameters
    ----------
    lines
        From name to points within both axes.
    x, y
        The axes.
    title
        What is shown, for those who cannot see it.

    Returns
    -------
    svg
        One document. Axes and words have the colour of the text around it.
    """
    height = _HEIGHT + _LEGEND * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img" '
        f'font-family="sans-serif" font-size="13" fill="currentColor">',
        f"<title>{html.escape(title)}</title>",
    ]
    for tick in x.ticks():
        at = _x(x, tick)
        parts.append(_rule(at, _TOP, at, _HEIGHT - _BOTTOM))
        parts.append(_text(at, _HEIGHT - _BOTTOM + 18, f"{tick:g}", "middle"))
    for tick in y.ticks():
        at = _y(y, tick)
        parts.append(_rule(_LEFT, at, _WIDTH - _RIGHT, at))
        parts.append(_text(_LEFT - 8, at + 4, f"{tick:.4g}", "end"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x.title, "middle"))
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(_text(14, middle, y.title, "middle", f' transform="rotate(-90 14 {middle:.1f})"'))
    for number, (name, points) in enumerate(lines.items()):
        style = (
            f'fill="none" stroke="{_COLOURS[number % len(_COLOURS)]}" stroke-width="2" '
            f'stroke-dasharray="{_DASHES[number // len(_COLOURS) % len(_DASHES)]}"'
        )
        places = " ".join(f"{_x(x, across):.1f},{_y(y, up):.1f}" for across, up in points)
        parts.append(f'<polyline points="{places}" {style}/>')
        at = _HEIGHT + _LEGEND * number
        parts.append(f'<line x1="{_LEFT}" y1="{at}" x2="{_LEFT + 32}" y2="{at}" {style}/>')
        parts.append(_text(_LEFT + 40, at + 4, name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.share(value) * (_HEIGHT - _TOP - _BOTTOM)


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor" stroke-opacity="0.2"/>'


def _text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(words)}</text>'
