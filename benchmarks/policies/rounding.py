"""What rounding is worth, and what allocation adds to it: held-out KL at equal bytes.

    python -m benchmarks.policies.rounding run [--data FOLDER] [--network NAME,NAME] [--averages 2.5,3,4]
        [--seeds 0,1,2] [--menus channel,auto,inputs] [--refine N] [--csv FILE]
    python -m benchmarks.policies.rounding page [--csv FILE] [--page docs/rounding.md]

FOLDER after --data is that of `benchmarks.policies.networks`; without it the demo network runs, and a network with
depthwise convolutions that is trained first (`benchmarks.trained.depthwise`). A seed splits the
inputs of a network into those that calibrate and those that judge. For each average number of bits it compares, at the
bytes of uniform formats of that width: round-to-nearest and GPTQ weights; the best uniform format of the menu that
takes no more bytes (the best on the calibration inputs), squared weight error with greedy, and the exact solver on the
table of the rounder; per-channel formats and the menu of bits, groups and zero points. GPTQ's uniform formats and the
exact policies also with `finish`. The menu "inputs" stores inputs in 8 bits too, at the BOPs of uniform formats. With
--refine the exact policy is refined as well, with that many evaluations.

`run` adds to the CSV what is not there yet, and `page` writes the tables of the page, and the rows of the rival,
uniform with the same rounder, in docs/results.md and docs/truth.md.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch

import mckp_quant as mq
from mckp_quant import demo
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.tuning import finish

from ..command_line import Command, WrongInput, require_file, say
from ..environment import environment
from ..pages import DOCS, RESULTS, append_rows, read_rows
from ..trained import depthwise
from .networks import FILES, FORMATS, budget_bytes, load_networks, require_data
from .rounding_page import EXACT, GREEDY, REFINED, UNIFORM, write_pages

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from mckp_quant.evaluation.figures import Evaluation

FIELDS = (
    *("network", "seed", "average", "menu", "rounder", "policy", "finished", "weight_bytes", "predicted"),
    *("predicted_stderr", "kl", "kl_stderr", "over_uniform", "over_uniform_stderr", "formats"),
    *("bank_seconds", "table_seconds", "finish_seconds", "date", "commit", "versions", "processor"),
)
MENU = ",".join(
    f"w{bits}{group}{zero}" for bits in (2, 3, 4, 5, 6, 8) for group in ("", "g32", "g64") for zero in ("", "z")
)
MENUS = {"channel": FORMATS, "auto": MENU, "inputs": ",".join(f"{each}a8" for each in FORMATS.split(","))}
ROUNDERS = {"channel": ("nearest", "gptq"), "auto": ("gptq",), "inputs": ("nearest", "gptq")}
SPLITS = {  # how many inputs calibrate, how many judge, and how many make a batch
    "resnet20": (512, 505, 64),
    "chargpt": (256, 384, 32),
    "demo": (400, 400, 50),
    "depthwise": (400, 400, 50),
}


@dataclass(frozen=True, eq=False)
class Split:
    """A network, and the inputs that calibrate and judge in one split."""

    name: str
    model: nn.Module
    calibration: list[Tensor]
    held_out: list[tuple[Tensor, Tensor]]
    targets: Sequence[Tensor] = ()  # of the calibration inputs


def split(name: str, data: Path | None, seed: int) -> Split:
    """Load a network and split its inputs; seed 0 takes them in their order."""
    if name in {"demo", "depthwise"}:
        model = demo.model() if name == "demo" else depthwise.trained()
        parts = [*zip(*demo.calibration(), strict=True)], [*zip(*demo.held_out(), strict=True)]
        inputs, targets = (torch.cat([*parts[0][at], *parts[1][at]]) for at in (0, 1))
    else:
        assert data is not None
        networks = load_networks(data)
        model = networks.resnet20(data) if name == "resnet20" else networks.chargpt(data)
        inputs, targets = (
            networks.cifar10(data, "test") if name == "resnet20" else networks.shakespeare(data, "validation")
        )
    calibrate, judge, size = SPLITS[name]
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed)) if seed else slice(None)
    inputs, targets = inputs[order], targets[order]
    held = zip(inputs[-judge:].split(size), targets[-judge:].split(size), strict=True)
    return Split(name, model, list(inputs[:calibrate].split(size)), list(held), list(targets[:calibrate].split(size)))


def asked_for(names: Sequence[str] | None, data: Path | None) -> list[str]:
    """The networks that were asked for, by default all that there are files for; raises WrongInput."""
    chosen = list(names or (SPLITS if data is not None else ("demo", "depthwise")))
    if unknown := [name for name in chosen if name not in SPLITS]:
        raise WrongInput(f"--network {unknown[0]} is unknown: give some of {', '.join(SPLITS)}")
    require_data(data, (file for name in chosen for file in FILES.get(name, ())))
    return chosen


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of one rounder in one menu, and the tables made from them."""

    menu: str
    rounder: str
    bank: mq.WeightBank
    table: mq.SensitivityTable
    errors: mq.SensitivityTable | None
    bank_seconds: float
    table_seconds: float


def weights(case: Split, menu: str, rounder: str) -> Weights:
    """Round the weights and measure the tables."""
    began = time.process_time()
    bank = mq.round_weights(case.model, case.calibration, MENUS[menu], rounder=rounder)
    rounded = time.process_time()
    table = mq.measure(case.model, case.calibration, formats=MENUS[menu], bank=bank)
    measured = time.process_time()
    errors = None  # the error of weights says nothing of inputs
    if menu != "inputs":
        errors = mq.measure(case.model, case.calibration, formats=MENUS[menu], bank=bank, method="weight_mse")
    return Weights(menu, rounder, bank, table, errors, rounded - began, measured - rounded)


