"""The page of a benchmark: who proved what, whose answers are wrong, performance profiles, and growth with size."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.files import write_text
from ..errors import InvalidInput
from .asking import NOT_TAKEN
from .charts import Axis, line_chart
from .figures import exponent, median, performance_ratios, share_within
from .measured import Measured, read_results
from .rendering import Chart, Section, as_html, as_markdown
from .running import RESULTS_FILE

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from .measured import Results

TITLE = "Solvers side by side"
PAGE, HTML_PAGE = "page.md", "page.html"
_FACTORS = (1.0, 2.0, 5.0, 10.0, 100.0, 1000.0)
_WIDEST = 1e4  # factors beyond this are not drawn


def write_page(folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write the page of the results in a folder, as Markdown with charts beside it and as one HTML file.

    Parameters
    ----------
    folder
        Where `run_bench` wrote ``results.csv``.

    Returns
    -------
    markdown, html
        The two files.

    Raises
    ------
    InvalidInput
        When there are no results.
    """
    place = Path(folder)
    results = read_results(place / RESULTS_FILE)
    if not results.measured:
        raise InvalidInput(f"{str(place / RESULTS_FILE)!r} holds no results: run the benchmark first")
    parts = sections(results)
    for each in parts:
        for chart in each.charts:
            write_text(place / chart.file, chart.svg)
    write_text(place / PAGE, as_markdown(TITLE, parts))
    write_text(place / HTML_PAGE, as_html(TITLE, parts))
    return place / PAGE, place / HTML_PAGE


def sections(results: Results) -> list[Section]:
    """What the page says of some results."""
    found = [_summary(results), _wrong(results), *_profiles(results), *_growth(results), _families(results)]
    return [*found, *_not_taken(results), _truths(results)]


def _summary(results: Results) -> Section:
    rows = []
    for solver in results.solvers:
        own = [each for each in results.measured.values() if each.solver == solver]
        taken = [each for each in own if each.claim != NOT_TAKEN]
        wrong = [each for each in taken if results.wrong(each)]
        proved = [each for each in taken if results.proved(each)]
        rows.append(
            (
                _code(solver),
                *(str(len(each)) for each in (own, taken, proved, wrong)),
                str(len(taken) - len(proved) - len(wrong)),
                str(sum(results.is_best(each) for each in taken)),
                _milliseconds(median(each.cpu for each in taken)),
            )
        )
    days, versions, processors = results.stamps
    text = (
        f"{len(results.problems)} problems and {len(results.solvers)} solvers, measured {days} with {versions} on "
        f"{processors}. CPU time, medians of the rounds; each solver ran in a process of its own, and they took turns.",
        "An answer is wrong where it was refused, where it breaks a budget, or where a better selection than its "
        "optimum, or below its bound, is known. Every selection was recomputed in exact integers.",
    )
    headings = ("solver", "problems", "taken", "proved", "wrong", "unproved", "best value found", "median CPU, ms")
    return Section("Summary", text, headings=headings, rows=tuple(rows))


def _wrong(results: Results) -> Section:
    items = [
        f"{_code(each.solver)} on {_code(each.problem)} {_plain(words)}"
        for each in results.measured.values()
        if (words := results.wrong(each))
    ]
    return Section("Wrong answers", () if items else ("None is known.",), tuple(items))


def _profiles(results: Results) -> list[Section]:
    return [
        _profile(
            results,
            "Performance profile: proofs",
            "profile_proved.svg",
            "The share of problems that a solver proved within so many times the CPU time of the fastest one that did",
            results.proved,
        ),
        _profile(
            results,
            "Performance profile: best values",
            "profile_best.svg",
            "The share of problems on which a solver ended with the best value known, proved or not, within so many "
            "times the CPU time of the fastest one that did",
            results.is_best,
        ),
    ]


def _profile(results: Results, title: str, file: str, says: str, counts: Callable[[Measured], bool]) -> Section:
    seconds = {
        solver: {each.problem: each.cpu for each in results.measured.values() if each.solver == solver and counts(each)}
        for solver in results.solvers
    }
    ratios = performance_ratios(seconds)
    rows = tuple(
        (_code(solver), *(f"{share_within(own, factor):.2f}" for factor in (*_FACTORS, math.inf)))
        for solver, own in ratios.items()
        if own
    )
    if not rows:
        return Section(title, ("There is nothing to compare.",))
    headings = ("solver", *(f"{factor:g}x" for factor in _FACTORS), "ever")
    lines = {solver: _steps(own) for solver, own in ratios.items()}
    axes = Axis("times the fastest", 1.0, _WIDEST, logarithmic=True), Axis("share of problems", 0.0, 1.0)
    text = f"{says} (Dolan and More 2002); {len(next(iter(ratios.values())))} problems."
    return Section(
        title, (text,), headings=headings, rows=rows, charts=(Chart(file, line_chart(lines, *axes, title), title),)
    )


