from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mckp_quant import InvalidInput
from mckp_quant.pipeline.state import State, depends_digest, difference

if TYPE_CHECKING:
    from pathlib import Path

ASKED = {"formats": "w2", "request": {"budgets": {"bops": 5}}, "network": "ab" * 20}


def finished(folder: Path) -> State:
    state = State(folder)
    (state.begin("round", ASKED) / "deep").mkdir()
    (folder / "round" / "deep" / "codes").write_bytes(b"1234")
    state.finish("round", ASKED, "4 layers", 1.5)
    return state


def test_a_finished_step_is_kept_with_what_it_decided(tmp_path: Path) -> None:
    kept, why = finished(tmp_path).kept("round", ASKED)
    assert kept is not None
    assert (kept.decided, kept.seconds, why) == ("4 layers", 1.5, "")
    assert list(kept.files) == ["deep/codes"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"formats": "w4"}, "formats was w2, and is w4"),
        ({"request": {"budgets": {"bops": 6}}}, "request.budgets.bops was 5, and is 6"),
        ({"request": {"budgets": {"bops": 5}, "target": "vllm"}}, "request.target was None, and is vllm"),
        ({"network": "cd" * 20}, "network differs"),
        ({"formats": "w2," * 60}, "formats differs"),
    ],
)
def test_what_does_not_fit_says_what_differs(changed: dict[str, object], why: str, tmp_path: Path) -> None:
    assert finished(tmp_path).kept("round", {**ASKED, **changed}) == (None, why)
    assert depends_digest({**ASKED, **changed}) != depends_digest(ASKED)


def test_a_file_that_was_changed_or_lost_makes_the_step_again(tmp_path: Path) -> None:
    state, file = finished(tmp_path), tmp_path / "round" / "deep" / "codes"
    for damage in (lambda: file.write_bytes(b"1235"), file.unlink):
        damage()
        assert state.kept("round", ASKED) == (None, "its file 'deep/codes' is missing or was changed")


def test_a_step_that_was_stopped_goes_on_with_its_files_and_another_one_does_not(tmp_path: Path) -> None:
    state = State(tmp_path)
    (state.begin("round", ASKED) / "half").write_text("of it")
    assert state.kept("round", ASKED) == (None, "")
    assert (state.begin("round", ASKED) / "half").read_text() == "of it"
    assert not (state.begin("round", {**ASKED, "formats": "w4"}) / "half").exists()


def test_a_damaged_document_says_so_and_is_made_again(tmp_path: Path) -> None:
    state = finished(tmp_path)
    (tmp_path / "round" / "step.json").write_text("{")
    kept, why = state.kept("round", ASKED)
    assert kept is None
    assert "step.json" in why
    state.begin("round", ASKED)
    assert json.loads((tmp_path / "round" / "step.json").read_text())["finished"] is False


def test_only_steps_are_deleted(tmp_path: Path) -> None:
    state = finished(tmp_path)
    state.clear("round")
    assert not (tmp_path / "round").exists()
    (tmp_path / "round").mkdir()
    (tmp_path / "round" / "mine").write_text("x")
    state.clear("round")
    with pytest.raises(InvalidInput, match="holds something else than the results of a run: name another folder"):
        state.begin("round", ASKED)
    assert (tmp_path / "round" / "mine").read_text() == "x"


def test_equal_documents_do_not_differ_whatever_their_types() -> None:
    assert difference({"a": (1, 2), "b": {}}, {"b": {}, "a": [1, 2]}) == ""
    assert depends_digest({"a": (1, 2), "b": 3}) == depends_digest({"b": 3, "a": [1, 2]})
