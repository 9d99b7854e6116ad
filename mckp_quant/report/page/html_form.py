"""The report as one HTML page that needs no network: style, script and drawings are in it."""

from __future__ import annotations

import math
from importlib import resources
from typing import TYPE_CHECKING

from ...common.display import Markup, element, joined
from ..drawings.agreement import draw_agreement, has_agreement
from ..drawings.columns import draw_layers, draw_stability
from ..drawings.trade_off import draw_trade_off, legend, measured_points
from .colors import color_rules
from .grids import format_legend, heat_map, layers_grid, plain_grid, signed
from .sections import sections_of, title_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .data import ReportData
    from .sections import Section

_WIDE, _NARROW = 1152, 342  # pixels of a drawing: on a screen, and on a telephone of 390
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_POLICY_NAMES = {"http-equiv": "Content-Security-Policy", "content": _POLICY}


def as_html(data: ReportData) -> str:
    """The report as a page.

    Parameters
    ----------
    data
        What it shows.

    Returns
    -------
    page
        A whole document, in UTF-8 when it is written.
    """
    title = title_of(data)
    sections = sections_of(data)
    links = [element("li", None, element("a", {"href": f"#{each.key}"}, each.title)) for each in sections]
    head = element(
        "head",
        None,
        element("meta", {"charset": "utf-8"}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", _POLICY_NAMES),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", None, title),
        element("style", None, Markup(_file("page.css") + color_rules(data))),
    )
    body = element(
        "body",
        None,
        element("a", {"class": "skip", "href": "#summary"}, "To the summary"),
        element("header", None, element("h1", None, title), element("p", None, data.facts.made_by)),
        element("nav", {"aria-label": "Sections"}, element("ul", None, *links)),
        element("main", None, *(_section(data, each) for each in sections)),
        element("script", None, Markup(_file("page.js"))),
    )
    return f"<!DOCTYPE html>\n{element('html', {'lang': 'en'}, head, body)}\n"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _section(data: ReportData, section: Section) -> Markup:
    title = f"{section.key}-heading"
    parts: list[Markup] = [element("h2", {"id": title}, section.title)]
    parts += [
        element("p", {"class": "lead" if section.key == "summary" else None}, signed(each)) for each in section.words
    ]
    if section.items:
        parts.append(element("ul", None, *(element("li", None, each) for each in section.items)))
    special = _SPECIAL.get(section.key)
    parts += [_own(data, section)] if special is None else [special(data, section)]
    if section.text:
        told = {"tabindex": "0", "role": "region", "aria-label": "Recipe and provenance"}
        parts.append(element("pre", told, section.text))
    return element("section", {"id": section.key, "aria-labelledby": title}, *parts)


def _own(data: ReportData, section: Section) -> Markup:
    return joined(map(plain_grid, section.grids))


def _summary(data: ReportData, section: Section) -> Markup:
    rows = section.grids[0].rows
    pairs = [
        element(
            "div",
            None,
            element("dt", None, name),
            element("dd", {"class": "figure"}, signed(value)),
            element("dd", None, signed(note)),
        )
        for name, value, note in rows
    ]
    return element("dl", {"class": "cards"}, *pairs)


def _trade_off(data: ReportData, section: Section) -> Markup:
    entries = [("front-key", "best policies, predicted"), ("uniform-key", "one format for all layers, predicted")]
    entries += [("own-key", "this policy, predicted")]
    if measured_points(data):
        entries.append(("measured-key", "measured, with two standard errors"))
    return joined([_drawn(draw_trade_off, data, section.key), legend(entries), _folded(data, section)])


def _network(data: ReportData, section: Section) -> Markup:
    return joined([_drawn(draw_layers, data, section.key), format_legend(data), layers_grid(data, section.grids[0])])


def _sensitivities(data: ReportData, section: Section) -> Markup:
    return heat_map(data, section.grids[0])


def _measured(data: ReportData, section: Section) -> Markup:
    parts = []
    if has_agreement(data):
        entries = [("own-dot", "the policy"), ("measured-dot", "other networks")]
        if any(not math.isnan(each.measured) for each in data.layers):
            entries.append(("layer-dot", "single layers, all others in floating point"))
        entries.append(("band-key", "within a factor of 2"))
        parts = [_drawn(draw_agreement, data, section.key), legend(entries)]
    return joined([*parts, _own(data, section)])


def _stability(data: ReportData, section: Section) -> Markup:
    drawn = [_drawn(draw_stability, data, section.key), format_legend(data)] if data.layers[0].shares else []
    return joined([*drawn, _own(data, section)])


_SPECIAL: dict[str, Callable[[ReportData, Section], Markup]] = {
    "summary": _summary,
    "trade-off": _trade_off,
    "network": _network,
    "sensitivities": _sensitivities,
    "measured": _measured,
    "stability": _stability,
}


def _drawn(draw: Callable[[ReportData, int, str], Markup], data: ReportData, key: str) -> Markup:
    """A drawing for wide screens and one for narrow ones, of which the style shows one."""
    return element(
        "figure",
        None,
        element("div", {"class": "wide"}, draw(data, _WIDE, f"{key}-wide")),
        element("div", {"class": "narrow"}, draw(data, _NARROW, f"{key}-narrow")),
    )


def _folded(data: ReportData, section: Section) -> Markup:
    """Tables that say the same as a drawing, to be opened."""
    if not section.grids:
        return Markup("")
    return element("details", None, element("summary", None, "The same in figures"), _own(data, section))
