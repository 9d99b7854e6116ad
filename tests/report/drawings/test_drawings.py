"""Drawings: where marks are, that names cover nothing, and that markup cannot be broken by text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from mckp_quant.report.drawings.agreement import draw_agreement
from mckp_quant.report.drawings.columns import draw_layers, draw_stability
from mckp_quant.report.drawings.trade_off import draw_trade_off

from ..page.reports import EVIL, full_report, table_of


@pytest.mark.parametrize("draw", [draw_agreement, draw_layers, draw_stability, draw_trade_off])
@pytest.mark.parametrize("width", [342, 1152])
@pytest.mark.parametrize("layers", [1, 6, 90])
def test_drawings_are_xml_and_stay_within_their_frame(draw, width, layers) -> None:  # type: ignore[no-untyped-def]
    svg = ElementTree.fromstring(draw(full_report(table_of(layers, names=EVIL)), width, "key"))
    high = float(svg.get("height", 0))
    for each in svg.iter():
        tag = each.tag.rpartition("}")[2]
        if tag == "rect":
            x, y, wide, tall = (float(each.get(name, "nan")) for name in ("x", "y", "width", "height"))
            assert x >= 0
            assert x + wide <= width + 0.5
            assert y >= -0.5
            assert y + tall <= high
        if tag == "circle":
            assert 0 <= float(each.get("cx", "nan")) <= width
            assert 0 <= float(each.get("cy", "nan")) <= high


def test_a_column_has_the_height_of_its_bytes_and_the_colour_of_its_format() -> None:
    data = full_report()
    rects = re.findall(
        r'<rect x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)" class="f(\d)">', draw_layers(data, 1152, "k")
    )
    heights = [float(height) for height, _ in rects]
    stored = [each.stored_bytes or 0 for each in data.layers]
    assert [height / max(heights) for height in heights] == pytest.approx(
        [each / max(stored) for each in stored], abs=0.01
    )
    assert [int(rank) for _, rank in rects] == [data.formats.index(each.format) for each in data.layers]


def test_shares_of_draws_fill_each_column() -> None:
    data = full_report()
    heights = re.findall(r'width="([\d.]+)" height="([\d.]+)" class="f\d', draw_stability(data, 1152, "k"))
    assert sum(float(height) for _, height in heights) == pytest.approx(140 * len(data.layers), rel=0.01)
