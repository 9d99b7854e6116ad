"""What every sensitivity estimator costs, and how well it ranks layers and policies on data it has not seen.

    python -m benchmarks.sensitivity [--data FOLDER] [--network demo|resnet20|chargpt|all] [--part cost|accuracy|all]

Without --data only the demo network runs; FOLDER is that of benchmarks/networks.py. Prints markdown tables.

Cost: CPU time of one thread for all layers in four formats, divided by that of one gradient evaluation (a forward and a
backward pass to all parameters) on the same batches, in the same process, in alternating order; medians over rounds.
Rounding the weights, done once before the batches, is left out. Estimators that take a second derivative for every
layer run once, on one batch. The three that take one backward pass read four batches, the others two of half the size.

Accuracy: Spearman's rank correlation with the KL divergence measured on held-out inputs, over layers within each
format, and over mixed policies of equal size, whose predicted loss is the sum over layers. Three seeds choose the
calibration inputs, the probes and the policies.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

import mckp_quant as mq
from benchmarks.networks import FILES, HELP, load_networks
from mckp_quant import demo
from mckp_quant.batches import as_batches, evaluating
from mckp_quant.discovery import discover
from mckp_quant.evaluation import Evaluator
from mckp_quant.formats import as_formats
from mckp_quant.sensitivity._estimator import Task
from mckp_quant.sensitivity._measure import DATA_FREE, ESTIMATORS, layer_weights
from mckp_quant.sensitivity.likelihood import Categorical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from mckp_quant.sensitivity._estimator import LayerWeight

FORMATS = "w8,w4,w3,w2"
ONE_BACKWARD = ["gauss_newton", "empirical_fisher", "first_order"]
SLOW = {"hessian_form", "hutchinson_blockwise"}
COSTED = [name for name in ESTIMATORS if name != "metric"]
JUDGED = ["gauss_newton", "measured_kl", "measured_loss", "empirical_fisher", "first_order", "hutchinson"]
JUDGED += ["weight_mse", "sqnr"]
FREE_OF_DATA = set(DATA_FREE)
SEEDS = (0, 1, 2)
POLICIES = 16
AVERAGE_BITS = 3


@dataclass(frozen=True)
class Study:
    """A network, inputs to measure on, and other inputs to judge on."""

    name: str
    model: nn.Module
    pool: tuple[Tensor, Tensor]
    held_out: list[tuple[Tensor, Tensor]]
    calibration: int  # inputs drawn from the pool for each seed
    batch: int

    def drawn(self, seed: int) -> list[tuple[Tensor, Tensor]]:
        picks = torch.randperm(len(self.pool[0]), generator=torch.Generator().manual_seed(seed))[: self.calibration]
        return batched((self.pool[0][picks], self.pool[1][picks]), self.batch)


def studies(options: argparse.Namespace) -> Iterator[Study]:
    if options.network in {"demo", "all"}:
        images, labels = (torch.cat(each) for each in zip(*demo.calibration(), strict=True))
        yield Study("demo", demo.model(), (images, labels), demo.held_out(), 256, 32)
    if options.data is None:
        return
    networks = load_networks(options.data)
    if options.network in {"resnet20", "all"}:
        images, labels = networks.cifar10(options.data, "test")
        held_out = batched((images[512:640], labels[512:640]), 32)
        pool = (images[:512], labels[:512])
        yield Study("ResNet-20", networks.resnet20(options.data), pool, held_out, 256, 32)
    if options.network in {"chargpt", "all"}:
        inputs, targets = networks.shakespeare(options.data, "validation")
        held_out = batched((inputs[-32:], targets[-32:]), 8)
        pool = (inputs[:256], targets[:256])
        yield Study("character transformer", networks.chargpt(options.data), pool, held_out, 64, 8)


def batched(data: tuple[Tensor, Tensor], size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(data[0].split(size), data[1].split(size), strict=True))


def costs(study: Study, rounds: int) -> dict[str, float]:
    """Gradient evaluations that each estimator takes."""
    whole = study.drawn(0)[:4]
    halves = [(x[: study.batch // 2], y[: study.batch // 2]) for x, y in whole[:2]]
    weights = layer_weights(study.model, discover(study.model, whole[0]), as_formats(FORMATS))
    found: dict[str, float] = {}
    for names, batches in ((ONE_BACKWARD, whole), ([name for name in COSTED if name not in ONE_BACKWARD], halves)):
        quick = {name: reading(study.model, weights, name, batches) for name in names if name not in SLOW}
        seconds = timed({"gradient": functools.partial(gradients, study.model, batches), **quick}, rounds)
        unit = seconds.pop("gradient")
        found |= {name: value / unit for name, value in seconds.items()}
        for name in SLOW.intersection(names):
            began = time.process_time()
            reading(study.model, weights, name, batches[:1])()
            found[name] = (time.process_time() - began) * len(batches) / unit
    return {name: found[name] for name in COSTED}


def gradients(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    """One forward and backward pass to all parameters for each batch: the unit of cost."""
    for inputs, targets in batches:
        loss = F.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
        torch.autograd.grad(loss, list(model.parameters()))


def reading(
    model: nn.Module, weights: tuple[LayerWeight, ...], method: str, batches: list[tuple[Tensor, Tensor]]
) -> Callable[[], None]:
    def read_all() -> None:
        task = Task(model, weights, Categorical(), None, 0, 1)
        with evaluating(model), ESTIMATORS[method](task) as read:
            for batch in as_batches(batches):
                read(batch)

    return read_all


def timed(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds; the order alternates, and a first round warms up uncounted."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name in list(tasks) if number % 2 else list(reversed(tasks)):
            began = time.process_time()
            tasks[name]()
            if number:
                seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


@dataclass(frozen=True)
class Accuracy:
    """Rank correlations with what is measured on held-out inputs, and the median of predicted over measured."""

    within: NDArray[np.float64]  # (seeds, formats)
    ratio: NDArray[np.float64]  # (seeds, formats)
    policies: NDArray[np.float64]  # (seeds,)


def accuracies(study: Study, methods: Sequence[str]) -> dict[str, Accuracy]:
    truth = mq.measure(study.model, study.held_out, formats=FORMATS, method="measured_kl")
    evaluator = Evaluator(study.model, study.held_out)
    families = [equal_size_policies(truth, seed) for seed in SEEDS]
    measured = [np.array([evaluator.evaluate(policy_of(truth, picks)).kl for picks in family]) for family in families]
    found = {}
    for method in methods:
        say(f"{study.name}: {method}")
        within: list[list[float]] = []
        ratio: list[NDArray[np.float64]] = []
        policies: list[float] = []
        for number, seed in enumerate(SEEDS):
            if seed and method in FREE_OF_DATA:
                within.append(within[0])
                ratio.append(ratio[0])
            else:
                loss = mq.measure(study.model, study.drawn(seed), formats=FORMATS, method=method, seed=seed).loss
                within.append([rank_correlation(loss[:, f], truth.loss[:, f]) for f in range(loss.shape[1])])
                ratio.append(np.median(loss / truth.loss, axis=0))
            predicted = np.array([loss[np.arange(len(loss)), picks].sum() for picks in families[number]])
            policies.append(rank_correlation(predicted, measured[number]))
        found[method] = Accuracy(np.array(within), np.array(ratio), np.array(policies))
        say(accuracy_table({method: found[method]})[-1])
    return found


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(spearmanr(one, other).statistic)


def equal_size_policies(table: mq.SensitivityTable, seed: int) -> list[NDArray[np.int64]]:
    """Random formats below 8 bits for all layers, changed at random until they take an average of `AVERAGE_BITS`."""
    generator = np.random.default_rng(seed)
    bits = np.array([entry.weight_bits for entry in table.formats])
    sizes = np.array([layer.elements for layer in table.layers])
    low = np.flatnonzero(bits < 8)
    goal = AVERAGE_BITS * sizes.sum()
    found: list[NDArray[np.int64]] = []
    while len(found) < POLICIES:
        picks = generator.choice(low, len(sizes))
        for _ in range(2000):
            excess = (bits[picks] * sizes).sum() - goal
            if abs(excess) <= 0.01 * goal:
                found.append(picks)
                break
            changed = picks.copy()
            changed[generator.integers(len(sizes))] = generator.choice(low)
            if abs((bits[changed] * sizes).sum() - goal) < abs(excess):
                picks = changed
    return found


def policy_of(table: mq.SensitivityTable, picks: NDArray[np.int64]) -> mq.Policy:
    return mq.Policy(layers=table.layer_names, formats=tuple(table.formats[f] for f in picks))


def cost_table(found: dict[str, dict[str, float]]) -> list[str]:
    rows = [["estimator", *found], ["---", *["---:"] * len(found)]]
    rows += [[f"`{method}`", *(f"{costs[method]:.2f}" for costs in found.values())] for method in COSTED]
    return ["| " + " | ".join(row) + " |" for row in rows]


def accuracy_table(found: dict[str, Accuracy]) -> list[str]:
    names = FORMATS.split(",")
    rows = [["estimator", *names, "worst", "policies", "worst", "predicted / measured at " + FORMATS]]
    rows.append(["---", *["---:"] * (len(names) + 4)])
    for method, accuracy in found.items():
        within = [f"{value:.2f}" for value in np.median(accuracy.within, axis=0)]
        policies = [f"{np.median(accuracy.policies):.2f}", f"{accuracy.policies.min():.2f}"]
        ratio = " ".join(f"{value:.2g}" for value in np.median(accuracy.ratio, axis=0))
        shown = "" if method in FREE_OF_DATA else ratio
        rows.append([f"`{method}`", *within, f"{accuracy.within.min():.2f}", *policies, shown])
    return ["| " + " | ".join(row) + " |" for row in rows]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the trained networks and their data")
    parser.add_argument("--network", choices=["demo", "resnet20", "chargpt", "all"], default="all")
    parser.add_argument("--part", choices=["cost", "accuracy", "all"], default="all")
    parser.add_argument("--methods", default=",".join(JUDGED), help="the estimators to judge")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of timing")
    options = parser.parse_args(arguments)
    wanted = [name for name in FILES if options.network in {name, "all"} and (options.data or options.network == name)]
    missing = [
        file for name in wanted for file in FILES[name] if options.data is None or not (options.data / file).is_file()
    ]
    if missing:
        say(f"{options.data or 'without --data'}: {', '.join(dict.fromkeys(missing))} missing.\n{HELP}")
        return 2
    torch.set_num_threads(1)
    print(
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, mckp-quant {mq.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}, 1 thread"
    )
    chosen = list(studies(options))
    if options.part != "accuracy":
        found = {study.name: costs(study, options.rounds) for study in chosen}
        print(f"\nGradient evaluations for all layers in {FORMATS}:\n", *cost_table(found), sep="\n")
    for study in chosen if options.part != "cost" else []:
        lines = accuracy_table(accuracies(study, options.methods.split(",")))
        print(f"\n{study.name}, measured on {study.calibration} inputs:\n", *lines, sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