def policies(
    case: Split, own: Weights, average: Fraction, seen: Evaluator, refine: int
) -> Iterator[tuple[str, mq.Policy]]:
    """The policies that are compared at one size; `seen` judges uniform formats on the calibration inputs."""
    budget = {"weight_bytes": budget_bytes(own.table.layers, average)}
    if own.menu == "inputs":
        budget = {"bops": mq.Policy.uniform(own.table, f"w{average}a8").costs["bops"]}
    best: tuple[float, mq.Policy] | None = None
    for entry in own.bank.formats:
        uniform = mq.Policy.uniform(own.table, entry)
        if all(uniform.costs[name] <= limit for name, limit in budget.items()):
            kl = seen.evaluate_model(mq.apply(case.model, uniform, bank=own.bank)).kl
            best = (kl, uniform) if best is None or kl < best[0] else best
    if best is not None:
        yield UNIFORM, best[1]
    if own.errors is not None:
        greedy = mq.allocate(own.errors, budget, solver="greedy").policy
        yield GREEDY, mq.Policy.on_table(own.table, greedy.formats)
    exact = mq.allocate(own.table, budget, solver="exact")
    yield EXACT, exact.policy
    if refine and own.rounder != "nearest":
        found = mq.refine(case.model, own.table, exact, case.calibration, bank=own.bank, evaluations=refine)
        say(f"refined in {found.evaluations:.0f} evaluations: {found.verdict}")
        yield REFINED, found.policy


def judged(
    case: Split, averages: Sequence[Fraction], seed: int, menus: Sequence[str], refine: int, known: set[tuple[str, ...]]
) -> Iterator[dict[str, object]]:
    """The lines of one split that are not known yet."""
    judge, seen = Evaluator(case.model, case.held_out), Evaluator(case.model, case.calibration)
    where = environment(("torch", "numpy"))
    for menu, rounder in [(each, rounder) for each in menus for rounder in ROUNDERS[each]]:
        last = REFINED if refine and rounder != "nearest" else EXACT
        left = [
            each for each in averages if (case.name, str(seed), f"{float(each):g}", menu, rounder, last) not in known
        ]
        if not left:
            continue
        own = weights(case, menu, rounder)
        for average in left:
            rivals: dict[bool, Evaluation] = {}
            for name, policy in policies(case, own, average, seen, refine):
                for finished in (False, True) if rounder != "nearest" and name != GREEDY else (False,):
                    began = time.process_time()
                    if finished:
                        model = finish(case.model, policy, case.calibration, bank=own.bank).model
                    else:
                        model = mq.apply(case.model, policy, bank=own.bank)
                    seconds = time.process_time() - began
                    found = judge.evaluate_model(model)
                    if name == UNIFORM:
                        rivals[finished] = found
                    over, error = found.kl_difference(rivals[finished]) if finished in rivals else ("", "")
                    say(f"{case.name} {seed} {float(average):g} {menu} {rounder} {name} {finished}: {found.kl:.5f}")
                    if (case.name, str(seed), f"{float(average):g}", menu, rounder, name) in known:
                        continue
                    yield {
                        **{"network": case.name, "seed": seed, "average": f"{float(average):g}", "menu": menu},
                        **{"rounder": rounder, "policy": name, "finished": int(finished)},
                        **{"weight_bytes": policy.costs["weight_bytes"], "predicted": policy.predicted},
                        **{"predicted_stderr": policy.predicted_stderr, "kl": found.kl, "kl_stderr": found.kl_stderr},
                        **{"over_uniform": over, "over_uniform_stderr": error},
                        "formats": " ".join(entry.name for entry in policy.formats),
                        **{"bank_seconds": round(own.bank_seconds, 1), "table_seconds": round(own.table_seconds, 1)},
                        **{"finish_seconds": round(seconds, 1) if finished else "", **where},
                    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, or write the page; 0."""
    command = Command(__doc__, ("run", "page"))
    command.folder("--data", help="the networks and their data")
    command.several("--network", str, None, f"some of {', '.join(SPLITS)}", "NAME,NAME")
    command.several("--averages", Fraction, "2.5,3,4", "bits a weight")
    command.several("--seeds", int, "0,1,2")
    command.several("--menus", str, "channel,auto", f"some of {', '.join(MENUS)}", "NAME,NAME")
    command.whole("--refine", 0, "evaluations of `refine`; 0 leaves it out", at_least=0)
    command.file("--csv", RESULTS / "rounding.csv", "the results")
    command.file("--page", DOCS / "rounding.md", "the page to fill")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if options.action == "page":
        require_file("--csv", options.csv, "benchmarks.policies.rounding run")
        write_pages(read_rows(options.csv), options.page)
        return 0
    torch.set_num_threads(1)
    names = asked_for(options.network, options.data)
    if unknown := [name for name in options.menus if name not in MENUS]:
        raise WrongInput(f"--menus {unknown[0]} is unknown: give some of {', '.join(MENUS)}")
    for name in names:
        for seed in options.seeds:
            known = {
                tuple(row[key] for key in ("network", "seed", "average", "menu", "rounder", "policy"))
                for row in read_rows(options.csv)
            }
            # Lines of one menu and size are written together, so that a killed run leaves none of them half done.
            gathered: defaultdict[tuple[object, ...], list[dict[str, object]]] = defaultdict(list)
            for row in judged(
                split(name, options.data, seed), options.averages, seed, options.menus, options.refine, known
            ):
                key = row["average"], row["menu"], row["rounder"]
                for done in [other for other in gathered if other != key]:
                    append_rows(options.csv, FIELDS, gathered.pop(done))
                gathered[key].append(row)
            for left in gathered.values():
                append_rows(options.csv, FIELDS, left)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
