"""The tables of the page: plain ones, the one that sorts and filters, and the map of sensitivities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...common.display import Markup, element, joined, log_share, name_of, number, percent
from ..drawings.columns import format_class

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .data import ReportData
    from .sections import Grid

STEPS = 9  # of colour, from no loss to the largest
_DECADES = 4.0  # below the largest loss that the colours tell apart


def plain_grid(grid: Grid) -> Markup:
    """A table; the first column names the row."""
    empty = not any(grid.headings)
    head = () if empty else (element("thead", None, element("tr", None, *map(_heading, grid.headings, _kinds(grid)))),)
    rows = [
        element(
            "tr",
            None,
            *(_cell(each, kind, at == 0) for at, (each, kind) in enumerate(zip(row, _kinds(grid), strict=True))),
        )
        for row in grid.rows
    ]
    return _scrolled(grid.caption, element("table", None, _caption(grid.caption), *head, element("tbody", None, *rows)))


def layers_grid(data: ReportData, grid: Grid) -> Markup:
    """The table of layers, with bars in it; the page's script sorts and filters it."""
    most = max((each.stored_bytes or 0 for each in data.layers), default=0) or 1
    worst = max((0.0 if math.isnan(each.loss_share) else each.loss_share for each in data.layers), default=0) or 1.0
    heads = [
        element("th", {"scope": "col", "class": kind}, element("button", {"type": "button"}, each))
        for each, kind in zip(grid.headings, _kinds(grid), strict=True)
    ]
    rows = []
    for line, row in zip(data.layers, grid.rows, strict=True):
        bars = {
            "of bytes": (line.stored_bytes or 0) / most,
            "of loss": 0.0 if math.isnan(line.loss_share) else line.loss_share / worst,
        }
        color = format_class(data, line.format)
        cells = []
        for at, (name, each, kind) in enumerate(zip(grid.headings, row, _kinds(grid), strict=True)):
            if name == "format":
                cells.append(element("td", None, element("span", {"class": f"chip {color}"}), name_of(each)))
            elif name in bars:
                style = f"width:{100 * bars[name]:.3g}%"
                bar = element("span", {"class": "track"}, element("span", {"class": f"bar {color}", "style": style}))
                cells.append(element("td", {"class": "num"}, each, bar))
            else:
                cells.append(_cell(each, kind, at == 1))
        rows.append(element("tr", None, *cells))
    search = element(
        "p",
        {"class": "filter", "hidden": ""},
        element("label", {"for": "filter"}, "Show layers with"),
        element("input", {"id": "filter", "type": "search", "autocomplete": "off"}),
        element("output", {"for": "filter", "id": "filtered", "aria-live": "polite"}),
    )
    table = element(
        "table",
        {"id": "layers"},
        _caption(grid.caption),
        element("thead", None, element("tr", None, *heads)),
        element("tbody", None, *rows),
    )
    return joined([search, _scrolled(grid.caption, table, tall=len(rows))])


def heat_map(data: ReportData, grid: Grid) -> Markup:
    """The table of sensitivities, coloured by the logarithm of the loss; doubtful entries are hatched and marked."""
    largest = max((loss for row in data.loss for loss in row if loss > 0), default=1.0)
    cells = {(each.layer, each.format) for each in data.doubts}
    heads = [
        element("th", {"scope": "col", "class": "" if at == 0 else "num"}, name)
        for at, name in enumerate(grid.headings)
    ]
    rows = []
    for line, losses, errors in zip(data.layers, data.loss, data.stderr, strict=True):
        row = [_row_head(line.name, (line.name, "") in cells)]
        for name, loss, error in zip(data.formats, losses, errors, strict=True):
            kinds = [heat_class(loss, largest)]
            kinds += ["on"] * (name == line.format) + ["odd"] * ((line.name, name) in cells)
            row.append(element("td", {"class": " ".join(kinds)}, *_loss(loss, error, kinds)))
        rows.append(element("tr", None, *row))
    switch = element(
        "p",
        {"class": "filter", "hidden": ""},
        element("input", {"id": "errors", "type": "checkbox"}),
        element("label", {"for": "errors"}, "show standard errors"),
    )
    table = element(
        "table",
        {"id": "heat", "class": "heat"},
        _caption(grid.caption),
        element("thead", None, element("tr", None, *heads)),
        element("tbody", None, *rows),
    )
    return joined([switch, _scrolled(grid.caption, table, tall=len(rows)), _heat_legend(largest, data.facts.unit)])


