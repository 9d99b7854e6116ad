"""Every method on the same network, formats, budget, data and evaluations: what it chose, and what held-out data say.

    python -m benchmarks.policies.methods plan [--data FOLDER]
    python -m benchmarks.policies.methods run --data FOLDER [--study TEXT] [--method TEXT] [--seeds N] [--evaluations N]
    python -m benchmarks.policies.methods page [--page docs/methods.md]

FOLDER is that of `benchmarks.policies.networks`. `run` prints what it is going to cost, adds a line for each policy to
benchmarks/results/methods.csv, and goes on where it was stopped; searches keep what they measured beside that file.
Calibration and held-out data are disjoint, and so are the data for fine-tuning; seed s calibrates on samples of its
own. Every policy is judged as it is, after calibration on 50 of its calibration samples, and (seed 0) after a short
fine-tuning on training data. In the studies by GPTQ all methods, uniform too, have the weights of one bank, made on the
calibration samples, and are judged after `finish` in place of calibration. Held-out data play no part in any choice.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.search import METHODS, SEARCHES, run_method
from mckp_quant.solvers import NoSolution
from mckp_quant.tuning import finetune, finish, match_features

from ..command_line import Command, say
from ..environment import environment
from ..pages import DOCS, RESULTS, append_rows, read_rows
from . import networks
from .methods_page import write_page

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from mckp_quant.evaluation.figures import Evaluation

NEAREST, GPTQ = "nearest", "gptq"
SEEDS, EVALUATIONS = 3, 100
CALIBRATED_ON, TUNED_STEPS, TUNED_RATE = 50, 30, 5e-4
PACKAGES = ("torch", "numpy", "ortools")
FIELDS = (
    *("study", "budget", "method", "seed", "evaluations", "seconds", "status", "weight_bytes", "bops", "predicted"),
    *("kl", "kl_stderr", "accuracy", "calibrated_kl", "calibrated_accuracy", "tuned_kl", "tuned_accuracy"),
    *("formats", "history", "date", "commit", "versions", "processor"),
)

Pairs = list[tuple["Tensor", "Tensor"]]


@dataclasses.dataclass(frozen=True)
class Study:
    """A network with its formats and budgets.

    Attributes
    ----------
    name
        The heading of its tables.
    network
        Its key in `benchmarks.policies.networks.FILES`.
    formats
        The formats to choose from.
    budgets
        By title: what to ask of `allocate`, given the layers.
    rounder
        The rounder of all weights.
    """

    name: str
    network: str
    formats: str
    budgets: dict[str, Callable[[Sequence[mq.Layer]], dict[str, Any]]]
    rounder: str = NEAREST


@dataclasses.dataclass(frozen=True)
class Data:
    """A network, and disjoint parts of its data."""

    model: nn.Module
    calibration: Callable[[int], Pairs]
    held_out: Pairs
    training: Pairs


def bits(average: str) -> Callable[[Sequence[mq.Layer]], dict[str, Any]]:
    return lambda layers: {"weight_bytes": networks.budget_bytes(layers, Fraction(average))}


def as_uniform(name: str) -> Callable[[Sequence[mq.Layer]], dict[str, Any]]:
    def budgets(layers: Sequence[mq.Layer]) -> dict[str, Any]:
        costs = mq.Policy.uniform(layers, name).costs
        return {"weight_bytes": costs["weight_bytes"], "bops": costs["bops"]}

    return budgets


WEIGHTS = {"3 bits": bits("3"), "4 bits": bits("4")}
JOINT = ",".join(f"w{weights}a{inputs}" for weights in (2, 3, 4, 6, 8) for inputs in (4, 6, 8))
STUDIES = (
    Study("ResNet-20, weights", "resnet20", networks.FORMATS, WEIGHTS),
    Study("character transformer, weights", "chargpt", networks.FORMATS, WEIGHTS),
    Study("ResNet-20, weights and activations", "resnet20", JOINT, {"as uniform w4a6": as_uniform("w4a6")}),
    Study("ResNet-20, weights by GPTQ", "resnet20", networks.FORMATS, WEIGHTS, GPTQ),
    Study("character transformer, weights by GPTQ", "chargpt", networks.FORMATS, WEIGHTS, GPTQ),
)


def resnet20(module: Any, folder: Path) -> Data:
    images, labels = module.cifar10(folder, "test")
    train_images, train_labels = module.cifar10(folder, "train")
    return Data(
        module.resnet20(folder),
        lambda seed: pairs(images, labels, slice(128 * seed, 128 * (seed + 1)), 32),
        pairs(images, labels, slice(512, 1017), 101),
        pairs(train_images, train_labels, slice(0, 2048), 64),
    )


def chargpt(module: Any, folder: Path) -> Data:
    inputs, targets = module.shakespeare(folder, "validation")
    train_inputs, train_targets = module.shakespeare(folder, "train")
    return Data(
        module.chargpt(folder),
        lambda seed: pairs(inputs, targets, slice(128 * seed, 128 * (seed + 1)), 16),
        pairs(inputs, targets, slice(len(inputs) - 256, len(inputs)), 32),
        pairs(train_inputs, train_targets, slice(0, 512), 16),
    )


MAKERS = {"resnet20": resnet20, "chargpt": chargpt}


def pairs(inputs: Tensor, targets: Tensor, part: slice, size: int) -> Pairs:
    return list(zip(inputs[part].split(size), targets[part].split(size), strict=True))


class Work:
    """One study with one seed: the network, its data, and the tables that its methods share."""

    def __init__(self, study: Study, folder: Path, seed: int, evaluations: int, checkpoints: Path) -> None:
        self._study, self._seed, self._evaluations, self._checkpoints = study, seed, evaluations, checkpoints
        self._data = MAKERS[study.network](networks.load_networks(folder), folder)
        self._calibration = self._data.calibration(seed)
        self._judge = Evaluator(self._data.model, self._data.held_out)
        run = mq.RunOptions(seed=seed)
        self._bank = None
        if study.rounder != NEAREST:
            self._bank = mq.round_weights(self._data.model, self._calibration, study.formats, rounder=study.rounder)
        self._table = mq.measure(self._data.model, self._calibration, formats=study.formats, bank=self._bank, run=run)
        self._tables: dict[str, mq.SensitivityTable] = {}

    def line(self, title: str, method: str) -> dict[str, object]:
        """Run one method and judge its policy."""
        row: dict[str, object] = {"study": self._study.name, "budget": title, "method": method, "seed": self._seed}
        row |= environment(PACKAGES)
        budgets = self._study.budgets[title](self._table.layers)
        rounder = "" if self._bank is None else f"-{self._study.rounder}"
        name = f"{self._study.network}{rounder}-{len(self._table.formats)}-{title}-{method}-{self._seed}.json"
        try:
            found = run_method(
                method,
                self._data.model,
                self._table,
                budgets,
                self._calibration,
                evaluations=self._evaluations,
                tables=self._tables,
                bank=self._bank,
                run=mq.RunOptions(
                    seed=self._seed, checkpoint=self._checkpoints / name.replace(" ", "-").replace(",", "")
                ),
            )
        except (mq.InvalidInput, NoSolution) as error:
            return {**row, "status": f"not possible: {error}"}
        row |= {"evaluations": found.evaluations, "seconds": round(found.seconds, 2), "status": found.status}
        if found.policy is None:
            return row
        policy = found.policy
        quantised = mq.apply(self._data.model, policy, bank=self._bank)
        row |= {
            "weight_bytes": policy.costs["weight_bytes"],
            "bops": policy.costs["bops"],
            "predicted": policy.predicted,
            "formats": " ".join(entry.name for entry in policy.formats),
            "history": json.dumps(found.history),
            **judged("", self._judge.evaluate_model(quantised)),
        }
        if self._bank is not None:
            finished = finish(self._data.model, policy, self._calibration, bank=self._bank)
            return row | judged("calibrated_", self._judge.evaluate_model(finished.model))
        matched = match_features(quantised, self._data.model, [self._few()])
        row |= judged("calibrated_", self._judge.evaluate_model(matched.model))
        if self._seed == 0:
            tuned = finetune(self._data.model, policy, self._data.training, steps=TUNED_STEPS, rate=TUNED_RATE)
            row |= judged("tuned_", self._judge.evaluate_model(tuned.quantized))
        return row

    def _few(self) -> Tensor:
        return torch.cat([inputs for inputs, _ in self._calibration])[:CALIBRATED_ON]

    def seconds_an_evaluation(self) -> float:
        """Wall time of one pass of a quantised network over the calibration data."""
        evaluator = Evaluator(self._data.model, self._calibration, bank=self._bank)
        policy = mq.Policy.uniform(self._table, self._table.format_names[0])
        evaluator.evaluate(policy)
        began = time.perf_counter()
        evaluator.evaluate(policy)
        return time.perf_counter() - began


def judged(prefix: str, found: Evaluation) -> dict[str, object]:
    row: dict[str, object] = {f"{prefix}kl": found.kl, f"{prefix}accuracy": found.accuracy}
    return row if prefix else {**row, "kl_stderr": found.kl_stderr}


def plan(options: argparse.Namespace) -> list[tuple[Study, int, str, str]]:
    """What the results file does not hold yet: study, seed, budget, method."""
    done = {(row["study"], row["seed"], row["budget"], row["method"]) for row in read_rows(options.csv)}
    return [
        (study, seed, title, method)
        for study in STUDIES
        if options.study in study.name
        for seed in range(options.seeds)
        for title in study.budgets
        for method in METHODS
        if options.method in method and (study.name, str(seed), title, method) not in done
    ]


def tell(work: list[tuple[Study, int, str, str]], options: argparse.Namespace) -> None:
    searches = sum(method in SEARCHES for *_, method in work)
    say(f"{len(work)} policies to choose, {searches} of them by a search of up to {options.evaluations} evaluations")
    if options.data is None or not work:
        return
    for network in dict.fromkeys(study.network for study, *_ in work):
        study = next(study for study, *_ in work if study.network == network)
        count = sum(own.network == network and method in SEARCHES for own, _, _, method in work)
        each = Work(study, options.data, 0, options.evaluations, options.csv.parent).seconds_an_evaluation()
        minutes = each * count * options.evaluations / 60
        say(f"{network}: {each:.2f} s an evaluation, about {minutes:.0f} minutes of searches")


def run(options: argparse.Namespace) -> None:
    work = plan(options)
    tell(work, options)
    checkpoints = options.csv.with_suffix("")
    current: tuple[Study, int] | None = None
    for study, seed, title, method in work:
        if current is None or current != (study, seed):
            current, maker = (study, seed), Work(study, options.data, seed, options.evaluations, checkpoints)
        row = maker.line(title, method)
        append_rows(options.csv, FIELDS, [row])
        kl = row.get("kl", math.nan)
        say(f"{study.name}, {title}, seed {seed}: {method}: held-out KL {kl:.4f}, {row['status']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what a run costs, run, or write the page; 0."""
    command = Command(__doc__, ("plan", "run", "page"))
    command.folder("--data", help="the networks and their data")
    command.text("--study", help="studies whose name contains TEXT")
    command.text("--method", help="methods whose name contains TEXT")
    command.whole("--seeds", SEEDS, "seeds of each study")
    command.whole("--evaluations", EVALUATIONS, "of each search")
    command.whole("--threads", 1, "of PyTorch")
    command.file("--csv", RESULTS / "methods.csv", "the results")
    command.file("--page", DOCS / "methods.md", "the page to fill")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    if options.action == "page":
        write_page(options.csv, options.page)
        return 0
    if options.action == "run" or options.data is not None:
        wanted = [study.network for study in STUDIES if options.study in study.name]
        networks.require_data(options.data, (file for network in wanted for file in networks.FILES[network]))
    if options.action == "plan":
        tell(plan(options), options)
    else:
        run(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
