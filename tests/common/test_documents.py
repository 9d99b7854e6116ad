from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant import InvalidInput
from mckp_quant.common.documents import check_seal, entries, field, plain, read_document, sealed, write_document
from mckp_quant.common.files import write_text

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=30)
@given(st.dictionaries(st.text().filter(lambda name: name != "schema"), DOCUMENTS, max_size=5))
def test_document_comes_back_as_it_was(document: dict[str, Any]) -> None:
    assert plain(document) == document
    assert json.loads(json.dumps(plain(document), allow_nan=False)) == document


@settings(max_examples=20)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), st.floats() | st.integers()))
def test_a_sealed_document_holds_and_any_change_breaks_the_seal(document: dict[str, Any]) -> None:
    document.pop("digest", None)
    read = json.loads(json.dumps(sealed(document)))
    check_seal(read, "'a.json'")
    assert {name: read[name] for name in document} == plain(document)
    for changed in ({**read, "more": 1}, {**read, "digest": ""}, {name: read[name] for name in document}):
        with pytest.raises(InvalidInput, match=r"'a\.json' is not as it was written: it is damaged or was edited"):
            check_seal(changed, "'a.json'")


def test_schema_names_kind_and_version(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.json"
    write_document(path, "table", 3, {"loss": np.array([[1.5, math.nan], [math.inf, 2.0]]), "layers": ("a", "b")})
    assert json.loads(path.read_text())["schema"] == "mckp-quant/table/3"
    assert read_document(path, "table", 3) == {"loss": [[1.5, None], [None, 2.0]], "layers": ["a", "b"]}
    assert read_document(path, "table", 4) == read_document(path, "table", 3)


def test_plain_turns_numpy_into_python() -> None:
    found = plain({1: np.float64(2.5), "n": np.int64(3), "nan": np.float32("nan"), "b": np.bool_(True)})
    assert found == {"1": 2.5, "n": 3, "nan": None, "b": True}
    assert [type(entry) for entry in found.values()] == [float, int, type(None), bool]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": "mckp-quant/policy/1", "layers": [', r"is not whole JSON \(line 1, column \d+: .*it was cut off"),
        ("", "is not whole JSON"),
        ("PK\x03\x04", "is not whole JSON"),
        ("[1, 2]", r"has the schema None: expected a policy \('mckp-quant/policy/1'\)"),
        ("{}", "has the schema None"),
        ('{"schema": 7}', "has the schema 7"),
        ('{"schema": "mckp-quant/table/1"}', "has the schema 'mckp-quant/table/1': expected a policy"),
        ('{"schema": "other/policy/1"}', "has the schema 'other/policy/1': expected a policy"),
        ('{"schema": "mckp-quant/policy/one"}', "expected a policy"),
        ('{"schema": "mckp-quant/policy/2"}', "is newer than this version of mckp-quant reads .*: upgrade mckp-quant"),
    ],
)
def test_documents_of_others_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=words):
        read_document(path, "policy", 1)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read the table '.*nothing.json': .*No such file"):
        read_document(tmp_path / "nothing.json", "table", 1)
    with pytest.raises(InvalidInput, match="cannot read the table"):
        read_document(tmp_path, "table", 1)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="cannot read the table"):
        read_document(tmp_path / "binary.json", "table", 1)


def test_missing_and_misshapen_fields_are_named() -> None:
    assert field({"a": 1}, "a", "the table") == 1
    assert entries({"a": [1]}, "a", "the table") == [1]
    with pytest.raises(InvalidInput, match="the table lacks the field 'b'"):
        field({"a": 1}, "b", "the table")
    with pytest.raises(InvalidInput, match="the table has a = 1: it must be a list"):
        entries({"a": 1}, "a", "the table")


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.txt"
    write_text(path, "old")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.txt"]


def test_document_that_cannot_be_written_touches_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_document(tmp_path / "table.json", "table", 1, {"a": object()})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
def test_written_files_have_the_modes_that_any_new_file_has(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("")
    write_text(tmp_path / "ours.txt", "")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain.txt", "ours.txt")}
    assert len(modes) == 1
