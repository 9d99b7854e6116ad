"""What a user's own code is called by: modules and files, found, or refused in words that name them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from mckp_quant.common.own_code import blaming, check_named, named
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


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("folder", "solver 'folder' is a folder: write a Class that reads it, and name that, as in net.py:Class"),
        (
            "w.safetensors",
            r"solver 'w.safetensors' is a file of weights: write a Class in a file of your own that makes",
        ),
        ("own_code_here.py", r"solver 'own_code_here.py' names no Class: write own_code_here.py:Thing"),
        ("own_code_here.py:Think", "unknown Class in 'own_code_here.py' 'Think': did you mean 'Thing'"),
        ("own_code_here:Think", "unknown Class in 'own_code_here' 'Think': did you mean 'Thing'"),
        ("nowhere_at_all:Thing", "solver module 'nowhere_at_all' cannot be found"),
        ("nowhere.at.all:Thing", "solver module 'nowhere.at.all' cannot be found"),
        ("nowhere.py:Thing", "solver file 'nowhere.py' does not exist"),
    ],
)
def test_what_is_not_there_is_said_without_running_anything(spec: str, message: str, here: Path) -> None:
    (here / "folder").mkdir()
    path = list(sys.path)
    with pytest.raises(InvalidInput, match=message):
        check_named("solver", spec, "Class")
    assert sys.path == path


@pytest.mark.parametrize("name", ["made", "imported", "late", "any_of_the_star"])
def test_a_name_that_a_file_may_bind_is_not_refused(name: str, here: Path) -> None:
    star = "from os.path import *" if name == "any_of_the_star" else ""
    (here / "binding.py").write_text(
        f"raise SystemExit('it ran')\n{star}\nfrom os import path as imported\nmade = 3\nif made:\n    late = made\n"
    )
    check_named("solver", f"binding.py:{name}")
    check_named("solver", f"binding:{name}")
    check_named("solver", "failing.py:Thing")  # it cannot be said without running it
    check_named("solver", "math:sqrt")  # compiled: its names are not known


def test_what_the_package_says_itself_stays_as_it_is() -> None:
    with pytest.raises(InvalidInput, match=r"^as it is$"), blaming("solver", "own"):
        raise InvalidInput("as it is")
