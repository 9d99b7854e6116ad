from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mckp_quant as mq
from mckp_quant import InvalidInput
from mckp_quant.common.packages import PackageMissing
from mckp_quant.report.plots.canvas import figure, label_marks, save_figure
from mckp_quant.report.plots.front_plot import draw_front, scale_of

from ...drawn_tables import make_table

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("matplotlib")

FORMATS = "w2,w3,w4,w5,w6,w8,w2g16,w3g16,w4g16,w5g16,w6g16,w8g16"


def table(layers: int = 20, seed: int = 0) -> mq.SensitivityTable:
    rng = np.random.default_rng(seed)
    bits = np.array([2, 3, 4, 5, 6, 8, 2.2, 3.2, 4.2, 5.2, 6.2, 8.2])
    loss = 10.0 ** rng.normal(-2, 1, (layers, 1)) * 4.0**-bits * rng.uniform(0.8, 1.2, (layers, 12))
    names = [f"layer{row}" for row in range(layers)]
    made = tuple(mq.Layer(name, "linear", (64, 32 * (row + 1)), 64, 100) for row, name in enumerate(names))
    return mq.SensitivityTable(made, mq.formats.as_formats(FORMATS), loss, np.full(loss.shape, np.nan))


def boxes(axes: Any) -> list[Any]:
    renderer = axes.figure.canvas.get_renderer()
    # That of the text alone; an annotation's own box holds the line that leads to its mark too.
    return [
        text.get_tightbbox(renderer) if text.arrow_patch is None else _text_box(text, renderer) for text in axes.texts
    ]


def _text_box(text: Any, renderer: Any) -> Any:
    import matplotlib.text

    text.update_positions(renderer)
    return matplotlib.text.Text.get_window_extent(text, renderer)


def overlapping(axes: Any) -> list[tuple[str, str]]:
    found = boxes(axes)
    return [
        (axes.texts[one].get_text(), axes.texts[other].get_text())
        for one in range(len(found))
        for other in range(one)
        if min(found[one].x1, found[other].x1) - max(found[one].x0, found[other].x0) > 0.5
        and min(found[one].y1, found[other].y1) - max(found[one].y0, found[other].y0) > 0.5
    ]


def test_the_picture_has_the_front_the_uniform_policies_the_budget_and_the_chosen_one() -> None:
    front = mq.front(table(), {"weight_bytes": "40%"}, max_points=30)
    (axes,) = draw_front(front).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert front.chosen is not None
    scale, unit = scale_of(front)
    assert (scale, unit) == (1e3, "kB")
    drawn = lines["best policies"]
    assert drawn.get_xdata() == pytest.approx([each.used / scale for each in front.points])
    assert list(drawn.get_ydata()) == [each.predicted for each in front.points]
    assert list(lines["uniform"].get_ydata()) == [each.predicted for each in front.uniforms]
    assert list(lines["chosen"].get_ydata()) == [front.chosen.predicted]
    assert lines["budget"].get_xdata()[0] * scale == front.limit
    assert axes.get_xlabel() == "weight bytes (kB)"
    assert axes.get_ylabel() == "predicted loss increase (nats per sample)"
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.texts] == [each.name.removeprefix("uniform ") for each in front.uniforms]


def test_errors_are_drawn_as_a_band() -> None:
    plain = mq.front(table(), max_points=20)
    known = table()
    rng = np.random.default_rng(0)
    parts = known.loss * rng.normal(1, 0.2, (4, *known.loss.shape))
    noisy = mq.SensitivityTable(
        known.layers, known.formats, parts.mean(axis=0), known.stderr, contributions=parts, batch_sizes=np.full(4, 8.0)
    )
    assert not draw_front(plain).axes[0].collections
    assert len(draw_front(mq.front(noisy, max_points=20)).axes[0].collections) == 1


def test_losses_that_are_not_all_positive_are_drawn_on_a_plain_scale() -> None:
    front = mq.front(make_table([[3.0, 2, -1], [3, 2, 1]]))
    assert draw_front(front).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("along", "unit"), [("bits_per_weight", "bits per weight"), ("bops", "1,000 bit operations per sample")]
)
def test_uses_have_the_unit_of_their_budget(along: str, unit: str) -> None:
    front = mq.front(table(4), along=along, max_points=5)
    scale, found = scale_of(front)
    assert found == unit
    assert front.points[-1].used / scale < 1000


@pytest.mark.parametrize("seed", range(4))
def test_labels_of_close_uniform_policies_do_not_overlap(seed: int) -> None:
    (axes,) = draw_front(mq.front(table(seed=seed), max_points=40)).axes
    assert len(axes.texts) == 12
    assert overlapping(axes) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12), st.integers(1, 9))
def test_labels_cover_no_other_label(places: list[tuple[float, float]], letters: int) -> None:
    _, axes = figure()
    axes.set_xlim(-0.2, 1.2)
    axes.set_ylim(-0.2, 1.2)
    label_marks(axes, [(x, y, "m" * letters) for x, y in places])
    assert overlapping(axes) == []
    assert len(axes.texts) == len(places)


def test_a_label_is_nearer_to_its_own_mark_than_to_another() -> None:
    _, axes = figure()
    marks = [(0.5, 0.5, "first"), (0.52, 0.53, "second"), (0.48, 0.47, "third")]
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    label_marks(axes, marks)
    for box, (x, y, text) in zip(boxes(axes), marks, strict=True):
        distances = {}
        for across, up, name in marks:
            place = axes.transData.transform((across, up))
            wide = max(box.x0 - place[0], place[0] - box.x1, 0)
            high = max(box.y0 - place[1], place[1] - box.y1, 0)
            distances[name] = math.hypot(wide, high)
        assert min(distances, key=lambda name: distances[name]) == text, (x, y)


def test_a_picture_is_drawn_on_the_axes_given() -> None:
    made, axes = figure()
    assert draw_front(mq.front(table(3), max_points=5), ax=axes) is made
    assert len(made.axes) == 1


@pytest.mark.parametrize(("name", "start"), [("front.png", b"\x89PNG"), ("front.SVG", b"<?xml")])
def test_files_are_pngs_and_svgs_and_the_same_each_time(tmp_path: Path, name: str, start: bytes) -> None:
    front = mq.front(table(3), {"weight_bytes": "50%"}, max_points=5)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save_figure(draw_front(front), tmp_path / folder / name)
    content = (tmp_path / "one" / name).read_bytes()
    assert content.startswith(start)
    assert content == (tmp_path / "two" / name).read_bytes()


def test_other_files_are_refused(tmp_path: Path) -> None:
    made, _ = figure()
    with pytest.raises(InvalidInput, match=r"unknown kind of picture '\.jpg': .*known are: \.png, \.svg"):
        save_figure(made, tmp_path / "front.jpg")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = r"the package 'matplotlib' cannot be imported .*'mckp-quant\[plot\]' -- everything but pictures works"
    with pytest.raises(PackageMissing, match=words):
        figure()


def test_drawing_leaves_no_global_figure() -> None:
    draw_front(mq.front(table(3), max_points=5))
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
