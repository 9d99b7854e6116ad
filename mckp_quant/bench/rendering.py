"""A page of headings, sentences, tables and charts, as Markdown and as one HTML file that needs nothing else."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from .tabular import table

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
svg { max-width: 100%; height: auto; }
"""
_CODE = re.compile(r"`([^`]*)`")
_PIPE = re.compile(r"\|")


@dataclass(frozen=True)
class Chart:
    """A chart: the name of its file, and the SVG."""

    file: str
    svg: str
    title: str


@dataclass(frozen=True)
class Section:
    """A part of a page; what is between backticks is code, and everything else is plain text.

    Attributes
    ----------
    title
        Its heading.
    text
        Paragraphs.
    items
        A list behind them.
    headings, rows
        A table behind that.
    charts
        Charts behind that.
    """

    title: str
    text: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    charts: tuple[Chart, ...] = ()


def as_markdown(title: str, sections: list[Section]) -> str:
    """The page as Markdown; its charts are files beside it."""
    parts = [f"# {title}"]
    for each in sections:
        parts.append(f"## {each.title}")
        parts += each.text
        if each.items:
            parts.append("\n".join(f"- {_marked(item)}" for item in each.items))
        if each.rows:
            rows = [tuple(_PIPE.sub(r"\\|", cell) for cell in row) for row in each.rows]
            parts.append(table(each.headings, rows))
        parts += [f"![{chart.title}]({chart.file})" for chart in each.charts]
    return "\n\n".join(parts) + "\n"


def as_html(title: str, sections: list[Section]) -> str:
    """The page as HTML, with its charts in it."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><main>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    for each in sections:
        parts.append(f"<h2>{html.escape(each.title)}</h2>")
        parts += [f"<p>{_coded(paragraph)}</p>" for paragraph in each.text]
        if each.items:
            parts.append("<ul>" + "".join(f"<li>{_coded(item)}</li>" for item in each.items) + "</ul>")
        if each.rows:
            head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in each.headings)
            body = "".join("<tr>" + "".join(f"<td>{_coded(cell)}</td>" for cell in row) + "</tr>" for row in each.rows)
            whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            parts.append(f'<div class="wide" tabindex="0">{whole}</div>')
        parts += [chart.svg for chart in each.charts]
    return "\n".join([*parts, "</main></body></html>", ""])


def _coded(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(text))


def _marked(text: str) -> str:
    """Text on one line, in which nothing outside code is taken for HTML."""
    pieces = _CODE.split(" ".join(text.split()))
    return "".join(f"`{piece}`" if at % 2 else piece.replace("<", "&lt;") for at, piece in enumerate(pieces))
