"""The picture of a trade-off: loss against a budget, with the uniform policies and the chosen one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...costs.costs import RESOURCES, VARIANTS
from .canvas import figure, label_marks

if TYPE_CHECKING:
    from ...trade_off.fronts import Front
    from ...trade_off.point import Point

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_FRONT, _UNIFORM, _CHOSEN = "#2563a8", "0.45", "#c2410c"
_SHORT = 40  # points, up to which each is marked


def draw_front(front: Front, *, ax: Any = None) -> Any:
    """Draw a front.

    The line is what the table predicts, the band two standard errors of that to either side. It has steps, since
    nothing between two neighbours is known to be better than the cheaper one.

    Parameters
    ----------
    front
        The front.
    ax
        Axes of matplotlib to draw on; by default a new figure.

    Returns
    -------
    figure
        The figure of matplotlib.

    Raises
    ------
    PackageMissing
        When matplotlib is not installed.
    """
    made, axes = figure(ax)
    scale, unit = scale_of(front)
    used = np.array([each.used for each in front.points]) / scale
    loss = np.array([each.predicted for each in front.points])
    shown = [*front.points, *front.uniforms, *([] if front.chosen is None else [front.chosen])]
    logarithmic = all(each.predicted > 0 for each in shown)
    if logarithmic:
        axes.set_yscale("log")
    marker = "." if len(front) <= _SHORT else ""
    axes.plot(used, loss, color=_FRONT, marker=marker, linewidth=1.6, drawstyle="steps-post", label="best policies")
    error = np.array([each.stderr for each in front.points])
    if not np.isnan(error).all():
        low = loss - 2 * np.nan_to_num(error)
        low = np.maximum(low, 0.05 * loss) if logarithmic else low  # a logarithm has no room for less
        axes.fill_between(
            used, low, loss + 2 * np.nan_to_num(error), color=_FRONT, alpha=0.15, step="post", linewidth=0
        )
    if front.uniforms:
        _mark(axes, front.uniforms, scale, _UNIFORM, "s", "uniform")
    if front.limit is not None:
        axes.axvline(front.limit / scale, color=_CHOSEN, linewidth=0.9, linestyle=(0, (4, 3)), label="budget")
    if front.chosen is not None:
        _mark(axes, (front.chosen,), scale, _CHOSEN, "D", "chosen")
    name = front.along.replace("_", " ")
    axes.set_xlabel(name if unit in ("", name) else f"{name} ({unit})")
    axes.set_ylabel(f"predicted loss increase ({front.unit})")
    axes.legend(edgecolor="none", framealpha=1, fontsize=8, loc="upper right")
    label_marks(
        axes,
        [(each.used / scale, each.predicted, each.name.removeprefix("uniform ")) for each in front.uniforms],
        avoid=[(each.used / scale, each.predicted) for each in shown if each not in front.uniforms],
    )
    return made


def scale_of(front: Front) -> tuple[float, str]:
    """By what the uses of a front are divided in a picture, and the unit that they have then."""
    kind = (RESOURCES | VARIANTS).get(front.along)
    if kind is not None and kind.per_weight:
        return float(front.budget.n_weights), kind.unit
    most = max(each.used for each in front.points)
    name = front.budget.unit or ("" if kind is None else kind.unit)
    size, prefix = next(((size, prefix) for size, prefix in _PREFIXES if most >= 2 * size), (1.0, ""))
    if kind is not None and kind.symbol:
        return size, f"{prefix}{kind.symbol}"
    return size, f"{size:,.0f} {name}".strip() if prefix else name


def _mark(axes: Any, points: tuple[Point, ...], scale: float, color: str, marker: str, label: str) -> None:
    axes.plot(
        [each.used / scale for each in points],
        [each.predicted for each in points],
        linestyle="",
        marker=marker,
        markersize=5,
        color=color,
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=label,
    )
