"""What a user's own code is called by: modules and files, found, or refused in words that name them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from mckp_quant.common.own_code import blaming, named
from mckp_quant.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

CODE = "import helper_of_own\n\nclass Thing:\n    size = helper_of_own.SIZE\n\nnumber = 3\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("own_code_here", "helper_of_own"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "helper_of_own.py").write_text("SIZE = 7\n")
    (tmp_path / "own_code_here.py").write_text(CODE)
    (tmp_path / "failing.py").write_text("\n1 / 0\n")
    return tmp_path


def test_a_class_is_found_in_a_module_and_in_a_file_whose_neighbours_are_importable(here: Path) -> None:
    path = list(sys.path)
    assert named("solver", "own_code_here:Thing", "Class")().size == 7
    from_file = named("solver", "own_code_here.py:Thing", "Class")
    assert from_file().size == 7
    assert from_file.__module__ != "own_code_here"
    assert named("solver", f"{here}/own_code_here.py:Thing", "Class") is from_file
    assert sys.path == path


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("Thing", "solver 'Thing' names no Class: write package.module:Class or path/to/file.py:Class"),
        ("own_code_here:Think", "unknown Class in 'own_code_here' 'Think': did you mean 'Thing'"),
        ("own_code_here:number", "solver 'own_code_here:number' is a int, not a Class"),
        ("nowhere_at_all:Thing", "solver module 'nowhere_at_all' cannot be found"),
        ("nowhere.py:Thing", "solver file 'nowhere.py' does not exist"),
        ("failing.py:Thing", r"solver 'failing.py:Thing' failed: ZeroDivisionError: .* \(failing.py, line 2\)"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_is_not_there_or_fails_is_said(spec: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        named("solver", spec, "Class")


def test_what_the_package_says_itself_stays_as_it_is() -> None:
    with pytest.raises(InvalidInput, match=r"^as it is$"), blaming("solver", "own"):
        raise InvalidInput("as it is")
