"""The tables of docs/benchmarks.md, from the lines of a results file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..pages import RESULTS, fill, read_rows, table
from .library import GROWING, KHAN
from .measurements import ANOTHER, Results, exponent, geometric_mean, median, read

if TYPE_CHECKING:
    from pathlib import Path

    from .measurements import Measured

GENERAL = ("raw cp_sat", "raw highs", "raw cbc", "raw scip")
REDUCED = ("cp_sat", "highs", "pulp")
PLAIN = ("greedy", "relax", "evolve")
ONE_BUDGET = ("ResNet-50 54x4", "ResNet-50 54x7", "LLM 224x4", "LLM 224x7", "lognormal 500x7", "HAWQ-V3 ResNet-18")
SEVERAL = tuple(
    f"{network}, {n} budgets, fresh"
    for network in ("ResNet-50 54x4", "ResNet-50 54x7", "LLM 224x4", "lognormal 54x4")
    for n in (2, 3)
)
COMPILED = (
    *("ResNet-50 54x4", "ResNet-50 54x7", "LLM 224x7", "lognormal 500x7"),
    *(f"ResNet-50 {size}, {n} budgets" for size in ("54x4", "54x7") for n in (2, 3)),
)
HARD = "several_budgets 30x10, 5 budgets"
MILLION = "LLM 1,000,000x4"


def write_page(path: Path, target: Path) -> None:
    """Write every table between its markers."""
    results = read(path)
    parts = {
        "made": _made(results),
        "reach": reach(results),
        "one budget": against_exact(results, ONE_BUDGET, (*PLAIN, *REDUCED, *GENERAL)),
        "several": against_exact(results, (*SEVERAL, HARD), (*REDUCED, *GENERAL)),
        "growth": growth(results),
        "families": families(results),
        "khan": khan(results),
    }
    fill(target, parts)


def write_compiled(path: Path, target: Path) -> None:
    """Write the one table of a run with compiled kernels."""
    fill(target, {"raw": against_exact(read(path), COMPILED, GENERAL)})


def _made(results: Results) -> str:
    days, commits, versions, processors = results.stamps
    return (
        f"Measured {days} at commit {commits} (a plus: the checkout had changes on top) with {versions}, "
        f"on two shared cores ({processors})."
    )


def milliseconds(seconds: float) -> str:
    """Three digits of a time in milliseconds."""
    return "" if math.isnan(seconds) else _number(1e3 * seconds)


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 10 else 2}f}"


def against_exact(results: Results, families_: tuple[str, ...], solvers: tuple[str, ...]) -> str:
    """Median time of the exact solver, and the geometric mean of the others' times over it."""
    rows = []
    for family in families_:
        own = results.family(family, "exact")
        if not own:
            continue
        cells = [f"{family} ({len(own)})", f"{milliseconds(median(each.cpu for each in own))}{_flaws(own)}"]
        for solver in solvers:
            met = results.family(family, solver)
            cells.append(f"{_number(geometric_mean(results.ratios(family, solver)))}{_flaws(met)}" if met else "")
        pairs = results.fastest(family, GENERAL)
        fastest = _number(median(other.cpu / each.cpu for each, other in pairs))
        cells.append(f"{fastest} ({len(pairs)})" if pairs else "none correct")
        rows.append(tuple(cells))
    return table(("family (instances)", "exact, ms", *solvers, "fastest correct raw one"), rows)


def _flaws(met: list[Measured]) -> str:
    wrong = sum(each.wrong for each in met)
    unproved = sum(each.claim not in ("optimal", "exact") for each in met)
    if met and met[0].solver in PLAIN:
        missed = sum(each.value > each.best + ANOTHER * abs(each.best) for each in met)
        return f" [{missed} not optimal]" if missed else ""
    return (f" [{wrong} wrong]" if wrong else "") + (f" [{unproved} unproved]" if unproved else "")


