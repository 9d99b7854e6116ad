"""Figures, their files, and labels that neither cover each other nor what they name."""

from __future__ import annotations

import io
import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...common.files import write_bytes
from ...common.packages import require
from ...errors import unknown

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

KINDS = (".png", ".svg")
_INCHES = (7.2, 4.6)
_MARGINS = {"left": 0.12, "right": 0.97, "bottom": 0.12, "top": 0.97}
_DOTS = 150  # per inch of a PNG
WITHOUT = "everything but pictures works without it"
_AWAY = (6, 14, 26, 40, 60)  # points between a mark and its label, tried in turn
_SIDES = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
_LED = 20  # points, from which on a line leads from the label to its mark
_MARK = 4  # points that a mark takes to each side


def figure(ax: Any = None) -> tuple[Any, Any]:
    """A figure and its axes: those given, or new ones, which no window and no global state knows of.

    Parameters
    ----------
    ax
        Axes of matplotlib, or None.

    Returns
    -------
    figure, axes
        Of matplotlib.

    Raises
    ------
    PackageMissing
        When matplotlib is not installed.
    """
    if ax is not None:
        return ax.figure, ax
    require("matplotlib", "plot", WITHOUT)
    made = require("matplotlib.figure", "plot", WITHOUT).Figure(figsize=_INCHES)
    made.subplots_adjust(**_MARGINS)  # a layout engine would draw everything twice more
    require("matplotlib.backends.backend_agg", "plot", WITHOUT).FigureCanvasAgg(made)
    axes = made.add_subplot()
    axes.margins(x=0.07)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    return made, axes


def check_picture(path: str | os.PathLike[str]) -> str:
    """The kind of a picture by the end of its name, ``".png"`` or ``".svg"``; raises InvalidInput for others."""
    kind = Path(path).suffix.casefold()
    if kind not in KINDS:
        raise unknown("kind of picture", kind or str(path), KINDS)
    return kind


def save_figure(made: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure, whole or not at all; the same figure gives the same file.

    Parameters
    ----------
    made
        A figure of matplotlib.
    path
        Where to write, .png or .svg.

    Raises
    ------
    InvalidInput
        When the name ends in something else.
    """
    kind = check_picture(path)
    file = io.BytesIO()
    rules = {"svg.hashsalt": "mckp-quant", "svg.fonttype": "none"}
    with require("matplotlib", "plot", WITHOUT).rc_context(rules):
        made.savefig(file, format=kind[1:], dpi=_DOTS, metadata={"Date": None} if kind == ".svg" else None)
    write_bytes(path, file.getvalue())


def label_marks(
    ax: Any,
    marks: Sequence[tuple[float, float, str]],
    *,
    avoid: Sequence[tuple[float, float]] = (),
    color: str = "0.25",
    size: float = 8,
) -> None:
    """Write a label beside each mark where it covers no label, mark or legend; call it when all else is drawn.

    Parameters
    ----------
    ax
        The axes; their limits are kept from here on.
    marks
        For each its two coordinates, in the units of the axes, and the label. Earlier ones get the better places.
    avoid
        Coordinates of other marks, or along lines, that labels should leave free.
    color, size
        Of the letters, the size in points.
    """
    if ax.figure.get_layout_engine() is not None:
        ax.figure.draw_without_rendering()  # sizes are known only after the layout
    ax.set_xlim(ax.get_xlim())
    ax.set_ylim(ax.get_ylim())
    renderer = ax.figure.canvas.get_renderer()
    points = ax.figure.dpi / 72
    places = [ax.transData.transform((across, up)) for across, up, _ in marks]
    reach = _MARK * points
    others = [ax.transData.transform(each) for each in avoid]
    taken = [(x - reach, y - reach, x + reach, y + reach) for x, y in (*places, *others)]
    legend = ax.get_legend()
    taken += [] if legend is None else [tuple(legend.get_window_extent(renderer).extents)]
    within = ax.get_window_extent(renderer).extents
    for at, (across, up, text) in enumerate(marks):
        place, strangers = places[at], places[:at] + places[at + 1 :]
        box = ax.text(0, 0, text, fontsize=size, transform=None)
        wide, high = box.get_window_extent(renderer).size
        box.remove()
        best, covered = (0.0, 0.0, 0), math.inf
        for right, above, away in _around():
            corner = _corner(place, (wide, high), right, above, away * points)
            spot = (*corner, corner[0] + wide, corner[1] + high)
            cost = sum(_overlap(spot, other) for other in taken) + _outside(spot, within)
            if any(_distance(spot, other) <= _distance(spot, place) for other in strangers):
                cost += wide * high  # it would seem to be the other one's
            if cost < covered:
                best, covered = (right, above, away), cost
            if covered == 0:
                break
        right, above, away = best
        corner = _corner(place, (wide, high), right, above, away * points)
        taken.append((*corner, corner[0] + wide, corner[1] + high))
        ax.annotate(
            text,
            (across, up),
            xytext=((corner[0] - place[0]) / points, (corner[1] - place[1]) / points),
            textcoords="offset points",
            fontsize=size,
            color=color,
            ha="left",
            va="bottom",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6} if away >= _LED else None,
        )


def _around() -> Iterator[tuple[float, float, int]]:
    for away, (right, above) in itertools.product(_AWAY, _SIDES):
        yield right, above, away


def _corner(
    place: Sequence[float], size: tuple[float, float], right: float, above: float, away: float
) -> tuple[float, float]:
    """Where the lower left corner of a label is that stands on one side of its mark."""
    x = place[0] + right * away - size[0] * (1 - right) / 2
    y = place[1] + above * away - size[1] * (1 - above) / 2
    return x, y


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _distance(spot: Sequence[float], mark: Sequence[float]) -> float:
    """From a mark to the nearest edge of a label."""
    x = max(spot[0] - mark[0], mark[0] - spot[2], 0.0)
    y = max(spot[1] - mark[1], mark[1] - spot[3], 0.0)
    return math.hypot(x, y)


def _outside(spot: Sequence[float], within: Sequence[float]) -> float:
    """How much of a label lies outside the axes."""
    area = (spot[2] - spot[0]) * (spot[3] - spot[1])
    return area - _overlap(spot, within)
