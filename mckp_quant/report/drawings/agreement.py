"""Predicted against measured loss: the whole networks, and single layers where they were measured alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...common.display import Markup, Scale, drawing, element, frame, joined, number, place_names

if TYPE_CHECKING:
    from ..page.data import ReportData

_HIGH = 400
_FACTOR = 2.0  # either way: how far a prediction of single layers may be off and still help to choose
_NAMED = 4  # layers that are named


def has_agreement(data: ReportData) -> bool:
    """Whether there is anything to draw."""
    return bool(_networks(data) or _layers(data))


def draw_agreement(data: ReportData, width: int, key: str) -> Markup:
    """Draw predicted against measured loss, both logarithmic.

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
    networks, layers = _networks(data), _layers(data)
    both = [amount for _, *pair in (*networks, *layers) for amount in pair]
    across = Scale.around(both, 58, width - 14, logarithmic=True)
    up = Scale(across.low, across.high, _HIGH - 46, 28, True)
    unit = data.facts.unit
    parts = [frame(across, up, (f"predicted ({unit})", f"measured ({unit})"))]
    low, high = across.low, across.high
    band = [
        (low, low * _FACTOR),
        (high / _FACTOR, high),
        (high, high),
        (high, high / _FACTOR),
        (low * _FACTOR, low),
        (low, low),
    ]
    parts.append(
        element("polygon", {"points": " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in band), "class": "band"})
    )
    parts.append(
        element("path", {"d": f"M{across(low):.1f} {up(low):.1f}L{across(high):.1f} {up(high):.1f}", "class": "equal"})
    )
    for name, predicted, measured in layers:
        words = f"{name} alone: predicted {number(predicted, 3)}, measured {number(measured, 3)}"
        parts.append(_dot(across(predicted), up(measured), 3.5, "layer", words))
    for name, predicted, measured in networks:
        words = f"{name}: predicted {number(predicted, 4)}, measured {number(measured, 4)}"
        kind = "own" if data.own is not None and name == data.own.name else "measured"
        parts.append(_dot(across(predicted), up(measured), 6, kind, words))
    marks = [(across(predicted), up(measured), name) for name, predicted, measured in reversed(networks)]
    far = sorted(layers, key=lambda each: -abs(math.log(each[2] / each[1])))[:_NAMED]
    marks += [(across(predicted), up(measured), name) for name, predicted, measured in far]
    taken = [(across(predicted), up(measured)) for _, predicted, measured in layers]
    parts.append(place_names(marks, taken, (58, width)))
    return drawing(
        key,
        (width, _HIGH),
        "Predicted against measured loss",
        f"{len(networks)} networks and {len(layers)} single layers; on the diagonal both are equal, in the band they "
        f"are within a factor of {_FACTOR:g}.",
        joined(parts),
    )


def _networks(data: ReportData) -> list[tuple[str, float, float]]:
    return [(each.name, each.predicted, each.kl) for each in data.networks if each.predicted > 0 and each.kl > 0]


def _layers(data: ReportData) -> list[tuple[str, float, float]]:
    return [
        (each.name, each.predicted, each.measured) for each in data.layers if each.predicted > 0 and each.measured > 0
    ]


def _dot(x: float, y: float, radius: float, kind: str, words: str) -> Markup:
    return element("circle", {"cx": x, "cy": y, "r": radius, "class": kind}, element("title", None, words))