def _steps(ratios: list[float]) -> list[tuple[float, float]]:
    """The corners of a performance profile."""
    corners, share = [(1.0, 0.0)], 0.0
    for number, ratio in enumerate(ratios, 1):
        if ratio > _WIDEST:
            break
        corners += [(ratio, share), (ratio, share := number / len(ratios))]
    return [*corners, (_WIDEST, share)]


def _growth(results: Results) -> list[Section]:
    found = []
    for family in dict.fromkeys(each.family for each in results.measured.values()):
        lines = {}
        for solver in results.solvers:
            own = [
                each
                for each in results.measured.values()
                if (each.family, each.solver) == (family, solver) and each.cpu > 0
                if results.proved(each) or results.is_best(each)
            ]
            sizes = sorted({each.groups for each in own})
            if len(sizes) > 1:
                lines[solver] = [
                    (float(size), median(each.cpu for each in own if each.groups == size)) for size in sizes
                ]
        if lines:
            found.append(_growth_of(family, lines))
    return found


def _growth_of(family: str, lines: dict[str, list[tuple[float, float]]]) -> Section:
    points = [point for own in lines.values() for point in own]
    x = Axis("groups", min(p[0] for p in points), max(p[0] for p in points), logarithmic=True)
    least, most = min(p[1] for p in points), max(p[1] for p in points)
    y = Axis("CPU seconds", 10.0 ** math.floor(math.log10(least)), 10.0 ** (1 + math.floor(math.log10(most))), True)
    title = f"Growth: {family}"
    rows = tuple(
        (
            _code(solver),
            f"{exponent(own):.2f}",
            *(f"{size:g}: {_milliseconds(cpu)} ms" for size, cpu in (own[0], own[-1])),
        )
        for solver, own in lines.items()
    )
    text = (
        "Median CPU time against the number of groups, of answers that were proved or best; the exponent is the slope "
        "through their logarithms."
    )
    file = f"growth_{''.join(letter if letter.isalnum() else '_' for letter in family)}.svg"
    chart = Chart(file, line_chart(lines, x, y, title), title)
    return Section(title, (text,), headings=("solver", "exponent", "smallest", "largest"), rows=rows, charts=(chart,))


def _families(results: Results) -> Section:
    rows = []
    for family in dict.fromkeys(each.family for each in results.measured.values()):
        cells = []
        for solver in results.solvers:
            own = [
                each
                for each in results.measured.values()
                if (each.family, each.solver) == (family, solver) and each.claim != NOT_TAKEN
            ]
            wrong = sum(bool(results.wrong(each)) for each in own)
            unproved = sum(not results.proved(each) for each in own) - wrong
            flaws = (f" [{wrong} wrong]" if wrong else "") + (f" [{unproved} unproved]" if unproved else "")
            cells.append(_milliseconds(median(each.cpu for each in own)) + flaws)
        rows.append((family, *cells))
    return Section("Median CPU time by family, ms", headings=("family", *results.solvers), rows=tuple(rows))


def _not_taken(results: Results) -> list[Section]:
    reasons = Counter((each.solver, each.note) for each in results.measured.values() if each.claim == NOT_TAKEN)
    items = tuple(f"{_code(solver)}, {count} problems: {_plain(note)}" for (solver, note), count in reasons.items())
    return [Section("Not taken", items=items)] if items else []


def _truths(results: Results) -> Section:
    rows = []
    for problem in results.problems:
        truth = results.truth(problem)
        value = "no selection" if math.isnan(truth.best) else f"{truth.best:.10g}"
        rows.append((_code(problem), value, truth.found_by and _code(truth.found_by), truth.proof or "not known"))
    text = (
        "The best selection that any solver found, and why nothing is better: a certificate whose dual gap is closed "
        "and that was rechecked, or exhausted searches of two solvers that agree.",
    )
    return Section("What is known", text, headings=("problem", "value", "found by", "proof"), rows=tuple(rows))


def _milliseconds(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{1e3 * seconds:.3g}"


def _code(name: str) -> str:
    return f"`{_plain(name)}`"


def _plain(words: str) -> str:
    """Words in which nothing is taken for code."""
    return words.replace("`", "'")
