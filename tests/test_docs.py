from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

import mckp_quant
from mckp_quant.cli.entry import application
from mckp_quant.costs.costs import RESOURCES, VARIANTS
from mckp_quant.tables.findings import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(mckp_quant.__file__).parents[1] / "docs"


def blocks(page: str) -> Iterator[str]:
    yield from re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["tables.md", "budgets.md", "formats.md"])
def test_examples_of_a_page_run_in_their_order(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)
    assert capsys.readouterr().out


def test_the_request_in_toml_is_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", (DOCS / "budgets.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "asked.toml").write_text(text)
    (tmp_path / "latency.csv").write_text("layer,w4,w8\nhead,1,2\n")
    mckp_quant.Policy(("head",), (mckp_quant.Format.named("w8"),)).save(tmp_path / "policy.json")
    request = mckp_quant.Request.from_toml(tmp_path / "asked.toml")
    assert set(request.document()) >= {"budgets", "pinned", "tie_rules", "costs", "choices", "target", "constraints"}


def test_tables_of_the_pages_name_what_there_is() -> None:
    budgets = (DOCS / "budgets.md").read_text(encoding="utf-8")
    for name in (*RESOURCES, *VARIANTS, "activation_bytes", "total_bytes"):
        assert f"| `{name}` |" in budgets
    tables = (DOCS / "tables.md").read_text(encoding="utf-8")
    for kind, answers in ANSWERS.items():
        (row,) = [line for line in tables.splitlines() if line.startswith(f"| `{kind}` |")]
        assert all(f"`{answer}`" in row for answer in answers)


def test_commands_of_the_pages_are_understood() -> None:
    lines = [line for page in ("tables.md", "budgets.md") for line in (DOCS / page).read_text("utf-8").splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("mckp-quant ")]
    assert len(commands) == 6
    for command, *arguments in commands:
        result = CliRunner().invoke(application, [command, *arguments, "--help"])
        assert result.exit_code == 0
        assert all(word in result.output for word in arguments if word.startswith("--"))


def test_every_page_is_in_the_navigation() -> None:
    listed = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    for page in ("tables.md", "budgets.md", "formats.md"):
        assert f": {page}\n" in listed
