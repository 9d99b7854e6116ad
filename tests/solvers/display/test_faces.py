"""Faces: a few lines as text, and as HTML that no name can break out of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant.solvers import NoSolution, Problem, Rows, front, solve
from mckp_quant.solvers.display.faces import Face, bar, grid, heat
from mckp_quant.solvers.display.figures import log_share

from ...html_faces import cells_of, check_face, text_of

PROBLEM = Problem.from_table([[9.0, 4.0, 1.0], [6.0, 5.0, 0.5]], [[2, 3, 5], [2, 4, 8]], 9)


@given(st.text(), st.text(), st.text())
def test_any_text_stays_text(title: str, name: str, value: str) -> None:
    found = text_of(Face(title, ((name, value),)).html())
    assert "script" not in found.tags
    assert set(found.tags) == {"div", "style", "p", "table", "tbody", "tr", "th", "td"}


def test_a_fact_is_wrapped_below_itself_and_cut_after_four_lines() -> None:
    text = Face("title", (("a", "word " * 300), ("long", "end"))).text().split("\n")
    assert text[0] == "title"
    assert len(text) == 6
    assert all(len(line) <= 110 for line in text)
    assert text[1].startswith("  a     word")
    assert text[2].startswith("        word")
    assert text[4].endswith("[...]")
    assert text[5] == "  long  end"


def test_a_long_table_shows_its_ends_and_says_how_much_is_between() -> None:
    shown = cells_of(grid(("name", "number"), [(f"row{at}", str(at)) for at in range(100)]))
    assert shown[0] == ["name", "number"]
    assert shown[1] == ["row0", "0"]
    assert shown[-1] == ["row99", "99"]
    assert ["... 80 more ..."] in shown
    assert len(shown) == 22
    assert len(cells_of(grid(("name", "number"), [("a", "1")] * 20))) == 21


def test_bars_and_backgrounds_grow_with_their_share() -> None:
    assert "width:6em" in bar(1.0)
    assert "width:1.5em" in bar(0.25)
    assert "0.65)" in heat(1.0, "2 +- 1")
    assert "2 \N{PLUS-MINUS SIGN} 1" in heat(0.0, "2 +- 1")
    assert [log_share(each, 1.0, 4.0) for each in (-1, 0, 1e-9, 0.01, 1.0)] == [0.0, 0.0, 0.0, 0.5, 1.0]


def test_a_problem_says_its_size_and_what_its_budgets_leave() -> None:
    assert repr(PROBLEM).split("\n") == [
        "Problem: 2 groups, 6 choices, 1 budget",
        "  choices   3 a group",
        "  values    add up to 1.5 at least, 15 at most",
        "  budget 0  9; selections cost 4 to 13",
    ]
    assert cells_of(check_face(PROBLEM))[-2:] == [["0", "3", "1 to 9", "2 to 5"], ["1", "3", "0.5 to 6", "2 to 8"]]


def test_a_problem_of_many_budgets_and_rows_is_short_too() -> None:
    one = np.ones(1, dtype=np.int64)
    rows = Rows(indptr=[0, 1], indices=[0], coefficients=one, lower=0 * one, upper=one)  # type: ignore[arg-type]
    wide = Problem(np.zeros(2), np.ones((9, 2), dtype=np.int64), [5] * 9, [0, 2], [0, 1], rows)  # type: ignore[arg-type]
    check_face(wide)
    assert "and 3 more budgets" in repr(wide)
    assert "1 further" in repr(wide)


def test_a_solution_says_what_is_known_of_it() -> None:
    solution = solve(PROBLEM)
    check_face(solution)
    lines = repr(solution).split("\n")
    assert lines[0] == "Solution: proved optimal, value 6"
    assert "  cost 0  9 of 9 (100%)" in lines
    assert "  choice  2 1" in lines
    check_face(solution.certificate)
    assert solution.certificate.ground in repr(solution.certificate)


def test_a_solution_without_a_selection_does_not_search_for_a_reason() -> None:
    solution = solve(PROBLEM.with_budget(3))
    assert check_face(solution).startswith("<div")
    assert repr(solution).startswith("Solution: proved infeasible\n")
    assert "least_budgets" not in vars(solution)
    assert "no selection is within every budget" in check_face(solution.certificate)
    with pytest.raises(NoSolution, match="the least that works is 4"):
        solution.require()


def test_a_front_is_drawn_as_one_falling_line() -> None:
    found = front(PROBLEM)
    html = check_face(found)
    assert html.count('class="front"') == 1
    assert repr(found).startswith("Front: 4 points, exact\n  cost   4 to 9\n")
    empty = front(PROBLEM.with_budget(3))
    assert "<svg" not in check_face(empty)
    assert repr(empty) == "Front: no point, the budget cannot be met"
