from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

import mckp_quant
from mckp_quant.cli.entry import application
from mckp_quant.export import available

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(mckp_quant.__file__).parents[1] / "docs" / "export.md"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*standard errors.*")
def test_examples_of_the_page_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], needs: Callable[[str], None]
) -> None:
    for target in available():
        needs(target)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert "this policy:" in printed
    assert "compressed-tensors" in printed


def test_page_lists_every_target() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("| target | extra |")[2].partition("\n\n")[0]
    rows = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", rows)) == set(available())


def test_commands_of_the_page_are_understood() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("mckp-quant ")]
    assert len(lines) == 13
    for command, *arguments in (shlex.split(line)[1:] for line in lines):
        result = CliRunner().invoke(application, [command, *arguments, "--help"])
        assert result.exit_code == 0
        assert all(word in result.output for word in arguments if word.startswith("--"))
