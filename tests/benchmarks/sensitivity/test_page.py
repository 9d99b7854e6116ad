from __future__ import annotations

from benchmarks.pages import DOCS
from benchmarks.sensitivity import studies
from benchmarks.sensitivity.page import parts_of


def row(part: str, network: str, method: str, name: str, value: float, seed: int = 0) -> dict[str, str]:
    place = {"part": part, "network": network, "method": method, "seed": str(seed), "name": name}
    return {"date": "", "commit": "", "versions": "", "processor": "", **place, "value": repr(value)}


def test_tables_show_medians_the_worst_and_quotients() -> None:
    rows = [row("cost", "digits", "gauss_newton", "gradients", 1.234)]
    rows += [row("memory", "digits", name, "peak", 2**20 * mib) for name, mib in (("gradient", 8), ("gauss_newton", 6))]
    for method, seconds, error in (("pyhessian", 60.0, 0.05), ("gauss_newton", 0.5, 0.09)):
        rows += [row("trace", "digits", method, "seconds", seconds), row("trace", "digits", method, "error", error)]
    rows.append(row("trace", "digits", "pyhessian", "draws", 40))
    rows.append(row("trace", "digits", "gauss_newton", "total error", 0.03))
    for seed, value in enumerate((0.5, 0.9, 0.7)):
        for name in studies.FORMATS.split(","):
            rows.append(row("accuracy", "digits", "gauss_newton", f"within {name}", value, seed))
            rows.append(row("accuracy", "digits", "gauss_newton", f"ratio {name}", 2 * value, seed))
        rows += [
            row("accuracy", "digits", "gauss_newton", f"policies {family}", value / 2, seed)
            for family in studies.FAMILIES
        ]
    found = parts_of(rows)
    assert "| `gauss_newton` | 1.23 |" in found["costs"]
    assert "| `gauss_newton` | 6.0 (0.75) |" in found["memory"]
    # The sum is known after one pass, all entries after four: (9 / 5)^2 = 3.2.
    assert "| digits | 40 | 60.0 | 5.0 % | 0.50 | 3.0 % | 9.0 % | 120 | 30 |" in found["traces"]
    within = "| `gauss_newton` | 0.70 | 0.70 | 0.70 | 0.70 | 0.50 "
    assert within + "| 0.35 | 0.35 | 0.35 | 0.25 | 1.4 1.4 1.4 1.4 |" in found["ranks"]


def test_the_page_has_a_place_for_every_table() -> None:
    page = (DOCS / "sensitivity.md").read_text(encoding="utf-8")
    for name in parts_of([]):
        assert f"<!-- {name}: begin -->" in page
        assert f"<!-- {name}: end -->" in page