def heat_class(loss: float, largest: float) -> str:
    """The colour of a loss: ``h0`` to ``h8`` by its logarithm, ``low`` below 0, ``none`` where it is not allowed."""
    if math.isnan(loss):
        return "none"
    if loss < 0:
        return "low"
    return f"h{min(int(log_share(loss, largest, _DECADES) * STEPS), STEPS - 1)}"


def _loss(loss: float, error: float, kinds: Sequence[str]) -> list[Markup | str]:
    if "none" in kinds:
        return [element("span", {"class": "vh"}, "not allowed")]
    parts: list[Markup | str] = [number(loss, 3)]
    if "odd" in kinds:
        parts.append(element("b", None, "?"))
    if not math.isnan(error):
        parts.append(element("i", None, f" \N{PLUS-MINUS SIGN}{number(error, 2)}"))
    if "on" in kinds:
        parts.append(element("span", {"class": "vh"}, " chosen"))
    return parts


def _row_head(name: str, doubtful: bool) -> Markup:
    return element(
        "th",
        {"scope": "row", "class": "odd" if doubtful else None},
        name_of(name),
        *([element("b", None, "?")] * doubtful),
    )


def _heat_legend(largest: float, unit: str) -> Markup:
    entries = [
        ("h0", f"{number(largest / 10**_DECADES, 2)} or less"),
        ("h4", number(largest / 10 ** (_DECADES / 2), 2)),
    ]
    entries += [("h8", f"{number(largest, 2)} {unit}"), ("low", "below 0"), ("on", "chosen"), ("odd", "doubtful (?)")]
    return element(
        "ul",
        {"class": "legend"},
        *(element("li", None, element("span", {"class": f"key cell {kind}"}), words) for kind, words in entries),
    )


def signed(text: str) -> str:
    """Text of ours with the sign for plus or minus, which a terminal may not have."""
    return text.replace(" +- ", " \N{PLUS-MINUS SIGN} ")


def format_legend(data: ReportData) -> Markup:
    """Which colour is which format, with the share of layers that have it."""
    counts = {name: sum(each.format == name for each in data.layers) for name in data.formats}
    order = sorted(range(len(data.formats)), key=lambda at: (data.bits[at], at))
    entries = []
    for name in (data.formats[at] for at in order if counts[data.formats[at]]):
        words = (
            f" {counts[name]} {'layer' if counts[name] == 1 else 'layers'}, {percent(_bytes_of(data, name))} of bytes"
        )
        key = element("span", {"class": f"key {format_class(data, name)}"})
        entries.append(element("li", None, key, name_of(name), words))
    return element("ul", {"class": "legend"}, *entries)


def _bytes_of(data: ReportData, name: str) -> float:
    return math.fsum(each.bytes_share for each in data.layers if each.format == name)


def _kinds(grid: Grid) -> list[str | None]:
    return [None if column < grid.left else "num" for column in range(len(grid.headings))]


def _heading(text: str, kind: str | None) -> Markup:
    return element("th", {"scope": "col", "class": kind}, text) if text else element("td")


def _cell(text: str, kind: str | None, head: bool) -> Markup:
    if head:
        return element("th", {"scope": "row"}, name_of(text))
    if kind == "num":
        return element("td", {"class": kind}, signed(text))
    return element("td", None, name_of(text) if text else "")


def _caption(text: str) -> Markup:
    return element("caption", None, text)


def _scrolled(name: str, table: Markup, tall: int = 0) -> Markup:
    """A table in a box that scrolls by itself where it is too wide, with the keyboard too."""
    kind = "scroll tall" if tall > 24 else "scroll"
    return element("div", {"class": kind, "role": "region", "aria-label": name, "tabindex": "0"}, table)
