from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mckp_quant.cli import main
from mckp_quant.cli.doctor import examining
from mckp_quant.cli.doctor.packages import BROKEN, FOUND, MISSING, PACKAGES, WORKS, Asked, Package
from mckp_quant.cli.doctor.parts import kernels, parts_of
from mckp_quant.export.exporting import EXPORTERS
from mckp_quant.solvers import available

if TYPE_CHECKING:
    from collections.abc import Sequence


def machine(**states: str) -> tuple[Package, ...]:
    """A machine where the packages of these distributions are in other states than all the rest."""
    return tuple(
        Package(each, "1.0", state, "ImportError: no" if state == BROKEN else "")
        for each in PACKAGES
        for state in [states.get(each.distribution, FOUND if each.slow else WORKS)]
    )


def examine(monkeypatch: pytest.MonkeyPatch, found: tuple[Package, ...], *arguments: str) -> int:
    def look_at(asked: Sequence[Asked], **options: Any) -> tuple[Package, ...]:
        assert asked is PACKAGES
        return found

    monkeypatch.setattr(examining, "look_at", look_at)
    return main(["doctor", *arguments])


def test_everything_works_where_nothing_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examine(monkeypatch, machine()) == 0
    out = capsys.readouterr().out
    assert f"solvers that work here: {', '.join(available())}" in out.replace("\n", " ")
    assert "rounders that work here: nearest, gptq, learned" in out
    assert "- not" not in out
    assert "'mckp-quant doctor --thorough' does that" in out.replace("\n", " ")


def test_what_does_not_work_is_named_with_why_and_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examine(monkeypatch, machine(torch=MISSING, pyscipopt=MISSING, matplotlib=BROKEN, gguf=MISSING)) == 0
    lines = capsys.readouterr().out.splitlines()
    text = " ".join(line.strip() for line in lines)
    torch = "the package 'torch' is not installed; type: pip install 'mckp-quant[torch]'"
    assert f"- not nearest, gptq, learned, importance: {torch}" in text
    assert "- not scip: the package 'pyscipopt' is not installed; type: pip install 'mckp-quant[scip]'" in text
    assert "export targets that work here: json" in text
    assert (
        "the package 'matplotlib' cannot be imported (ImportError: no); type: pip install --force-reinstall matplotlib"
        in text
    )


def test_a_package_that_always_comes_along_and_is_broken_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examine(monkeypatch, machine(ortools=BROKEN), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "mckp-quant/doctor/1"
    (cp_sat,) = [each for each in found["parts"] if each["name"] == "cp_sat"]
    assert (cp_sat["kind"], cp_sat["works"]) == ("solver", False)
    assert cp_sat["reason"].startswith("the package 'ortools' cannot be imported")
    assert {each["name"]: each["state"] for each in found["packages"]}["ortools"] == BROKEN


def test_parts_are_those_that_there_are() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from mckp_quant.rounding.rounders import ROUNDERS

    found = parts_of(machine())
    names = {kind: [each.name for each in found if each.kind == kind] for kind in ("solver", "rounder", "target")}
    assert names == {"solver": list(available()), "rounder": list(ROUNDERS), "target": list(EXPORTERS)}
    known = {each.module.partition(".")[0] for each in PACKAGES}
    assert {package for exporter in EXPORTERS.values() for package in exporter.packages} <= known


def test_kernels_are_said_to_be_there_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr("mckp_quant.cli.doctor.parts.is_compiled", lambda there=there: there)
        assert kernels().works == there
    assert kernels().reason.startswith("NumPy does the same, more slowly: install a C compiler, then pip install ")
