"""What a page must keep, read with the parser of the standard library: tags, ids, labels, headings, no network."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "input", "br", "wbr", "link", "img"}
NETWORK = {"src", "srcset", "action", "data", "poster"}


class Page(HTMLParser):
    """A page that was read, and what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.named: set[str] = set()  # ids that something refers to
        self.labelled: set[str] = set()
        self.tags: list[str] = []
        self.levels: list[int] = []
        self.words: dict[str, list[str]] = {}
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self._inputs: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{name}> is never closed" for name, _ in self._open]
        self.wrong += [f"id {each!r} stands twice" for each in {each for each in self.ids if self.ids.count(each) > 1}]
        self.wrong += [f"nothing has the id {each!r}" for each in self.named - set(self.ids)]
        self.wrong += [f"input {each!r} has no label" for each in set(self._inputs) - self.labelled]
        self.wrong += [
            f"h{now} follows h{before}"
            for before, now in zip([0, *self.levels], self.levels, strict=False)
            if now > before + 1
        ]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if len(given) < len(attrs):
            self.wrong.append(f"<{tag}> has an attribute twice")
        self.wrong += [f"<{tag}> has {name}" for name in given if name in NETWORK or name.startswith("on")]
        if given.get("id"):
            self.ids.append(str(given["id"]))
        href = str(given.get("href") or "")
        if href and not href.startswith("#"):
            self.wrong.append(f"<{tag}> leads to {href!r}")
        self.named |= {href[1:]} if href else set()
        self.named |= set(str(given.get("aria-labelledby") or "").split())
        if tag in {"label", "output"}:
            self.named.add(str(given.get("for")))
            self.labelled.add(str(given.get("for")))
        if tag == "input":
            self._inputs.append(str(given.get("id")))
        if tag == "th" and given.get("scope") not in {"row", "col"}:
            self.wrong.append("a <th> has no scope")
        if tag == "svg" and (given.get("role") != "img" or len(str(given.get("aria-labelledby")).split()) != 2):
            self.wrong.append("an <svg> has no role, title and description")
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag not in VOID:
            self._open.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.wrong.append(f"</{tag}> closes {self._open[-1:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and self._open:
            self.words.setdefault(self._open[-1][0], []).append(data)
