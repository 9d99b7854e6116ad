"""Scales, ticks, letters and the frame of a drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .markup import Markup, element, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LETTER = 7.4  # pixels that a letter takes at 12 pixels of height, in a wide font
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_DECADES = 3  # of a logarithmic scale, up to which there are ticks within decades
_SIDES = ((8, 4, "start"), (-8, 4, "end"), (0, -9, "middle"), (0, 19, "middle"), (8, -9, "start"), (8, 17, "start"))
_MORE_SIDES = ((-8, -9, "end"), (-8, 17, "end"), (14, -18, "start"), (14, 26, "start"), (-14, -18, "end"))


@dataclass(frozen=True)
class Scale:
    """From numbers to pixels.

    Attributes
    ----------
    low, high
        The numbers at the two ends, different ones.
    start, stop
        The pixels there.
    logarithmic
        Whether equal ratios, not differences, are equally far apart; then both numbers are above 0.
    """

    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool = False

    @classmethod
    def around(cls, numbers: Iterable[float], start: float, stop: float, *, logarithmic: bool = False) -> Scale:
        """A scale with a little room around some numbers."""
        found = sorted(numbers)
        low, high = (found[0], found[-1]) if found else (1.0, 2.0)
        if logarithmic:
            room = (high / low) ** 0.06 if high > low else 2.0
            return cls(low / room, high * room, start, stop, True)
        room = 0.06 * (high - low) if high > low else (abs(high) / 2 or 1.0)
        return cls(low - room, high + room, start, stop)

    def __call__(self, number: float) -> float:
        """Where a number is, in pixels; numbers beyond the ends are put there."""
        at = min(max(number, self.low), self.high)
        part = (
            math.log(at / self.low) / math.log(self.high / self.low)
            if self.logarithmic
            else (at - self.low) / (self.high - self.low)
        )
        return self.start + part * (self.stop - self.start)

    def ticks(self, most: int) -> list[float]:
        """Round numbers within the scale, at most so many."""
        return self._decades(most) if self.logarithmic else self._steps(most)

    def _steps(self, most: int) -> list[float]:
        rough = (self.high - self.low) / max(most, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * each for each in (1, 2, 5, 10, 20) if power * each >= rough)
        first = math.ceil(self.low / step)
        return [step * each for each in range(first, math.floor(self.high / step) + 1)]

    def _decades(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = max(1, math.ceil((last - first) / max(most, 1)))
        within = (1, 2, 5) if last - first <= _DECADES and most > 4 else (1, 3) if last - first <= _DECADES else (1,)
        found = [each * 10.0**power for power in range(first, last + 1, every) for each in within]
        return [each for each in found if self.low <= each <= self.high]


def short(number: float) -> str:
    """A number for an axis, such as ``20k`` or ``1e-05``."""
    for size, prefix in _PREFIXES:
        if abs(number) >= size:
            return f"{number / size:.4g}{prefix}"
    return f"{number:.3g}"


def cut(text: str, letters: int) -> str:
    """The text, or its beginning and end with an ellipsis between."""
    if len(text) <= letters:
        return text
    tail = (letters - 1) * 2 // 3  # the end of a layer's name says more than its beginning
    return f"{text[: letters - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{text[-tail:]}"


def letters(
    x: float, y: float, text: str, anchor: str = "start", kind: str | None = None, turned: float | None = None
) -> Markup:
    """One line of text; `turned` is in degrees."""
    place = {"x": x, "y": y} if turned is None else {"transform": f"translate({x:.1f} {y:.1f}) rotate({turned:g})"}
    # The names of marks have a halo, below their letters; as an attribute, since validators of CSS do not know it.
    order = "stroke" if kind == "name" else None
    given = {**place, "text-anchor": None if anchor == "start" else anchor, "class": kind, "paint-order": order}
    return element("text", given, text)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """One straight line."""
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": kind})


def levels(
    up: Scale, ticks: Iterable[float], edges: tuple[float, float], words: Callable[[float], str] = short
) -> Markup:
    """Horizontal lines of the grid from edge to edge, and the number of each at its left, as `words` writes it."""
    left, right = edges
    return joined(
        joined([line(left, up(tick), right, up(tick), "grid"), letters(left - 6, up(tick) + 4, words(tick), "end")])
        for tick in ticks
    )


def frame(across: Scale, up: Scale, names: tuple[str, str], unit: str = "") -> Markup:
    """Ticks, lines of the grid and the names of both axes; `unit` follows the numbers along the horizontal one."""
    left, right = across.start, across.stop
    bottom, top = up.start, up.stop
    parts = [levels(up, up.ticks(max(2, int((bottom - top) / 50))), (left, right))]
    for tick in across.ticks(max(4, int((right - left) / 90))):
        parts += [
            line(across(tick), bottom, across(tick), top, "grid"),
            letters(across(tick), bottom + 17, short(tick) + unit, "middle"),
        ]
    parts.append(letters((left + right) / 2, bottom + 36, names[0], "middle", "axis"))
    parts.append(letters(left, top - 9, names[1], "start", "axis"))
    return joined(parts)


def place_names(
    marks: Sequence[tuple[float, float, str]], taken: Sequence[tuple[float, float]], box: tuple[float, float]
) -> Markup:
    """Write a name beside each mark, where it covers no other; where there is no room, none.

    Parameters
    ----------
    marks
        Pixels across and down, and the name; earlier ones get the better places.
    taken
        Pixels of what names should not cover.
    box
        The left and right edge of the drawing.

    Returns
    -------
    markup
        The names.
    """
    covered = [(x - 5, y - 5, x + 5, y + 5) for x, y in (*taken, *((x, y) for x, y, _ in marks))]
    parts = []
    for x, y, text in marks:
        wide = LETTER * len(text)
        for right, down, anchor in (*_SIDES, *_MORE_SIDES):
            left = x + right - {"start": 0, "middle": wide / 2, "end": wide}[anchor]
            spot = (left, y + down - 10, left + wide, y + down + 3)
            if spot[0] < box[0] or spot[2] > box[1] or any(_touches(spot, each) for each in covered):
                continue
            covered.append(spot)
            parts.append(letters(x + right, y + down, text, anchor, "name"))
            break
    return joined(parts)


def _touches(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def drawing(key: str, size: tuple[float, float], title: str, description: str, content: Markup) -> Markup:
    """The whole picture, with a title and a description for those who do not see it.

    Parameters
    ----------
    key
        Of which the ids of title and description are made; once on a page.
    size
        Width and height, in pixels.
    title, description
        What it is, and what it says.
    content
        The drawing.

    Returns
    -------
    markup
        An ``svg`` element.
    """
    wide, high = size
    return element(
        "svg",
        {
            "viewBox": f"0 0 {wide:g} {high:g}",
            "width": wide,
            "height": high,
            "role": "img",
            "aria-labelledby": f"{key}-title {key}-desc",
            "xmlns": "http://www.w3.org/2000/svg",
        },
        element("title", {"id": f"{key}-title"}, title),
        element("desc", {"id": f"{key}-desc"}, description),
        content,
    )
