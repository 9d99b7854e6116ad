"""One process of the sensitivity benchmark: what an estimator costs, holds in memory, or predicts.

The parent says in JSON on standard input what to do; each method and seed is answered by one line on standard output.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.formats.format import as_formats
from mckp_quant.network.batches import as_batches, evaluating
from mckp_quant.network.discovery import discover, uses_of
from mckp_quant.network.likelihoods import Categorical
from mckp_quant.rounding.calibration import calibrate_ranges
from mckp_quant.sensitivity import HutchinsonBlockwise, HutchPlusPlus
from mckp_quant.sensitivity.arguments import estimator_of
from mckp_quant.sensitivity.cache import layer_weights
from mckp_quant.sensitivity.columns import Menu
from mckp_quant.sensitivity.estimator import DataFreeEstimator
from mckp_quant.sensitivity.task import Task
from mckp_quant.sensitivity.totals import Totals

from ..ranks import rank_correlation
from .rivals import PRODUCTS, RIVALS, pyhessian_trace
from .studies import FAMILIES, FORMATS, equal_size_policies, policy_of, study

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from mckp_quant.sensitivity.task import LayerWeight

    from .studies import Pair

    Figures = dict[str, float]

EIGHT = "w8,w7,w6,w5,w4,w3,w2,w1"
JOINT = "w8a8,w4a8,w4a4,w2a8"
VARIANTS = {  # what the tables call it: method and formats
    "gauss_newton, 8 formats": ("gauss_newton", EIGHT),
    "gauss_newton, weights and activations": ("gauss_newton", JOINT),
}
# Timed once, on one batch.
SLOW = {"hessian_form", "hutchinson_blockwise", "hutch_plus_plus", *RIVALS}
SEEDS = (0, 1, 2)
PRODUCTS_A_TRACE = (3, 12)
PASSES = 12  # repeated passes from which the noise of one is known


class Bench:
    """A network with its data, and its rounded weights as far as they were needed.

    Parameters
    ----------
    network, folder, images
        See `study`.
    rounds
        Rounds of timing.
    policies
        Policies of each family and seed.
    held_out
        What was measured on held-out inputs: what `held_out_kl` gave.
    """

    def __init__(
        self, network: str, folder: str | None, images: int, rounds: int, policies: int, held_out: Figures
    ) -> None:
        self.study = study(network, None if folder is None else Path(folder), images)
        self.rounds, self.policies, self.held_out = rounds, policies, held_out
        self._prepared: dict[str, tuple[tuple[LayerWeight, ...], Menu | None]] = {}

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self.study.model

    def prepared(self, formats: str) -> tuple[tuple[LayerWeight, ...], Menu | None]:
        """The layers with their rounding errors and, for formats of activations too, what the columns are."""
        if formats not in self._prepared:
            layers = discover(self.model, self.study.timed[0])
            columns = as_formats(formats)
            menu = Menu.of(columns)
            joint = None
            if menu.schemes:
                users = {name: use.module for name, use in uses_of(self.model, layers).items()}
                joint = menu.on(layers, users, calibrate_ranges(self.model, self.study.timed[:1], columns))
            stored = menu.weights if menu.schemes else columns
            self._prepared[formats] = layer_weights(self.model, layers, stored), joint
        return self._prepared[formats]

    def weights(self, formats: str) -> tuple[LayerWeight, ...]:
        """The layers and their rounding errors."""
        return self.prepared(formats)[0]

    def estimate(self, method: str, batches: Sequence[Pair], seed: int = 0, formats: str = FORMATS) -> Tensor:
        """``(n_layers, n_formats)``, without finding the layers and rounding their weights again."""
        weights, joint = self.prepared(formats)
        if method in RIVALS:
            return RIVALS[method](self.model, weights, batches)
        task = Task(self.model, weights, Categorical(), None, seed, joint)
        estimator = estimator_of(method)
        if isinstance(estimator, DataFreeEstimator):
            return estimator.losses(task)
        totals = Totals(task.shape)
        with evaluating(self.model), estimator.reading(task) as read:
            for batch in as_batches(batches):
                totals.add(read(batch), batch.size)
        return totals.moments.mean


def gradients(model: nn.Module, batches: Sequence[Pair]) -> None:
    """One forward and backward pass to all parameters for each batch: the unit of cost."""
    for inputs, targets in batches:
        loss = F.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
        torch.autograd.grad(loss, list(model.parameters()))


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


def cost(bench: Bench, method: str, seed: int) -> Figures:
    """Gradient evaluations of one method, timed in turns with the gradient."""
    name, formats = VARIANTS.get(method, (method, FORMATS))
    slow = name in SLOW
    batches = bench.study.timed[:1] if slow else bench.study.timed
    if method in PRODUCTS:
        task = PRODUCTS[method](bench.model, batches)
    else:
        bench.prepared(formats)
        task = functools.partial(bench.estimate, name, batches, formats=formats)
    unit = functools.partial(gradients, bench.model, batches)
    if slow:
        seconds = timed({"gradient": unit}, bench.rounds)
        began = time.process_time()
        task()
        seconds["method"] = time.process_time() - began
    else:
        seconds = timed({"gradient": unit, "method": task}, bench.rounds)
    return {
        "gradients": seconds["method"] / seconds["gradient"],
        "milliseconds a batch": 1000 * seconds["method"] / len(batches),
    }


def memory(bench: Bench, method: str, seed: int) -> Figures:
    """The most memory held beyond the model and one batch, rounding errors included, in bytes."""
    batch = bench.study.timed[0]
    small = (batch[0][:2], batch[1][:2])
    errors = 0
    task: Callable[[Sequence[Pair]], object] = functools.partial(gradients, bench.model)
    if method != "gradient":
        name, formats = VARIANTS.get(method, (method, FORMATS))
        errors = sum(weight.perturbations.nbytes for weight in bench.weights(formats))
        task = functools.partial(bench.estimate, name, formats=formats)
    task([small])  # loads the kernels
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # sets VmHWM back
    task([batch])
    return {"peak": _resident("VmHWM") - before + errors, "errors": errors}


def _resident(entry: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(entry + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {entry}")


def held_out_kl(bench: Bench, method: str, seed: int) -> Figures:
    """The KL of every layer and format, and of every policy, on the inputs to judge on."""
    table = mq.measure(bench.model, bench.study.judges, formats=FORMATS, method="measured_kl")
    found = {f"cell {row} {column}": float(value) for (row, column), value in np.ndenumerate(table.loss)}
    evaluator = Evaluator(bench.model, bench.study.judges)
    for family in FAMILIES:
        for drawn in SEEDS:
            for number, picks in enumerate(equal_size_policies(table, family, drawn, bench.policies)):
                found[f"policy {family} {drawn} {number}"] = evaluator.evaluate(policy_of(table, picks)).kl
    return found


def accuracy(bench: Bench, method: str, seed: int) -> Figures:
    """Rank correlations of predictions with what was measured on other inputs."""
    weights = bench.weights(FORMATS)
    layers, formats = tuple(weight.layer for weight in weights), as_formats(FORMATS)
    loss = bench.estimate(method, bench.study.drawn(seed), seed).numpy()
    table = mq.SensitivityTable(layers=layers, formats=formats, loss=loss, stderr=0 * loss, unit="nats per sample")
    measured = np.zeros(loss.shape)
    for row, column in np.ndindex(*measured.shape):
        measured[row, column] = bench.held_out[f"cell {row} {column}"]
    found = {}
    for column, name in enumerate(table.format_names):
        found[f"within {name}"] = rank_correlation(loss[:, column], measured[:, column])
        found[f"ratio {name}"] = float(np.median(loss[:, column] / measured[:, column]))
    for family in FAMILIES:
        policies = equal_size_policies(table, family, seed, bench.policies)
        predicted = np.array([loss[np.arange(len(loss)), picks].sum() for picks in policies])
        kl = np.array([bench.held_out[f"policy {family} {seed} {number}"] for number in range(len(policies))])
        found[f"policies {family}"] = rank_correlation(predicted, kl)
    return found


def trace(bench: Bench, method: str, seed: int) -> Figures:
    """A run of PyHessian on the whole network, or passes of `gauss_newton` over the same inputs.

    The inputs are fixed, so that standard errors, all relative, are those of probes alone: for PyHessian that of the
    network's trace, for one pass of `gauss_newton` the median over layers and formats, and that of the sum of all.
    """
    data = bench.study.traced
    torch.manual_seed(seed)
    began = time.process_time()
    if method == "pyhessian":
        draws = pyhessian_trace(bench.model, data, None, 100, 1e-3)
        seconds = time.process_time() - began
        error = statistics.stdev(draws) / math.sqrt(len(draws)) / abs(statistics.fmean(draws))
        return {"seconds": seconds, "draws": len(draws), "error": error}
    bench.prepared(FORMATS)
    began = time.process_time()
    passes = torch.stack([bench.estimate(method, [data], number) for number in range(PASSES)])
    seconds = (time.process_time() - began) / PASSES
    spread, total = passes.std(dim=0) / passes.mean(dim=0), passes.sum(dim=(1, 2))
    return {"seconds": seconds, "error": float(spread.median()), "total error": float(total.std() / total.mean())}


def spread(bench: Bench, method: str, seed: int) -> Figures:
    """Relative standard deviation of a layer's trace with equal numbers of Hessian-vector products."""
    data = tuple(each[: len(each) // 4] for each in bench.study.traced)
    weights = tuple(each for each in bench.weights("w2") if each.layer.name == bench.study.layer)
    found = {}
    for products in PRODUCTS_A_TRACE:
        probes = products // 3 if method == "hutch_plus_plus" else products
        estimator = HutchPlusPlus(probes) if method == "hutch_plus_plus" else HutchinsonBlockwise(probes)
        draws = []
        for number in range(PASSES):
            task = Task(bench.model, weights, Categorical(), None, number)
            with evaluating(bench.model), estimator.reading(task) as read:
                draws += [float(read(batch).sums[0]) for batch in as_batches([data])]
        found[f"spread {products}"] = statistics.stdev(draws) / abs(statistics.fmean(draws))
    return found


PARTS = {"cost": cost, "memory": memory, "truth": held_out_kl, "accuracy": accuracy, "trace": trace, "spread": spread}


def main(document: str) -> None:
    """Do what the parent asks for: one line for each method and seed."""
    torch.set_num_threads(1)
    given = json.loads(document)
    part, jobs = PARTS[given.pop("part")], given.pop("jobs")
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # PyHessian prints
        bench = Bench(**given)
        for method, seed in jobs:
            began = time.process_time()
            figures = part(bench, method, seed)
            line = {"method": method, "seed": seed, "figures": figures, "cpu": time.process_time() - began}
            print(json.dumps(line), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.stdin.read())
