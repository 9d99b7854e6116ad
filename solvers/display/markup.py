"""HTML and SVG as nested elements: tags always balance, and text is escaped unless it is markup already."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from .shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_VOID = {"meta", "input", "br"}
_KEPT = "\n\t"


class Markup(str):
    """Text that is markup already, and is not escaped again."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Text as markup: what has a meaning there, moves the cursor or turns the order of letters comes out as text."""
    return text if isinstance(text, Markup) else Markup(html.escape(shown(text, keep=_KEPT)))


def joined(parts: Iterable[str], between: str = "") -> Markup:
    """Several pieces, one behind the other."""
    return Markup(between.join(escaped(part) for part in parts))


def element(name: str, attributes: Mapping[str, str | float | None] | None = None, *content: str) -> Markup:
    """One element.

    Parameters
    ----------
    name
        Its tag.
    attributes
        Numbers are written in at most one decimal; an empty text gives the attribute without a value, None none.
    content
        Text, or markup of other elements.

    Returns
    -------
    markup
        The element with its end tag, where it has one.
    """
    given = "".join(_attribute(key, value) for key, value in (attributes or {}).items() if value is not None)
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{joined(content)}</{name}>")


def name_of(text: str) -> Markup:
    """A name that somebody else gave: its direction of writing is its own affair, and it may break behind a dot."""
    return element("bdi", None, joined(text.split("."), Markup(".<wbr>")))


def _attribute(name: str, value: str | float) -> str:
    if isinstance(value, str):
        return f' {name}="{escaped(value)}"' if value else f" {name}"
    return f' {name}="{round(value, 1):g}"' if abs(value) < 1e5 else f' {name}="{value:.0f}"'
