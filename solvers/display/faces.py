"""The face of a result: a title and facts, which `repr` writes as text and a notebook shows as HTML with more below."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import TYPE_CHECKING

from .markup import Markup, element, name_of
from .shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CLASS = "mckp-quant"
_ROWS = 20  # of a table, above which those in the middle are left out
_LETTERS, _LINES = 110, 4  # of a line of text, and of a fact
# A page says neither how light it is nor how large its letters are: everything takes both from around it.
_STYLE = """
.mckp-quant{color:inherit;font-size:.9em;line-height:1.4;max-width:60em}
.mckp-quant p{margin:.2em 0 .4em;font-weight:600}
.mckp-quant .scroll{overflow-x:auto}
.mckp-quant table{border-collapse:collapse;margin:.3em 0 .8em;font-variant-numeric:tabular-nums;border:0}
.mckp-quant th,.mckp-quant td{padding:.15em .7em;text-align:left;border:0;background:none;vertical-align:baseline}
.mckp-quant thead th{border-bottom:1px solid currentColor}
.mckp-quant tbody th{font-weight:400;white-space:nowrap}
.mckp-quant td.num,.mckp-quant th.num{text-align:right;white-space:nowrap}
.mckp-quant .facts th{opacity:.75}
.mckp-quant .bar{display:inline-block;height:.7em;min-width:1px;background:#3b82c4;vertical-align:baseline}
.mckp-quant .heat{display:block;margin:0 -.5em;padding:0 .5em}
.mckp-quant svg{display:block;max-width:100%;height:auto}
.mckp-quant svg text{fill:currentColor;font-size:12px}
.mckp-quant svg .axis{opacity:.75}
.mckp-quant svg .grid{stroke:currentColor;stroke-opacity:.2}
.mckp-quant svg .front{fill:none;stroke:#3b82c4;stroke-width:2}
.mckp-quant svg .uniform{fill:#8a8f98}
.mckp-quant svg .own{fill:#d9622b}
"""
_HEAT = "217,98,43"  # red, green, blue


@dataclasses.dataclass(frozen=True)
class Face:
    """What there is to say of a result in a few lines.

    Attributes
    ----------
    title
        What it is.
    facts
        Names and values.
    """

    title: str
    facts: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """The face as lines of text: the title, then a fact a line."""
        wide = max((len(name) for name, _ in self.facts), default=0)
        lines = [_wrapped(self.title, "", 1)]
        lines += [_wrapped(value, f"  {name:<{wide}}  ", _LINES) for name, value in self.facts]
        return "\n".join(lines)

    def html(self, *below: Markup) -> Markup:
        """The face as one element with a style of its own.

        Parameters
        ----------
        below
            Tables and drawings to show below the facts.

        Returns
        -------
        markup
            A ``div``.
        """
        rows = [
            element("tr", None, element("th", {"scope": "row"}, name), element("td", None, _signed(value)))
            for name, value in self.facts
        ]
        facts = element("table", {"class": "facts"}, element("tbody", None, *rows))
        style = element("style", None, Markup(_STYLE))
        return element("div", {"class": _CLASS}, style, element("p", None, self.title), facts, *below)


def _wrapped(text: str, before: str, lines: int) -> str:
    """A text in lines of equal indent, cut where it is longer."""
    indent = " " * len(before)
    found = textwrap.fill(shown(text), _LETTERS, initial_indent=before, subsequent_indent=indent, max_lines=lines)
    return found or before.rstrip()


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> Markup:
    """A table; of many rows the first and the last, and how many are between them.

    Parameters
    ----------
    headings
        Of its columns.
    rows
        As many cells each, text or markup; the first one names the row.
    left
        How many columns are words; the others are numbers.

    Returns
    -------
    markup
        A table in a box that scrolls sideways.
    """
    kinds = [None if at < left else "num" for at in range(len(headings))]
    head = [element("th", {"scope": "col", "class": kind}, each) for each, kind in zip(headings, kinds, strict=True)]
    left_out = element("td", {"colspan": str(len(headings))}, f"... {len(rows) - _ROWS:,} more ...")
    body = [element("tr", None, *(_cells(row, kinds) if row else [left_out])) for row in _some(rows)]
    table = element("table", None, element("thead", None, element("tr", None, *head)), element("tbody", None, *body))
    return element("div", {"class": "scroll"}, table)


def bar(share: float) -> Markup:
    """A bar, as long as its share of the longest one, between 0 and 1."""
    return element("span", {"class": "bar", "style": f"width:{6 * share:.3g}em"})


def heat(share: float, text: str) -> Markup:
    """A number on a background that is the stronger, the nearer its share is to 1."""
    return element("span", {"class": "heat", "style": f"background:rgba({_HEAT},{0.65 * share:.3g})"}, _signed(text))


def _some(rows: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """The rows, or the first and last of them around an empty one."""
    if len(rows) <= _ROWS:
        yield from rows
    else:
        yield from rows[: _ROWS - 5]
        yield ()
        yield from rows[-5:]


def _cells(row: Sequence[str], kinds: Sequence[str | None]) -> Iterator[Markup]:
    name, *others = row
    yield element("th", {"scope": "row"}, name_of(name))
    for each, kind in zip(others, kinds[1:], strict=True):
        yield element("td", {"class": kind}, _signed(each))


def _signed(text: str) -> str:
    return text if isinstance(text, Markup) else text.replace(" +- ", " \N{PLUS-MINUS SIGN} ")
