"""The command that benchmarks solvers, without a checkout and without torch: bench."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from ...bench import FAMILIES, problems_of, read_results, run_bench, write_page
from ...common.checks import check_count, check_positive
from ...report.text import table_of
from ..console import note, progress, show
from ..options import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

BENCH_FOLDER = Path("bench-output")


def bench(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILES", help="Sensitivity tables, problems (.json), and the literature's text files."),
    ] = None,
    family: Annotated[
        list[str] | None,
        typer.Option(
            "--family",
            metavar="NAME:SIZE:SEEDS",
            help="Generated problems, such as zigzag:100x10:3 (seeds 0, 1, 2) or zigzag:100x10:5-7; may be repeated. "
            f"Names: {', '.join(FAMILIES)}.",
        ),
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Which solvers; your own as module:Class or file.py:Class. By default all that can run here.",
        ),
    ] = None,
    budgets: Annotated[
        str | None,
        typer.Option(
            metavar="20%,50%",
            help="Budgets at these shares of the way from the cheapest selection to the dearest; by default those of "
            "the problem, and 20%,50%,80% of the way for tables.",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often each problem is solved; medians are shown.")] = 3,
    seconds: Annotated[float, typer.Option("--seconds", help="Time limit of each solve.")] = 10.0,
    own_process: Annotated[
        bool, typer.Option("--own-process", help="A new process for each solve, so that peak memory is its own.")
    ] = False,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Where results.csv is; what it holds is not solved again."
        ),
    ] = BENCH_FOLDER,
) -> None:
    """Set solvers side by side on many problems: CPU time, proofs, and whose answers are wrong."""
    check_count("rounds", rounds, 1)
    check_positive("seconds", seconds)
    problems = problems_of(files or (), family or (), names(budgets or ""))
    with progress(f"{len(problems)} problems") as report:
        results = run_bench(
            problems,
            names(solver or ""),
            folder=output,
            rounds=rounds,
            seconds=seconds,
            own_process=own_process,
            progress=report,
        )
    pages = write_page(output)
    for path in (results, *pages):
        note(f"wrote {path}")
    show(*_for_terminals(pages[0].read_text(encoding="utf-8").partition("\n## Performance")[0]))
    measured = read_results(results)
    wrong = sum(bool(measured.wrong(each)) for each in measured.measured.values())
    if wrong:
        note(f"{wrong} wrong answers: see {pages[1]}")


def _for_terminals(markdown: str) -> Iterator[RenderableType]:
    """Text whose tables fit the terminal."""
    for is_table, lines in itertools.groupby(markdown.splitlines(), lambda line: line.startswith("|")):
        if is_table:
            headings, _, *rows = [[cell.strip() for cell in line.strip("| ").split(" |")] for line in lines]
            yield table_of(headings, rows)
        else:
            yield Text("\n".join(lines))
