"""What the documentation imports or names is public in its room: nothing that moves with a file."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import mckp_quant

ROOT = Path(mckp_quant.__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "docs" / "examples").glob("*.py"))]
# Decisions speak of modules, and are not instructions.
NAMED = [page for page in PAGES if page.name != "decisions.md"]
MODULES = {("solvers", "instances"), ("report", "plots")}  # public modules of their rooms


@pytest.mark.parametrize("page", NAMED, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_things_by_their_rooms(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {(room, name) for room, name in re.findall(r"\bmckp_quant\.([a-z]\w*)\.(\w+)", text) if name != "py"}
    for room, imported in re.findall(r"^ *from mckp_quant\.(\w+) import ([\w, ]+)$", text, re.MULTILINE):
        named |= {(room, name.strip()) for name in imported.split(",")}
    assert not re.search(r"^ *from mckp_quant\.\w+\.", text, re.MULTILINE), "import from the room"
    for room, name in sorted(named):
        found = importlib.import_module(f"mckp_quant.{room}")
        assert name in found.__all__ or (room, name) in MODULES, f"{room}.{name} is not public"
