"""Changes of source: each differs from what stood there, compiles, and the order takes of every file its share."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from benchmarks.hunt.changes import changes_of, in_order
from benchmarks.hunt.mutants import KILLED, NOT_RUN, SURVIVED, interval, running, show

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = '''"""Text."""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from x import y
def largest(found: list[int], least: int = 0) -> int:
    """Words of 1 to 3."""
    best = least
    for each in found:
        if each > best and not each == 7:
            best = max(each, -best)
            continue
        best += 1
    if best < 0:
        raise ValueError(f"{best + 1} is below 0")
    return best * 2
'''


def test_every_change_compiles_and_differs(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(SOURCE, encoding="utf-8")
    changes = changes_of(tmp_path, path)
    old = ast.dump(ast.parse(SOURCE))
    for change in changes:
        made = change.carried_out(path.read_bytes()).decode()
        assert ast.dump(ast.parse(made)) != old
    said = {(change.kind, change.before, change.after) for change in changes}
    assert ("comparison", "each > best", "(each >= best)") in said
    assert ("extreme", "max", "(min)") in said
    assert ("jump", "continue", "pass") in said
    assert ("sign", "-best", "(+best)") in said
    assert ("arithmetic", "best += 1", "best -= 1") in said
    assert ("condition", "best < 0", "(not best < 0)") in said
    assert ("constant", "2", "(3)") in said
    assert not any("TYPE_CHECKING" in before or "below" in before for _, before, _ in said)
    with pytest.raises(ValueError, match=r"a\.py, line \d+: .* does not stand there any more"):
        changes[-1].carried_out(b"\n" * 30)


def test_every_beginning_of_the_order_has_of_each_file_in_proportion(tmp_path: Path) -> None:
    for name, count in (("a.py", 40), ("b.py", 10)):
        (tmp_path / name).write_text("x = 1\n" * count, encoding="utf-8")
    every = [change for name in ("a.py", "b.py") for change in changes_of(tmp_path, tmp_path / name)]
    order = in_order(every, 0)
    assert sorted(order) == sorted(every)
    assert order == in_order(every[::-1], 0) != in_order(every, 1)
    for count in range(5, 51, 5):
        assert abs(sum(change.file == "b.py" for change in order[:count]) - count / 5) <= 1


def test_the_interval_is_that_of_wilson() -> None:
    low, high = interval(9, 10)
    assert low == pytest.approx(0.5958, abs=1e-4)
    assert high == pytest.approx(0.9821, abs=1e-4)
    assert interval(0, 0) == (0.0, 1.0)


def test_tests_are_found_by_line_and_shown_by_outcome(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    (change,) = changes_of(tmp_path, tmp_path / "a.py")
    known = {"tests": [["slow", 2.0], ["quick", 1.0]], "lines": {"a.py": {"1": [0, 1]}}}
    assert running(known, change) == ["quick", "slow"]
    assert running({"tests": [], "lines": {}}, change) == []
    imported = {"tests": known["tests"], "lines": {"a.py": {"1": [], "2": [1]}}}  # by the import alone
    assert running(imported, change) == ["quick"]
    rows = [
        {**{name: str(each) for name, each in change._asdict().items()}, "outcome": outcome}
        for outcome in (KILLED, SURVIVED, NOT_RUN)
    ]
    text = show(rows)
    assert "all: 1 of 3 killed, 33.3%" in text
    assert "a.py:1 survived: 1 -> (2)" in text.replace("  ", " ")
    assert "a.py:1 no test runs it" in text