def growth(results: Results) -> str:
    """Medians at every size, and the exponent of a power law through those sizes where every answer was proved."""
    names = [f"growing {size}x7" for size in GROWING]
    rows = []
    for solver in ("exact", *PLAIN, *REDUCED, *GENERAL):
        cells, points = [], []
        for size, family in zip(GROWING, names, strict=True):
            met = results.family(family, solver)
            unproved = any(each.claim != "optimal" for each in met) and solver not in PLAIN
            cells.append(milliseconds(median(each.cpu for each in met)) + (" *" if unproved else ""))
            if met and not unproved:
                points.append((float(size), median(each.cpu for each in met)))
        if len(points) > 1:
            spread = f"{int(points[0][0]):,} to {int(points[-1][0]):,}"
            rows.append((solver, f"{exponent(points):.2f}", spread, *cells))
    return table(("solver", "exponent", "fitted from", *(f"{size:,}" for size in GROWING)), rows)


def families(results: Results) -> str:
    """The knapsack literature: times of the exact solver, and those of general solvers over them."""
    rows = []
    for kind in ("uncorrelated", "weakly_correlated", "strongly_correlated", "subset_sum", "zigzag"):
        found = dict.fromkeys(each.family for each in results.of.values() if each.family.startswith(kind))
        for family in found:
            own = results.family(family, "exact")
            cells = [family.replace("_", " "), milliseconds(median(each.cpu for each in own))]
            cells += [milliseconds(max(each.cpu for each in own)), f"{sum(e.correct for e in own)} of {len(own)}"]
            for solver in ("cp_sat", "raw cp_sat", "raw highs"):
                met = results.family(family, solver)
                cells.append(f"{_number(geometric_mean(results.ratios(family, solver)))}{_flaws(met)}" if met else "")
            rows.append(tuple(cells))
    return table(("family", "median, ms", "slowest, ms", "proved", "cp_sat", "raw cp_sat", "raw highs"), rows)


def khan(results: Results) -> str:
    """Khan's knapsacks, as profits."""
    rows = []
    for name, published in KHAN.items():
        own = results.of.get((f"Khan {name}", "exact"))
        if own is not None:
            verdict = (
                "proved optimal" if own.claim == "optimal" else f"gap {100 * abs(own.value / own.bound - 1):.3f} %"
            )
            cells = (f"{published:g}", f"{-own.value:g}", f"{-own.bound:,.2f}", verdict, f"{own.cpu:.1f}")
            rows.append((name, *cells))
    return table(("instance", "published", "found", "bound", "status", "CPU s"), rows)


def reach(results: Results) -> str:
    """What was aimed at, and what was measured."""
    rows = []
    for family, factor in (("ResNet-50 54x7", 25), ("LLM 224x7", 50), ("lognormal 500x7", 100)):
        pairs = results.fastest(family, GENERAL)
        own = results.family(family, "exact")
        if not pairs:
            continue
        ratio, time = median(o.cpu / e.cpu for e, o in pairs), median(each.cpu for each in own)
        if family == "ResNet-50 54x7":
            rows.append(_row(f"{family}, one budget", "<= 2 ms", f"{milliseconds(time)} ms", time <= 0.002))
        goal = f">= {factor}x the fastest correct general solver"
        rows.append(_row(f"{family}, one budget", goal, f"{_number(ratio)}x", ratio >= factor))
    for each in results.family(MILLION, "exact"):
        said = f"{each.claim}, {each.cpu:.2f} s, {each.peak_bytes / 1e9:.2f} GB"
        said += _gap(each)
        good = each.correct and each.cpu < 2 and each.peak_bytes < 0.7e9
        rows.append(_row(f"{MILLION}{each.instance.removeprefix(MILLION)}", "proved, < 2 s, < 0.7 GB", said, good))
    rows += [*_front(results), *_several(results), *_khan(results), *_collapse(results), *_memory(results), *_fuzz()]
    return table(("work", "aim", "measured", "verdict"), rows)


def _row(work: str, aim: str, said: str, good: bool) -> tuple[str, ...]:
    return work, aim, said, "reached" if good else "**missed**"


def _front(results: Results) -> list[tuple[str, ...]]:
    own = results.family("front of ResNet-50 54x7", "front")
    each = results.family("points of that front", "raw cp_sat")
    if not own or not each:
        return []
    work = f"whole front of ResNet-50 54x7, {own[0].points:,} points"
    loop = median(one.cpu for one in each) * own[0].points / own[0].cpu
    said = f"{_number(loop)}x, extrapolated from {len(each)} points"
    return [
        _row(work, "< 100 ms", f"{milliseconds(own[0].cpu)} ms", own[0].cpu < 0.1),
        _row(work, ">= 10,000x a loop over the points with CP-SAT", said, loop >= 10_000),
    ]


