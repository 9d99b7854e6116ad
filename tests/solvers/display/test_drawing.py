"""Markup cannot be broken by text, scales rise, and names cover nothing."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant.solvers.display.axes import Scale, cut, place_names, short
from mckp_quant.solvers.display.markup import Markup, element, escaped, name_of


@given(st.text())
def test_text_and_attributes_come_back_as_they_are_shown(text: str) -> None:
    made = element("p", {"title": text or None}, text)
    found = ElementTree.fromstring(made.replace(" title>", ">"))
    shown = "".join(each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in text)
    assert (found.text or "") == shown.replace("\r", "\n")


def test_markup_is_not_escaped_twice_and_text_once() -> None:
    assert escaped(Markup("<b>")) == "<b>"
    assert element("p", None, "<b>", Markup("<br>")) == "<p>&lt;b&gt;<br></p>"
    assert element("input", {"hidden": "", "width": 1.26, "title": None}) == '<input hidden width="1.3">'
    assert name_of("a.b") == "<bdi>a.<wbr>b</bdi>"


@given(st.floats(1e-9, 1e9), st.floats(1.001, 1e6), st.integers(1, 12), st.booleans())
def test_scales_rise_and_their_ticks_are_few_and_within(low: float, ratio: float, most: int, logarithmic: bool) -> None:
    scale = Scale.around([low, low * ratio], 0, 100, logarithmic=logarithmic)
    assert 0 < scale(low) < scale(low * ratio) < 100
    ticks = scale.ticks(most)
    assert ticks == sorted(ticks)
    assert all(scale.low <= tick <= scale.high * (1 + 1e-12) for tick in ticks)
    assert len(ticks) <= 4 * most + 8


def test_scales_of_one_number_or_none_have_room() -> None:
    for numbers in ([], [0.0], [5.0]):
        scale = Scale.around(numbers, 0, 1)
        assert scale.low < scale.high
    assert Scale.around([3.0], 0, 1, logarithmic=True)(3.0) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 200)), max_size=12))
def test_names_cover_neither_each_other_nor_the_edge(places: list[tuple[float, float]]) -> None:
    drawn = place_names([(x, y, f"name{at}") for at, (x, y) in enumerate(places)], [], (0, 300))
    spots = []
    for x, y, rest in re.findall(r'<text x="([-\d.e]+)" y="([-\d.e]+)"([^>]*)>', drawn):
        wide = 7.4 * 5
        left = float(x) - (wide if "end" in rest else wide / 2 if "middle" in rest else 0)
        spots.append((left, float(y) - 10, left + wide, float(y) + 3))
        assert left >= -0.1
        assert left + wide <= 340 + 7.4 * 2
    for one, other in itertools.combinations(spots, 2):
        over = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
        assert min(over) <= 8


def test_long_names_keep_their_ends_and_numbers_their_size() -> None:
    assert cut("model.layers.12.self_attn.q_proj", 12) == "mode\N{HORIZONTAL ELLIPSIS}.q_proj"
    assert cut("stem", 12) == "stem"
    assert [short(each) for each in (0.0, 1500.0, 2e6, 1e-5, 3e9)] == ["0", "1.5k", "2M", "1e-05", "3G"]
