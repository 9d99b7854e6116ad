"""The plot and tables of docs/methods.md and docs/methods_tables.md, from results of `benchmarks.policies.methods`."""

from __future__ import annotations

import importlib.util
import statistics
from typing import TYPE_CHECKING

from mckp_quant.search import METHODS

from ..command_line import WrongInput, require_file
from ..pages import fill, read_rows, table

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, str]
HEADINGS = (
    *("method", "bytes", "GBOPs", "predicted KL", "held-out KL", "worst seed", "top-1 %"),
    *("calibrated KL", "tuned KL", "evaluations", "seconds", "proved"),
)


def write_page(results: Path, page: Path) -> None:
    """Fill the parts between markers of the page and of the page of tables beside it, and draw the plot."""
    if importlib.util.find_spec("matplotlib") is None:
        raise WrongInput('the plot needs matplotlib; install it with: pip install "mckp-quant[plot]"')
    require_file("--csv", results, "benchmarks.policies.methods run")
    rows = read_rows(results)
    fill(page, {"made": made(rows)})
    fill(page.with_name(f"{page.stem}_tables.md"), {"tables": tables(rows)})
    draw(rows, page.with_name("methods.svg"))


def made(rows: list[Row]) -> str:
    stamps = dict.fromkeys(f"{row['date']}, commit {row['commit']}, {row['versions']}" for row in rows)
    return "; ".join(stamps) + "."


def tables(rows: list[Row]) -> str:
    """One table for each study and budget, methods in the order of `METHODS`."""
    text = []
    for study, budget in dict.fromkeys((row["study"], row["budget"]) for row in rows):
        own = [row for row in rows if (row["study"], row["budget"]) == (study, budget)]
        named = {name: [row for row in own if row["method"] == name] for name in METHODS}
        seeds = len({row["seed"] for row in own})
        cells = [cells_of(name, some, named["uniform"]) for name, some in named.items() if some]
        head = tuple(name.replace("calibrated", "finished") for name in HEADINGS) if "GPTQ" in study else HEADINGS
        text.append(f"**{study}, {budget}**, {seeds} {'seed' if seeds == 1 else 'seeds'}:\n\n{table(head, cells)}")
    return "\n\n".join([*text, calibration([row for row in rows if "GPTQ" not in row["study"]])])


def calibration(rows: list[Row]) -> str:
    """For how many policies calibration lowers the held-out KL, and by how much it raises the others at most."""
    both = [(float(row["kl"]), float(row["calibrated_kl"])) for row in rows if row["kl"] and row["calibrated_kl"]]
    raised = [after / before - 1 for before, after in both if after > before]
    text = f"Calibration lowers the held-out KL of {len(both) - len(raised)} of {len(both)} policies"
    return f"{text}, and raises the others by {100 * max(raised):.1f} % at most." if raised else f"{text}."


def cells_of(name: str, rows: list[Row], uniform: list[Row]) -> tuple[str, ...]:
    """Means over the seeds; a policy that is worse than the uniform one of the same size says so."""
    measured = [row for row in rows if row["kl"]]
    if not measured:
        return (name, *[""] * (len(HEADINGS) - 2), rows[0]["status"].partition(":")[0])
    kl = mean(measured, "kl")
    stderr = mean(measured, "kl_stderr")
    plain = [float(row["kl"]) for row in uniform if row["kl"]]
    behind = bool(plain) and name != "uniform" and kl >= statistics.mean(plain)
    return (
        name,
        f"{mean(measured, 'weight_bytes'):,.0f}",
        f"{mean(measured, 'bops') / 1e9:.3f}",
        f"{mean(measured, 'predicted'):.4f}",
        f"{kl:.4f} ± {stderr:.4f}" + (" (not better than uniform)" if behind else ""),
        f"{max(float(row['kl']) for row in measured):.4f}",
        f"{100 * mean(measured, 'accuracy'):.2f}",
        f"{mean(measured, 'calibrated_kl'):.4f}",
        f"{mean(tuned, 'tuned_kl'):.4f}" if (tuned := [row for row in measured if row["tuned_kl"]]) else "",
        f"{mean(measured, 'evaluations'):,.0f}",
        f"{mean(measured, 'seconds'):.1f}",
        "yes" if all(row["status"] == "proved optimal" for row in measured) else "",
    )


def mean(rows: list[Row], name: str) -> float:
    return statistics.mean(float(row[name]) for row in rows)


def draw(rows: list[Row], path: Path) -> None:
    """Held-out KL of the final policies against the evaluations they took, and how the searches came there."""
    import matplotlib  # the extra "plot"

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "methods"  # the same results draw the same file
    from matplotlib import pyplot

    studies = list(dict.fromkeys((row["study"], row["budget"]) for row in rows))
    figure, axes = pyplot.subplots(1, len(studies), figsize=(4.2 * len(studies), 4), squeeze=False)
    for axis, (study, budget) in zip(axes[0], studies, strict=True):
        axis.set(title=f"{study}\n{budget}", xlabel="passes over the calibration data", yscale="log")
        axis.set_xscale("symlog", linthresh=1)
        for name in METHODS:
            own = [row for row in rows if (row["study"], row["budget"], row["method"]) == (study, budget, name)]
            if own := [row for row in own if row["kl"]]:
                x, y = mean(own, "evaluations"), mean(own, "kl")
                axis.plot(x, y, "o", label=name)
                axis.annotate(name, (x, y), fontsize=6, xytext=(3, 3), textcoords="offset points")
    axes[0][0].set_ylabel("held-out KL, nats")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
