from __future__ import annotations

import importlib
import itertools
import logging
import os
import re
import shlex
import subprocess
import sys
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
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
# All but the decisions, which may name what has gone since.
TEXTS = {
    str(path.relative_to(DOCS)): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
    if path.name != "decisions.md"
}


def blocks(page: str) -> Iterator[str]:
    yield from re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


EXECUTED = (
    *("start.md", "tables.md", "budgets.md", "formats.md", "trade_offs.md", "report.md"),
    *("many_machines.md", "optimisation.md", "benchmarking.md", "certificates.md", "choosing.md", "embed.md"),
)


@pytest.mark.parametrize("page", EXECUTED)
def test_examples_of_a_page_run_in_their_order(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("mckp_quant.solvers")
    level = logger.level
    names: dict[str, Any] = {}
    try:
        for block in blocks(page):
            exec(compile(block, page, "exec"), names)
    finally:
        logger.setLevel(level)  # a page may ask for the log, and a solver is called otherwise where somebody listens
    assert capsys.readouterr().out


def test_the_first_four_embeddings_need_no_torch_and_few_lines(tmp_path: Path) -> None:
    found = list(blocks("embed.md"))
    assert len(found) == 5
    for block in found:
        lines = [line for line in block.splitlines() if line.strip() and not line.startswith(("import ", "from "))]
        assert len(lines) <= 15, block
    script = "import sys\nsys.modules['torch'] = None\n" + "\n".join(found[:4])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert printed[0] == "[8, 4, 16] 2500 proved optimal"
    assert "passed: this policy" in done.stdout
    assert "of the bytes are for nothing" in done.stdout
    assert "no policy takes less than" in done.stdout


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
    lines = [
        line
        for page in ("start.md", "tables.md", "budgets.md", "benchmarking.md")
        for line in (DOCS / page).read_text("utf-8").splitlines()
    ]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("mckp-quant ")]
    assert len(commands) == 21
    for command, *arguments in commands:
        result = CliRunner().invoke(application, [command, *arguments, "--help"])
        assert result.exit_code == 0
        assert all(word in result.output for word in arguments if word.startswith("--"))


def test_the_certificate_by_hand_adds_up() -> None:
    text = TEXTS["certificates.md"]
    given, at_0_8, at_2_3, core = (
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
        for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    )
    cells = [[tuple(map(float, cell.split("/"))) for cell in row[1:]] for row in given]
    (blocks_begin, *_) = blocks("certificates.md")
    assert f"loss = {[[loss for _, loss in row] for row in cells]}" in blocks_begin
    assert f"size = {[[int(size) for size, _ in row] for row in cells]}" in blocks_begin
    for price, shown, total in ((0.8, at_0_8, 17.6), (2 / 3, at_2_3, 16.0)):
        paid = [[loss + price * size for size, loss in row] for row in cells]
        expected = [[*row, min(row)] for row in paid]
        assert [list(map(float, row[1:])) for row in shown] == [[round(each, 3) for each in row] for row in expected]
        assert sum(min(row) for row in paid) == pytest.approx(total)
    # What is out is dearer than the best of its row by the gap or more, and what is in is not.
    columns = {"w2": 0, "w4": 1, "w8": 2}
    reduced = [[each - min(row) for each in row] for row in paid]
    left = [{name for name, column in columns.items() if row[column] < 1 - 1e-9} for row in reduced]
    assert all(f"({round(row[0], 3):g})" in text for row in reduced)
    assert {tuple(row[:3]) for row in core} == set(itertools.product(*left))
    for *names, size, loss in core:
        chosen = [row[columns[name]] for row, name in zip(cells, names, strict=True)]
        assert float(size) == sum(each for each, _ in chosen)
        assert loss == ("over" if float(size) > 15 else f"{sum(each for _, each in chosen):g}")


def test_every_page_is_in_the_navigation() -> None:
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", "".join(TEXTS.values()), re.MULTILINE | re.DOTALL)
    listed = {line.rpartition("/")[2] for tree in trees for line in tree.splitlines()}
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= listed


def test_names_on_the_pages_exist() -> None:
    for page, text in TEXTS.items():
        for path in set(re.findall(r"\bmckp_quant(?:\.\w+)+", text)):
            assert _found(path), f"{page} names {path}, which does not exist"
        for name in set(re.findall(r"\bmq\.(\w+(?:\.\w+)?)", text)):
            assert _found(f"mckp_quant.{name}"), f"{page} names mq.{name}, which does not exist"


def test_files_and_commands_on_the_pages_exist() -> None:
    root = DOCS.parent
    for page, text in TEXTS.items():
        for path in re.findall(r"(?:\bpython |`)((?:benchmarks|solvers|tests|docs|mckp_quant)/[\w./]+)", text):
            assert (root / path).exists(), f"{page} names {path}, which does not exist"
        for module in re.findall(r"python -m (benchmarks[\w.]+)", text):
            path = root / module.replace(".", "/")
            runs = path.with_name(f"{path.name}.py").is_file() or (path / "__main__.py").is_file()
            assert runs, f"{page} runs {module}, which does not exist"


def _found(path: str) -> bool:
    """Whether a dotted path leads from a module to something."""
    parts = path.split(".")
    found: object = importlib.import_module(parts[0])
    for at, part in enumerate(parts[1:], 1):
        if not hasattr(found, part):
            try:
                importlib.import_module(".".join(parts[: at + 1]))
            except ModuleNotFoundError:
                return False
        found = getattr(found, part)
    return True
