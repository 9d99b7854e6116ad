from __future__ import annotations

from pathlib import Path

import pytest

from mckp_quant.cli.doctor import packages
from mckp_quant.cli.doctor.packages import BROKEN, FOUND, MISSING, PACKAGES, WORKS, Asked, look_at


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that this process and its children find."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_a_package_that_is_there_and_fails_is_said_with_its_error(path: Path) -> None:
    (path / "torn.py").write_text("import sys\nraise ImportError('libtorn.so.1: cannot open shared object file')")
    (path / "sound.py").write_text("")
    (path / "killed.py").write_text("import os\nos._exit(3)")
    names = ("torn", "sound", "killed", "nowhere_to_be_found")
    seen: list[tuple[int, int | None]] = []
    torn, sound, killed, nowhere = look_at(
        [Asked(name, name, "plot", "tests") for name in names], progress=lambda done, total: seen.append((done, total))
    )
    assert (torn.state, sound.state, killed.state, nowhere.state) == (BROKEN, WORKS, BROKEN, MISSING)
    assert torn.reason == (
        "the package 'torn' cannot be imported (ImportError: libtorn.so.1: cannot open shared object file); type: "
        "pip install --force-reinstall torn"
    )
    assert "(its import ends with the code 3)" in killed.reason
    assert nowhere.reason == (
        "the package 'nowhere_to_be_found' is not installed; type: pip install 'mckp-quant[plot]'"
    )
    assert sound.reason == ""
    assert (torn.usable, sound.usable) == (False, True)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_slow_one_is_imported_only_when_that_is_asked_for(path: Path) -> None:
    (path / "slow_and_torn.py").write_text("raise ImportError")
    asked = [Asked("slow_and_torn", "slow_and_torn", "", "tests", slow=True)]
    assert look_at(asked)[0].state == FOUND
    assert look_at(asked, thorough=True)[0].state == BROKEN


def test_an_import_that_does_not_end_is_broken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / "endless.py").write_text("import threading\nthreading.Event().wait()")
    monkeypatch.setattr(packages, "_SECONDS", 0.05)
    assert look_at([Asked("endless", "endless", "", "tests")])[0].why == "its import takes more than 0.05 seconds"


def test_every_package_names_what_installs_it() -> None:
    setup = (Path(__file__).parents[3] / "setup.cfg").read_text(encoding="utf-8")
    for each in PACKAGES:
        assert f"    {each.distribution}>=" in setup
        assert not each.extra or f"\n{each.extra} =\n" in setup
        assert each.install == (
            "pip install mckp-quant" if not each.extra else f"pip install 'mckp-quant[{each.extra}]'"
        )
