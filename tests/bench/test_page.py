"""The page and its charts, from results that were written by hand."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from mckp_quant.bench import write_page
from mckp_quant.bench.charts import Axis, line_chart
from mckp_quant.bench.environment import environment
from mckp_quant.bench.running import FIELDS
from mckp_quant.bench.tabular import append_rows
from mckp_quant.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

ODD = "<script>alert(1)</script>|`.json"


def written(folder: Path) -> Path:
    rows = [
        {
            **{"problem": problem, "family": "f", "groups": groups, "solver": solver, "round": 0, "limit": 1},
            **{"claim": claim, "holds": 1, "ground": f"search exhausted ({solver})", "value": value, "tolerance": 0},
            **{"cpu": cpu, "note": note, **environment()},
        }
        for problem, groups, solver, claim, value, cpu, note in (
            ("p", 10, "exact", "optimal", 1.0, 0.1, ""),
            ("p", 10, "other", "optimal", 2.0, 0.05, ""),
            (ODD, 100, "exact", "optimal", 1.0, 10.0, ""),
            (ODD, 100, "other", "refused", "", 1.0, ODD),
            ("q", 100, "exact", "optimal", 1.0, 10.0, ""),
            ("q", 100, "other", "not taken", "", 0.0, "too odd"),
        )
    ]
    append_rows(folder / "results.csv", (*FIELDS, *environment()), rows)
    return folder


class Tags(HTMLParser):
    """Which elements a page has, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)


def test_the_page_says_who_is_wrong_how_it_grows_and_what_was_not_taken(tmp_path: Path) -> None:
    markdown, _ = write_page(written(tmp_path))
    text = markdown.read_text(encoding="utf-8")
    assert "- `other` on `p` called 2.0 optimal; exact found 1.0" in text
    assert "| `exact` | 3 | 3 | 3 | 0 | 0 | 3 | 1e+04 |" in text
    assert "| `other` | 3 | 2 | 0 | 2 | 0 | 0 | 525 |" in text
    growth = text.partition("## Growth: f\n")[2].partition("\n## ")[0]
    assert "| `exact` | 2.00 | 10: 100 ms | 100: 1e+04 ms |" in growth
    assert "- `other`, 1 problems: too odd" in text
    assert "| `exact` | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |" in text
    assert "| `other` | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 |" in text


def test_odd_names_are_text_and_the_html_is_whole(tmp_path: Path) -> None:
    markdown, html = write_page(written(tmp_path))
    found = Tags(html.read_text(encoding="utf-8"))
    assert found.open == []
    assert "script" not in found.seen
    assert {"table", "svg", "polyline", "h2"} <= found.seen
    assert "http" not in html.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    for line in markdown.read_text(encoding="utf-8").splitlines():
        assert "<script" not in "".join(line.split("`")[::2])  # outside code
    for chart in tmp_path.glob("*.svg"):
        ET.parse(chart)


def test_lines_of_a_chart_stay_within_it() -> None:
    x, y = Axis("x", 1.0, 1000.0, logarithmic=True), Axis("y", 0.0, 1.0)
    assert x.ticks() == pytest.approx([1.0, 10.0, 100.0, 1000.0])
    assert y.ticks() == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    root = ET.fromstring(line_chart({"<a>": [(1.0, 0.0), (10.0, 0.5), (1000.0, 1.0)]}, x, y, "t"))
    width, height = (float(each) for each in root.attrib["viewBox"].split()[2:])
    (line,) = [each for each in root if each.tag.endswith("polyline")]
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert all(0 < across < width and 0 < up < height for across, up in points)
    assert points[1][0] - points[0][0] == pytest.approx((points[2][0] - points[0][0]) / 3, abs=0.2)
    assert points[0][1] > points[1][1] > points[2][1]
    assert "<a>" in [each.text for each in root]


def test_a_page_needs_results(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"results.csv' holds no results: run the benchmark first"):
        write_page(tmp_path)
