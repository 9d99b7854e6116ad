"""The page as a browser would read it: sound, safe, without a network, and readable in both schemes of colour."""

from __future__ import annotations

import html
import re

import pytest

from mckp_quant.report.page import report_data
from mckp_quant.report.page.colors import color_rules
from mckp_quant.report.page.grids import heat_class
from mckp_quant.report.page.html_form import as_html

from .html_checks import Page
from .reports import EVIL, allocation_on, full_report, table_of, validation_of

SECTIONS = (
    *("summary", "trade-off", "network", "sensitivities", "measured"),
    *("stability", "budgets", "last-pass", "run", "missing"),
)


def page_of(name: str) -> str:
    """One of the pages that are looked at."""
    if name == "bare":
        table = table_of()
        return as_html(report_data(table, allocation_on(table).policy))
    if name == "evil":
        more = {"name": EVIL[1], "recipe": "".join(EVIL), "provenance": "</pre><script>"}
        return as_html(full_report(table_of(6, names=EVIL), **more))
    sizes = {"full": 4, "one layer": 1, "many layers": 120}
    return as_html(full_report(table_of(sizes[name])))


@pytest.mark.parametrize("name", ["full", "bare", "evil", "one layer", "many layers"])
def test_page_is_sound_and_needs_no_network(name: str) -> None:
    text = page_of(name)
    page = Page(text)
    assert page.wrong == []
    assert page.tags.count("h1") == page.tags.count("main") == page.tags.count("script") == 1
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "default-src 'none'" in html.unescape(text)
    ours = text.replace("http://www.w3.org/2000/svg", "")
    assert "http" not in ours.replace("http-equiv", "")
    assert "@import" not in text
    assert "url(" not in text


def test_names_come_out_as_text() -> None:
    page = Page(page_of("evil"))
    assert "img" not in page.tags
    said = "".join(word for words in page.words.values() for word in words)
    for name in EVIL:
        assert name not in said or name.isprintable()
    assert "<script>alert('x')</script>" in said
    assert "\\u202egnp.exe\\x1b[31m" in said.replace("\n", "")
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page_of("evil")
    assert "\x1b" not in page_of("evil")


def test_every_part_has_its_section_and_the_rest_is_left_out() -> None:
    full, bare = (page_of(name) for name in ("full", "bare"))
    assert [key for key in SECTIONS if f'<section id="{key}"' in full] == [key for key in SECTIONS if key != "missing"]
    found = [key for key in SECTIONS if f'<section id="{key}"' in bare]
    assert found == ["summary", "network", "sensitivities", "budgets", "run", "missing"]


def test_drawings_show_every_layer_point_and_network() -> None:
    data = full_report()
    text = as_html(data)
    for kind in ("wide", "narrow"):
        (drawn,) = re.findall(rf'aria-labelledby="network-{kind}-title.*?</svg>', text, re.DOTALL)
        assert drawn.count("<rect") == 2 * len(data.layers)
        (front,) = re.findall(rf'aria-labelledby="trade-off-{kind}-title.*?</svg>', text, re.DOTALL)
        assert front.count('class="uniform"') == len(data.formats)
        assert front.count('class="measured"') == 2
        assert front.count('class="own"') == 1
        (agreement,) = re.findall(rf'aria-labelledby="measured-{kind}-title.*?</svg>', text, re.DOTALL)
        assert agreement.count('class="layer"') == len(data.layers)


def test_bars_are_as_long_as_what_they_show() -> None:
    data = full_report()
    widths = [float(each) for each in re.findall(r'class="bar \w+" style="width:([\d.e+-]+)%"', as_html(data))]
    most = max(each.stored_bytes or 0 for each in data.layers)
    assert widths[::2] == pytest.approx([100 * (each.stored_bytes or 0) / most for each in data.layers], rel=1e-2)
    worst = max(each.loss_share for each in data.layers)
    assert widths[1::2] == pytest.approx([100 * each.loss_share / worst for each in data.layers], rel=1e-2)


