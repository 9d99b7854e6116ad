"""How good predictions are: predicted against held-out KL, and tables whose deciding cells were measured.

    python -m benchmarks.policies.predictions run [--data FOLDER] [--network NAME,NAME] [--averages 2.5,3,3.5,4,5]
        [--seeds 0,1,2] [--rounders nearest,gptq] [--csv FILE]
    python -m benchmarks.policies.predictions page [--csv FILE] [--page docs/predictions.md]

FOLDER after --data is that of `benchmarks.policies.networks`; without it the demo network runs, and one with depthwise
convolutions that is trained first. A seed splits the inputs of a network into those that calibrate and those that
judge, as in `benchmarks.policies.rounding`, and is used both ways, because an easy half would make all predictions from
it look too low. At each average number of bits the exact policies of three tables are run on the inputs held out:
`gauss_newton`; the same with its deciding cells measured (`confirm_table`); and `measured_kl`. Weights of GPTQ are
rounded on every other batch, and the tables are measured on those between.

`run` adds to the CSV what is not there yet, and `page` writes the tables.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from fractions import Fraction
from typing import TYPE_CHECKING

import torch

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.evaluation.verdict import judge

from ..command_line import Command, require_file, say
from ..environment import environment
from ..pages import DOCS, RESULTS, append_rows, fill, read_rows, table
from .networks import FORMATS, budget_bytes
from .rounding import SPLITS, Split, asked_for, split

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

FIELDS = (
    *("network", "seed", "turned", "average", "rounder", "table", "weight_bytes", "predicted", "predicted_stderr"),
    *("corrected", "corrected_stderr", "kl", "kl_stderr", "holds", "over_gauss_newton", "over_gauss_newton_stderr"),
    *("over_measured_kl", "over_measured_kl_stderr", "replaced", "seconds", "gauss_newton_seconds", "formats"),
    *("date", "commit", "versions", "processor"),
)
TABLES = ("gauss_newton", "measured_kl", "confirmed")
FACTOR = 1.5  # of the verdict, as `validate` has it


def judged(
    case: Split, seed: int, turned: bool, rounder: str, averages: Sequence[Fraction]
) -> Iterator[list[dict[str, object]]]:
    """The lines of one split and rounder, three for each average number of bits; turned, its halves change places."""
    seen, judging_on = case.calibration, [inputs for inputs, _ in case.held_out]
    if turned:
        seen, judging_on = judging_on, seen
    bank = None
    if rounder != "nearest":
        bank = mq.round_weights(case.model, seen[::2], FORMATS, rounder=rounder)
        seen = seen[1::2]
    began = time.process_time()
    estimate = mq.measure(case.model, seen, formats=FORMATS, bank=bank)
    estimated = time.process_time()
    measured = mq.measure(case.model, seen, formats=FORMATS, bank=bank, method="measured_kl")
    seconds = {"gauss_newton": estimated - began, "measured_kl": time.process_time() - estimated}
    judging = Evaluator(case.model, judging_on, bank=bank)
    where = environment(("torch", "numpy"))
    for average in averages:
        budget = {"weight_bytes": budget_bytes(estimate.layers, average)}
        found = {
            "gauss_newton": mq.allocate(estimate, budget).policy,
            "measured_kl": mq.allocate(measured, budget).policy,
        }
        began = time.process_time()
        confirmation = mq.confirm_table(case.model, estimate, budget, seen, bank=bank)
        seconds["confirmed"] = time.process_time() - began
        found["confirmed"] = confirmation.policy
        runs = {name: judging.evaluate(policy) for name, policy in found.items()}
        lines: list[dict[str, object]] = []
        for name, policy in found.items():
            own = runs[name]
            over = {
                f"over_{other}{end}": figure
                for other in ("gauss_newton", "measured_kl")
                for end, figure in zip(("", "_stderr"), own.kl_difference(runs[other]), strict=True)
            }
            _, holds, _ = judge(policy, own, judging, FACTOR)
            say(f"{case.name} {seed} {rounder} {float(average):g} {name}: {policy.corrected:.4g}, {own.kl:.4g}")
            lines.append(
                {
                    **{"network": case.name, "seed": seed, "turned": int(turned), "average": f"{float(average):g}"},
                    **{
                        "rounder": rounder,
                        "table": name,
                        "weight_bytes": policy.costs["weight_bytes"],
                        "predicted": policy.predicted,
                    },
                    **{"predicted_stderr": policy.predicted_stderr, "corrected": policy.corrected},
                    **{"corrected_stderr": policy.corrected_stderr, "kl": own.kl, "kl_stderr": own.kl_stderr},
                    **{"holds": holds, **over, "replaced": len(confirmation.replaced) if name == "confirmed" else ""},
                    **{"seconds": round(seconds[name], 2), "gauss_newton_seconds": round(seconds["gauss_newton"], 2)},
                    **{"formats": " ".join(entry.name for entry in policy.formats), **where},
                }
            )
        yield lines


def _near(row: Mapping[str, str], kind: str) -> bool:
    """Whether a prediction is within 25 % of what was measured, or within two standard errors of both."""
    predicted, kl = float(row[kind]), float(row["kl"])
    error = math.hypot(float(row["kl_stderr"]), float(row[f"{kind}_stderr"]))
    return abs(kl / predicted - 1) <= 0.25 or abs(kl - predicted) <= 2 * error


def _log(row: Mapping[str, str], kind: str) -> float:
    return math.log(float(row["kl"]) / float(row[kind]))


def page(rows: Sequence[Mapping[str, str]]) -> str:
    """How near predictions come, what the verdict says of them, and how the confirmed tables compare."""
    kinds: list[tuple[str, str, Callable[[Mapping[str, str]], bool]]] = [
        ("by the table", "predicted", lambda row: row["table"] == "gauss_newton"),
        ("corrected", "corrected", lambda row: row["table"] == "gauss_newton"),
        ("measured_kl, corrected", "corrected", lambda row: row["table"] == "measured_kl"),
        ("confirmed", "corrected", lambda row: row["table"] == "confirmed"),
    ]
    groups = sorted({(row["network"], row["rounder"]) for row in rows})
    near, against = [], []
    for network, rounder in groups:
        own = [row for row in rows if (row["network"], row["rounder"]) == (network, rounder)]
        for words, kind, chosen in kinds:
            some = [row for row in own if chosen(row)]
            logs = [_log(row, kind) for row in some]
            cells = (
                network,
                rounder,
                words,
                str(len(some)),
                f"{sum(_near(row, kind) for row in some) / len(some):.0%}",
            )
            near.append((*cells, f"{statistics.mean(logs):+.2f}", f"{statistics.pstdev(logs):.2f}"))
        confirmed = [row for row in own if row["table"] == "confirmed"]
        for other in ("gauss_newton", "measured_kl"):
            beyond = [
                float(row[f"over_{other}"]) / (float(row[f"over_{other}_stderr"]) or math.inf) for row in confirmed
            ]
            kls = sum(float(row["kl"]) for row in confirmed)
            rivals = sum(float(row["kl"]) - float(row[f"over_{other}"]) for row in confirmed)
            worse = [str(sum(each > errors for each in beyond)) for errors in (2, 3)]
            cost = statistics.median(float(row["seconds"]) / float(row["gauss_newton_seconds"]) for row in confirmed)
            count = statistics.median(int(row["replaced"]) for row in confirmed)
            beside = [str(len(confirmed)), f"{kls / rivals:.3f}", *worse, f"{count:g}", f"{cost:.2f}x"]
            against.append((network, rounder, other, *beside))
    held = [row for row in rows if row["holds"] == "True"]
    wrong = 0
    for row in held:
        ratio = float(row["kl"]) / float(row["corrected"])
        error = math.hypot(float(row["kl_stderr"]), ratio * float(row["corrected_stderr"])) / float(row["corrected"])
        wrong += ratio - error > FACTOR or ratio + error < 1 / FACTOR
    verdicts = {word: sum((row["holds"] or "None") == str(word) for row in rows) for word in (True, False, None)}
    made = sorted({(row["date"], row["commit"], row["versions"]) for row in rows})
    return "\n".join(
        [
            "    python -m benchmarks.policies.predictions run --data FOLDER",
            "    python -m benchmarks.policies.predictions page",
            "",
            *(f"{date}, commit {commit}, {versions}." for date, commit, versions in made),
            "",
            "Predicted against held-out KL: the share within 25 % or two combined errors, and the logarithm of",
            "measured over predicted, its mean and its spread.",
            "",
            table(("network", "rounder", "prediction", "cases", "near", "mean log", "spread"), near),
            "",
            f"Of {len(rows)} verdicts {verdicts[True]} are that the prediction holds, {verdicts[False]} that it fails, "
            f"{verdicts[None]} that too little is known; {wrong} of those that hold are outside 0.67 .. 1.5 by more "
            "than their error.",
            "",
            "Held-out KL of the confirmed table's policy, against the other tables' at the same bytes: all KL",
            "together, the cases in which it is worse by more than two and three paired errors, cells measured, and",
            "what confirming took beside measuring the `gauss_newton` table.",
            "",
            table(
                ("network", "rounder", "against", "cases", "KL", "> 2 errors", "> 3 errors", "cells", "cost"), against
            ),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, or write the page; 0."""
    command = Command(__doc__, ("run", "page"))
    command.folder("--data", help="the networks and their data")
    command.several("--network", str, None, f"some of {', '.join(SPLITS)}", "NAME,NAME")
    command.several("--averages", Fraction, "2.5,3,3.5,4,5", "bits a weight")
    command.several("--seeds", int, "0,1,2")
    command.several("--rounders", str, "nearest,gptq", "what rounds the weights", "NAME,NAME")
    command.file("--csv", RESULTS / "predictions.csv", "the results")
    command.file("--page", DOCS / "predictions.md", "the page to fill")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if options.action == "page":
        require_file("--csv", options.csv, "benchmarks.policies.predictions run")
        fill(options.page, {"predictions": page(read_rows(options.csv))})
        return 0
    torch.set_num_threads(1)
    for name in asked_for(options.network, options.data):
        for seed in options.seeds:
            case = split(name, options.data, seed)
            for rounder, turned in itertools.product(options.rounders, (False, True)):
                known = {
                    row["average"]
                    for row in read_rows(options.csv)
                    if tuple(row[each] for each in FIELDS[:3]) == (name, str(seed), str(int(turned)))
                    and row["rounder"] == rounder
                }
                left = [each for each in options.averages if f"{float(each):g}" not in known]
                for lines in judged(case, seed, turned, rounder, left) if left else ():
                    append_rows(options.csv, FIELDS, lines)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
