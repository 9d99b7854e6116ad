"""What CI tries of the versions that setup.cfg allows, and the order that its tests run in."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import mckp_quant

if TYPE_CHECKING:
    import pytest

ROOT = Path(mckp_quant.__file__).parents[1]


def test_the_lowest_versions_are_those_of_setup_cfg() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "lower_bounds"], capture_output=True, text=True, check=True, cwd=ROOT / ".ci"
    )
    said = dict(line.split("==") for line in done.stdout.split())
    for requirement in setup["options"]["install_requires"].split():
        name, bound = requirement.split(",")[0].split(">=")
        assert said[name] == bound
    assert {"pytest", "hypothesis"} <= set(said)


def test_shuffled_tests_are_the_same_tests_in_another_order_of_files_and_within_them(
    pytestconfig: pytest.Config,
) -> None:
    plugin = pytestconfig.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    assert plugin is not None
    shuffle = plugin.pytest_collection_modifyitems

    def order(seed: int | None) -> list[str]:
        names = [(f"tests/{file}.py", test) for file in "abcd" for test in range(6)]
        items = [SimpleNamespace(path=Path(file), nodeid=f"{file}::{test}") for file, test in names]
        shuffle(SimpleNamespace(getoption=lambda option: seed), items)
        return [item.nodeid for item in items]

    plain, once, twice, other = order(None), order(1), order(1), order(2)
    assert plain == sorted(plain)
    assert once == twice
    assert len({tuple(each) for each in (plain, once, other)}) == 3
    for each in (once, other):
        assert sorted(each) == plain
        assert [name.partition("::")[0] for name in each[::6]] == list(
            dict.fromkeys(n.partition("::")[0] for n in each)
        )