def _several(results: Results) -> list[tuple[str, ...]]:
    worst, rivals = [], ("raw cp_sat", "raw highs", "raw scip")
    ratios: list[float] = []
    unproved = met = 0
    for family in SEVERAL:
        pairs = results.fastest(family, rivals)
        own = results.family(family, "exact")
        unproved += sum(not each.correct for each in own)
        met += len(own)
        ratios += [other.cpu / each.cpu for each, other in pairs]
        worst.append((median(other.cpu for _, other in pairs) / median(each.cpu for each, _ in pairs), family))
    if not ratios:
        return []
    least, family = min(worst)
    ahead = geometric_mean(ratios)
    behind = sum(ratio < 1 for ratio in ratios)
    work = "2 and 3 budgets, 54x4, 54x7, 224x4"
    return [
        _row(work, "all proved", f"{met - unproved} of {met}", unproved == 0),
        _row(
            work, "no row median > 1.2x behind the best", f"worst {_number(least)}x ahead: {family}", least >= 1 / 1.2
        ),
        _row(work, ">= 2x ahead (geometric mean)", f"{_number(ahead)}x; behind on {behind} of {met}", ahead >= 2),
    ]


def _khan(results: Results) -> list[tuple[str, ...]]:
    rows = []
    own = {name: results.of.get((f"Khan {name}", "exact")) for name in KHAN}
    easy = [own[name] for name in ("I01", "I02", "I03", "I05", "I06")]
    proved = [each for each in easy if each is not None and each.correct]
    if any(own.values()):
        aim = "I01, I02, I03, I05, I06 proved in 60 s each"
        rows.append(_row("Khan", aim, f"{len(proved)} of 5", len(proved) == 5))
    if (fourth := own["I04"]) is not None:
        said = f"{-fourth.value:g}, bound {-fourth.bound:.1f}, {fourth.claim}"
        rows.append(_row("Khan I04", "3597", said, -fourth.value >= 3597))
    return rows


def _collapse(results: Results) -> list[tuple[str, ...]]:
    rows = []
    for reach_ in (1000, 10_000):
        family = f"strongly_correlated 10000x10, R = {reach_}"
        for each in results.family(family, "exact"):
            said = f"{each.claim}, {each.cpu:.2f} s" + _gap(each)
            rows.append(_row(family.replace("_", " "), "< 10 s", said, each.correct and each.cpu < 10))
    for size in (100, 1000):
        family = f"subset_sum {size}x10, R = 10000"
        own = results.family(family, "exact")
        if own:
            slowest = max(each.cpu for each in own)
            said = f"{sum(each.correct for each in own)} of {len(own)} proved, slowest {slowest:.2f} s"
            rows.append(
                _row(family.replace("_", "-"), "< 0.5 s", said, all(each.correct for each in own) and slowest < 0.5)
            )
    return rows


def _gap(each: Measured) -> str:
    return "" if each.claim == "optimal" else f", gap {abs(each.value / each.bound - 1):.1e}"


def _memory(results: Results) -> list[tuple[str, ...]]:
    rows = []
    for each in results.family("odd 54x16", "exact"):
        said = f"{each.claim}, {milliseconds(each.cpu)} ms, {each.peak_bytes / 1e9:.2f} GB"
        good = each.correct and each.peak_bytes < 1e9
        rows.append(_row("odd costs 54x16: a table over the budget takes 93 GB", "proved in < 1 GB", said, good))
    return rows


def _fuzz() -> list[tuple[str, ...]]:
    lines = read_rows(RESULTS / "fuzz.csv")
    if not lines:
        return []
    count = {name: sum(int(line[name]) for line in lines) for name in ("problems", "wrong", "over budget")}
    failing = sum(int(line["certificate fails"]) for line in lines)
    said = f"{count['problems']:,}: {count['wrong']} wrong, {count['over budget']} over, {failing} certificates fail"
    good = count["problems"] >= 100_000 and not count["wrong"] + count["over budget"] + failing
    return [_row("random problems", ">= 100,000: nothing wrong or over budget, all certificates hold", said, good)]
