from __future__ import annotations

import itertools
import logging
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import InvalidInput
from mckp_quant.tables import Handling, Imported, read_table
from mckp_quant.tables.findings import ANSWERS
from mckp_quant.tables.repair import pool_violators, rises

if TYPE_CHECKING:
    from pathlib import Path

LOSSES = st.lists(st.floats(-10, 10, allow_subnormal=False), min_size=1, max_size=7)
ODD = "layer,shape,w2,w4,w8\na,2x3,3,2,1\nb,2x3,404,2,1\nc,2x3,3,,1\nd,2x3,3,-0.5,-1\ne,2x3,3,1,2\na,2x3,9,9,9\n"


def read(tmp_path: Path, text: str = ODD, **answers: str) -> Imported:
    (tmp_path / "odd.csv").write_text(text)
    return read_table(tmp_path / "odd.csv", handling=Handling.of(answers))


def test_nothing_odd_passes_without_a_word_and_one_error_lists_it_all(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path)
    words = str(caught.value)
    assert "has 8 cells that need a decision" in words
    for place in (
        "row 3, column 'w2' (layer 'b', format 'w2'): '404' is no number",
        "row 4, column 'w4' (layer 'c', format 'w4'): an empty cell is no number",
        "row 5, column 'w4' (layer 'd', format 'w4'): '-0.5' is a negative loss",
        "row 5, column 'w8' (layer 'd', format 'w8'): '-1' is a negative loss",
        "row 6, column 'w8' (layer 'e', format 'w8'): '2' is more bits and more loss",
        "row 7, column 'w2' (layer 'a', format 'w2'): '9' is given a second time",
    ):
        assert words.count(place) == 1
    assert "missing=drop" in words
    assert "non_monotone=keep or isotonic or drop" in words


def test_each_answer_does_what_it_says_and_the_list_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nan = math.nan
    with caplog.at_level(logging.WARNING, logger="mckp_quant"):
        dropped = read(tmp_path, missing="drop", negative="drop", non_monotone="drop", duplicate="drop")
    expected = np.array([[3, 2, 1], [nan, 2, 1], [3, nan, 1], [3, nan, nan], [3, 1, nan]])
    assert np.array_equal(dropped.table.loss, expected, equal_nan=True)
    assert len(dropped.findings) == 8
    assert dropped.report() in caplog.text
    assert dropped.report().count("- dropped") == 8
    mended = read(tmp_path, missing="drop", negative="clip", non_monotone="isotonic", duplicate="drop")
    assert mended.table.loss[3:].tolist() == [[3, 0, 0], [3, 1.5, 1.5]]
    kept = read(tmp_path, missing="drop", negative="keep", non_monotone="keep", duplicate="drop")
    assert kept.table.loss[3:].tolist() == [[3, -0.5, -1], [3, 1, 2]]
    assert "'-1' is a negative loss - kept" in kept.report()


def test_clean_tables_have_an_empty_list(tmp_path: Path) -> None:
    clean = read(tmp_path, "layer,shape,w2,w4\na,2x3,2,1\nb,2x3,not allowed,1\n")
    assert (clean.findings, clean.report()) == ((), "")
    assert math.isnan(clean.table.loss[1, 0])


def test_long_lists_are_cut_and_counted(tmp_path: Path) -> None:
    rows = "".join(f"l{row},2x3,404,1\n" for row in range(25))
    with pytest.raises(InvalidInput, match="- and 5 more"):
        read(tmp_path, "layer,shape,w2,w4\n" + rows)


def test_marks_of_missing_numbers_are_the_callers(tmp_path: Path) -> None:
    (tmp_path / "marks.csv").write_text("layer,shape,w2,w4\na,2x3,404,-9999\n")
    handling = Handling(missing="drop", marks=("-9999",))
    assert read_table(tmp_path / "marks.csv", handling=handling).table.loss[0].tolist()[0] == 404


def test_formats_of_other_activation_bits_are_other_chains(tmp_path: Path) -> None:
    text = "layer,format,loss,elements,stored_bits,weight_bits,activation_bits\n" + (
        "a,x4,3,64,256,4,{}\na,x8,5,64,512,8,{}\n"
    )
    assert read(tmp_path, text.format(8, 4)).findings == ()
    assert len(read(tmp_path, text.format(8, 8), non_monotone="keep").findings) == 1


@given(LOSSES)
def test_pooling_is_the_nearest_sequence_that_never_rises(losses: list[float]) -> None:
    loss = np.array(losses)
    pooled = pool_violators(loss)
    assert (np.diff(pooled) <= 1e-12).all()
    # The formula of isotonic regression by averages: the largest least mean over the runs around an entry.
    for at, value in enumerate(pooled):
        means = [min(loss[first : last + 1].mean() for first in range(at + 1)) for last in range(at, len(loss))]
        assert value == pytest.approx(max(means), abs=1e-9)
    assert rises(pooled.round(9)) == []
    if not rises(loss):
        assert (pooled == loss).all()


@given(LOSSES)
def test_entries_above_an_earlier_one_are_the_ones_that_rise(losses: list[float]) -> None:
    expected = [at for at, loss in enumerate(losses) if any(before < loss for before in losses[:at])]
    assert rises(np.array(losses)) == expected
    assert rises(np.array([])) == []


@pytest.mark.parametrize(("kind", "answer"), list(itertools.product(ANSWERS, ("mend", ""))))
def test_answers_that_do_not_exist_are_refused(kind: str, answer: str) -> None:
    with pytest.raises(InvalidInput, match=f"unknown handling of {kind} cells"):
        Handling.of({kind: answer})
    with pytest.raises(InvalidInput, match="unknown kind of cell 'mising': did you mean 'missing'"):
        Handling.of({"mising": "drop"})


@pytest.mark.parametrize("non_monotone", ["keep", "isotonic", "drop"])
def test_rows_that_are_passed_over_have_nothing_to_find(
    non_monotone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    lines = ["layer,shape,channels,w2,w4,w4a8,w8a8"]
    for at in range(60):
        losses = np.sort(draw.integers(0, 6, 4))[::-1] if at % 2 else draw.integers(0, 6, 4)
        cells = ["" if draw.random() < 0.05 else f"{loss}" for loss in losses]
        lines.append(f"l{at},{(4, 8)[at % 3 == 0]}x4,{(4, 2)[at % 5 == 0]},{','.join(cells)}")
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    handling = Handling(missing="drop", non_monotone=non_monotone)
    quick = read_table(tmp_path / "t.csv", handling=handling)
    monkeypatch.setattr("mckp_quant.tables.handling._may_rise", lambda loss, rows, columns: range(len(rows)))
    whole = read_table(tmp_path / "t.csv", handling=handling)
    assert quick.findings == whole.findings
    assert any(each.kind == "non_monotone" for each in quick.findings)
    assert np.array_equal(quick.table.loss, whole.table.loss, equal_nan=True)
