"""The watch over readers sees what it is there for: other errors, files without a name, memory and endless loops."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NoReturn

import pytest

from benchmarks.hunt import watched
from benchmarks.hunt.files.damage import damaged
from benchmarks.hunt.files.kind import Kind
from benchmarks.hunt.readers import hunt, main
from mckp_quant import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path


def no_name(path: Path) -> NoReturn:
    raise InvalidInput("something is wrong")


def named(path: Path) -> NoReturn:
    raise InvalidInput(f"{path} is wrong")


def foreign(path: Path) -> NoReturn:
    raise KeyError("layers")


def hungry(path: Path) -> NoReturn:
    raise InvalidInput(f"{path}") from MemoryError()


def endless(path: Path) -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (str, "taken"),
        (named, "refused"),
        (no_name, "no name in: something is wrong"),
        (foreign, "KeyError: 'layers'"),
        (hungry, "more memory than there is"),
    ],
)
def test_what_gets_out_of_a_reader_is_named(read: object, found: str, tmp_path: Path) -> None:
    kind = Kind("a.json", b"{}", read)  # type: ignore[arg-type]
    with watched.watching():
        assert watched.outcome(kind, tmp_path, b"[") == found
    assert (tmp_path / "a.json").read_bytes() == b"{}"


def test_endless_loops_are_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "SECONDS", 0.05)
    with watched.watching():
        assert watched.outcome(Kind("a.json", b"{}", endless), tmp_path, b"[") == "hangs"


def test_memory_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = watched._most()  # the highest that this process had
    monkeypatch.setattr(watched, "_most", lambda: before)
    assert watched.outcome(Kind("a.json", b"{}", str), tmp_path, b"[") == "taken"
    steps = iter((0, watched.BYTES + 2**20, watched.BYTES + 2**20))
    monkeypatch.setattr(watched, "_most", lambda: next(steps))
    assert watched.outcome(Kind("a.json", b"{}", str), tmp_path, b"[") == "takes 501 MB"


def test_damage_is_drawn_again_and_is_no_copy(tmp_path: Path) -> None:
    kind = Kind("a.json", b'{"a": [1, {"b": null}], "c": "text"}', foreign)
    made = [damaged(kind, random.Random(f"0/a.json/{number}")) for number in range(60)]
    assert made == [damaged(kind, random.Random(f"0/a.json/{number}")) for number in range(60)]
    assert len(set(made)) > 30
    assert sum(each == kind.content for each in made) < 20
    with watched.watching():
        counts, faults = hunt(kind, tmp_path, range(3), 0)
    assert counts == {"files": 3, "taken": 0, "refused": 0}
    assert faults[2] == "a.json, seed 0, file 2: KeyError: 'layers'"


def test_an_unknown_reader_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "documents/nothing", "--without-networks"]) == 2
    assert (
        "--only documents/nothing: there is no such reader; known are documents/table.json" in capsys.readouterr().err
    )