def test_map_marks_what_was_chosen_and_what_is_doubtful() -> None:
    loss = [[1.0, 0.5, 0.1, 0.01], [0.8, 0.9, -0.1, float("nan")]]
    table = table_of(2)
    table = type(table)(table.layers, table.formats, loss, table.stderr, method="given")  # type: ignore[arg-type]
    data = report_data(table, allocation_on(table).policy)
    text = as_html(data)
    assert len(re.findall(r'<td class="[^"]*\bon\b', text)) == 2
    doubtful = {(each.layer, each.format) for each in data.doubts if each.format}
    assert len(re.findall(r'<td class="[^"]*\bodd\b', text)) == len(doubtful) > 0
    assert len(re.findall(r'<td class="low', text)) == len(re.findall(r"not allowed", text)) == 1


def test_colours_of_losses_rise_with_them() -> None:
    assert [heat_class(loss, 1.0) for loss in (0.0, 1e-9, 1e-2, 0.5, 1.0)] == ["h0", "h0", "h4", "h8", "h8"]
    assert heat_class(-1.0, 1.0) == "low"
    assert heat_class(float("nan"), 1.0) == "none"


def test_300_layers_by_12_formats_stay_below_a_megabyte() -> None:
    formats = "w2,w2g64,w3,w3g64,w4,w4g64,w4g128,w5,w6,w8,w4a8,w8a8"
    assert len(as_html(full_report(table_of(300, formats))).encode()) < 1_000_000


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_marks_stand_out_from_what_is_behind_them(scheme: str) -> None:
    """The ratios of the Web Content Accessibility Guidelines (W3C 2023): 4.5 for words, 3 for marks."""
    rules = as_html(full_report(table_of(3, "w1,w2,w3,w4,w5,w6,w7,w8"))).partition("</style>")[0]
    blocks = re.findall(r"(@media \(prefers-color-scheme:dark\)\{)?:root\{(.*?)\}", rules, re.DOTALL)
    found: dict[str, str] = {}
    for dark, block in blocks:
        if "color-scheme:light;" not in block and bool(dark) == (scheme == "dark"):
            found |= {
                name: color for name, color in re.findall(r"--([\w-]+):(#[0-9a-f]{6})", block) if name not in found
            }
    for words in ("ink", "quiet", "link"):
        assert contrast(found[words], found["back"]) >= 4.5
        assert contrast(found[words], found["panel"]) >= 4.5
    for step in range(9):
        letters = found["on-hot"] if step >= 6 else found["on-heat"]
        assert contrast(letters, found[f"h{step}"]) >= 4.5, step
    assert contrast(found["on-heat"], found["low"]) >= 4.5
    for mark in ("accent", "front", "float", *(f"f{rank}" for rank in range(8))):
        assert contrast(found[mark], found["back"]) >= 3, mark


def test_the_name_of_a_layer_stays_in_sight_where_its_row_is_scrolled() -> None:
    rules = as_html(full_report()).partition("</style>")[0]
    for table in ("#layers", ".heat"):
        assert re.search(rf"{re.escape(table)} tbody th[^{{}}]*\{{position:sticky;left:0", rules), table
        assert re.search(rf"{re.escape(table)} thead th:[^{{}}]*\{{left:0", rules), table


def test_each_format_has_a_colour_in_both_schemes() -> None:
    rules = color_rules(full_report())
    assert all(rules.count(f"--f{rank}:#") == 3 for rank in range(4))  # light, dark and paper
    assert len(set(re.findall(r"--f\d:(#\w+)", rules))) == 8


def test_layers_that_were_not_measured_alone_have_no_column_and_no_dots() -> None:
    table = table_of()
    found = allocation_on(table)
    text = as_html(report_data(table, found, validation=validation_of(found, alone=False)))
    assert ">alone<" not in text
    assert 'class="layer"' not in text
