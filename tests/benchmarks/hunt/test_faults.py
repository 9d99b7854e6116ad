"""The harness of faults sees what is lost, what differs and what is left behind; steps that write well pass it."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from benchmarks.hunt import faults
from benchmarks.hunt.steps import STEPS
from mckp_quant.common.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def good(folder: Path) -> str:
    for _ in range(20):
        write_text(folder / "a.txt", "whole")
    return (folder / "a.txt").read_text(encoding="utf-8")


def untidy(folder: Path) -> str:
    (folder / f"{os.getpid()}").write_text("left", encoding="utf-8")
    return "same"


def forgetful(folder: Path) -> str:
    (folder / "a").touch()
    before = (folder / "b").exists()
    (folder / "b").touch()
    return "again" if before else "first"


def stubborn(folder: Path) -> str:
    if (folder / "a").exists():
        raise OSError("it lies there already")
    (folder / "a").touch()
    return "first"


def broken(folder: Path) -> str:
    raise KeyError("layers")


def found(step: Callable[[Path], str], fault: str, monkeypatch: pytest.MonkeyPatch, files: set[str]) -> set[str]:
    monkeypatch.setitem(STEPS, "step", step)
    return faults.trial("step", fault, random.Random(0), (step.__name__, files, 0.0))


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_what_writes_whole_or_not_at_all_passes(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "step", good)
    whole = faults.undisturbed("step")
    assert whole[:2] == ("whole", {"a.txt"})
    assert faults.trial("step", fault, random.Random(1), whole) <= {"hit"}


def test_every_harm_has_its_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(untidy, "clock", monkeypatch, {"a"}) >= {"strays", "different"}
    assert found(forgetful, "clock", monkeypatch, {"a", "b"}) >= {"different"}
    assert found(stubborn, "clock", monkeypatch, {"a"}) >= {"lost"}
    assert found(broken, "clock", monkeypatch, set()) >= {"foreign", "lost"}
    assert "step, clock: KeyError: 'layers'" in capsys.readouterr().err


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert faults.main(["--steps", "solve"]) == 2
    assert "--steps solve: known are measure, round, refine" in capsys.readouterr().err
    assert faults.main(["--faults", "flood"]) == 2
    assert "--faults flood: known are kill, full, vanish, clock" in capsys.readouterr().err
