"""The pictures: what is drawn, by reading it back from the figure; no window, and no state is left behind."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.common.packages import PackageMissing
from mckp_quant.evaluation.carriers import Carrier, Carriers
from mckp_quant.evaluation.figures import Evaluation
from mckp_quant.evaluation.validation import Row
from mckp_quant.report.plots import draw_agreement, draw_policy, draw_search, draw_sensitivities, draw_stability
from mckp_quant.report.plots.canvas import save_figure
from mckp_quant.report.plots.layer_axis import colors_of
from mckp_quant.search import Found

from ..page.reports import allocation_on, table_of

if TYPE_CHECKING:
    from pathlib import Path

matplotlib = pytest.importorskip("matplotlib.backends.backend_agg") and pytest.importorskip("matplotlib")


def found_by_search(fitness: float = 0.5) -> Found:
    policy = allocation_on(table_of()).policy
    return Found(policy, fitness, 30.0, 1.0, "finished", ((1.0, 2.0), (7.0, fitness)), "EvoQ()")


def validation() -> mq.Validation:
    policy = allocation_on(table_of()).policy
    nan = float("nan")

    def row(name: str, predicted: float, kl: float) -> Row:
        empty = np.zeros((4, 0))
        measured = Evaluation(kl, 0.1 * kl, nan, nan, nan, nan, nan, nan, 8, "nats per sample", empty, empty)
        return Row(name, policy, 100, predicted, nan, measured, nan, nan)

    layers = tuple(Carrier(name, "w4", 1e-3, 2e-3, 1e-4) for name in policy.layer_names)
    rows = (row("float", nan, 0.0), row("uniform w3", 0.02, 0.03), row("policy", 0.01, 0.012))
    return mq.Validation(rows, "it holds", True, 1.2, "nats per sample", Carriers(layers, 0.0))


def pictures() -> dict[str, Any]:
    table = table_of()
    allocation = allocation_on(table)
    return {
        "agreement": (draw_agreement, validation()),
        "policy": (draw_policy, allocation.policy),
        "search": (draw_search, found_by_search()),
        "sensitivities": (draw_sensitivities, table),
        "stability": (draw_stability, mq.check_stability(table, allocation, draws=10)),
    }


@pytest.mark.parametrize("name", ["agreement", "policy", "search", "sensitivities", "stability"])
def test_every_picture_is_written_and_takes_axes(name: str, tmp_path: Path) -> None:
    draw, shown = pictures()[name]
    save_figure(draw(shown), tmp_path / "a.png")
    save_figure(draw(shown), tmp_path / "b.svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "b.svg").read_bytes()
    given = matplotlib.figure.Figure()
    matplotlib.backends.backend_agg.FigureCanvasAgg(given)
    axes = given.add_subplot()
    assert draw(shown, ax=axes) is given
    assert axes.has_data()


def test_columns_of_a_policy_are_its_bytes() -> None:
    policy = allocation_on(table_of()).policy
    (axes,) = draw_policy(policy).axes
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches}
    assert [heights[at] for at in range(len(policy))] == [-(-bits // 8) for bits in policy.layer_bits]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(policy.layer_names)
    with pytest.raises(mq.InvalidInput, match="the policy does not know what its layers take: make it with allocate"):
        draw_policy(mq.Policy(("a",), (mq.Format.named("w4"),)))


def test_a_map_shows_the_logarithm_of_each_loss_and_marks_what_was_chosen() -> None:
    table = table_of()
    policy = allocation_on(table).policy
    axes = draw_sensitivities(table, policy=policy).axes[0]
    assert np.asarray(axes.images[0].get_array()) == pytest.approx(np.log10(table.loss).T)
    (chosen,) = axes.lines
    assert list(chosen.get_ydata()) == [table.column(entry.name) for entry in policy.formats]


def test_agreement_shows_networks_and_layers_with_positive_figures() -> None:
    axes = draw_agreement(validation()).axes[0]
    assert {text.get_text() for text in axes.texts} == {"uniform w3", "policy"}
    drawn = [line for line in axes.lines if line.get_marker() == "."]
    assert len(drawn[0].get_xdata()) == 4
    none = mq.Validation(validation().rows[:1], "", None, 1.0, "nats per sample")
    with pytest.raises(mq.InvalidInput, match="no network has a predicted and a measured loss above 0"):
        draw_agreement(none)


def test_kept_shares_are_the_lower_bars() -> None:
    table = table_of()
    found = mq.check_stability(table, allocation_on(table), draws=20)
    (axes,) = draw_stability(found).axes
    lower = [bar.get_height() for bar in axes.patches[: len(table.layers)]]
    assert lower == pytest.approx(found.kept.tolist())


def test_progress_goes_on_to_the_end_of_the_search_and_several_are_named() -> None:
    axes = draw_search({"evoq": found_by_search(), "random": found_by_search(0.7)}).axes[0]
    assert [line.get_label() for line in axes.lines] == ["evoq", "random"]
    assert list(axes.lines[0].get_xdata()) == [1.0, 7.0, 30.0]
    assert list(axes.lines[1].get_ydata()) == [2.0, 0.7, 0.7]
    assert draw_search(found_by_search()).axes[0].get_legend() is None


def test_colours_follow_the_bits() -> None:
    formats = [mq.Format.named(name) for name in ("w8", "w2", "w4", "w2")]
    assert list(colors_of(formats)) == ["w2", "w4", "w8"]
    assert colors_of(formats[:1]).keys() == {"w8"}


def test_many_layers_are_numbered_and_not_named() -> None:
    axes = draw_sensitivities(table_of(41)).axes[0]
    assert axes.get_xlabel() == "layer, in the order of the network"


def test_without_matplotlib_the_error_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PackageMissing, match=r"pip install 'mckp-quant\[plot\]'"):
        draw_sensitivities(table_of())


def test_pyplot_is_never_loaded() -> None:
    draw_sensitivities(table_of())
    assert "matplotlib.pyplot" not in sys.modules
