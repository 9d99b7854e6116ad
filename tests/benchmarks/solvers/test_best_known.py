from __future__ import annotations

import dataclasses

import pytest

from benchmarks.solvers import best_known
from benchmarks.solvers.library import library


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "--instances", "nowhere"], "--instances nowhere: there is no such folder"),
        (["list", "--only", "no such"], "--only 'no such': no instance has that in its name"),
        (["check", "--seconds", "0"], "--seconds 0.0: it must be above 0"),
    ],
)
def test_what_cannot_be_done_is_said(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert best_known.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_an_instance_is_checked_against_its_entry() -> None:
    instance = library()["ResNet-50 54x4, share 0.5, seed 1"]
    known = best_known.best_known()[instance.name]
    assert known.proved
    assert best_known.check(instance, known, 10.0) is None
    other = dataclasses.replace(known, digest="0" * 12)
    assert "the file says 000000000000" in str(best_known.check(instance, other, 10.0))
    other = dataclasses.replace(known, value=2 * known.value)
    assert f"the file says {other.value!r}" in str(best_known.check(instance, other, 10.0))


def test_the_list_says_how_each_instance_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert best_known.main(["list", "--only", "odd 54x16"]) == 0
    assert capsys.readouterr().out.startswith("odd 54x16: odd costs of 54 tensors")
