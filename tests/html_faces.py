"""Reads the faces that results have in a notebook."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

MOST_LINES = 14
MOST_BYTES = 60_000
_VOID = {"br", "wbr"}


class Read(HTMLParser):
    """The tags, the rows of cells and the text of a piece of HTML, whose tags have to balance."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.attributes: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            return
        self.text += data
        if self.rows and {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


def text_of(html: str) -> Read:
    return Read(html)


def cells_of(html: str) -> list[list[str]]:
    return Read(html).rows


def check_face(shown: Any) -> str:
    """The HTML of a result: short and harmless, as its text is."""
    text, html = repr(shown), str(shown._repr_html_())
    assert len(text.split("\n")) <= MOST_LINES
    assert "array(" not in text
    assert "\x1b" not in text + html
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text + html
    found = Read(html)
    assert not {"script", "img", "a", "iframe", "link"} & set(found.tags)
    assert not [name for name in found.attributes if name.startswith("on")]
    assert len(html) < MOST_BYTES
    return html
