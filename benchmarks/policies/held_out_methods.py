"""The networks and the ways to choose a policy that `benchmarks.policies.held_out` compares."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

import mckp_quant as mq
from mckp_quant import demo
from mckp_quant.interactions.form import allocate_with_interactions
from mckp_quant.interactions.measuring import measure_interactions
from mckp_quant.refinement.refining import refine
from mckp_quant.search import LevelSwitch, search
from mckp_quant.sensitivity import Hutchinson

from ..command_line import WrongInput, say
from .methods import JOINT
from .networks import FILES, FORMATS, budget_bytes, load_networks, require_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from fractions import Fraction
    from pathlib import Path

    from torch import Tensor, nn

# A rough count of what a method's measurement costs, in forward passes over the calibration inputs.
MEASURING = {"gauss_newton": 4, "empirical_fisher": 4, "hutchinson": 60, "weight_mse": 1, "interactions": 12}
TABLES = {
    "HAWQ trace + exact": ("hutchinson", "exact"),
    "empirical Fisher + exact": ("empirical_fisher", "exact"),
    "weight error + greedy": ("weight_mse", "greedy"),
    "Gauss-Newton + greedy": ("gauss_newton", "greedy"),
    "Gauss-Newton + exact": ("gauss_newton", "exact"),
    "measured KL + exact": ("measured_kl", "exact"),
}
OF_WEIGHTS = ("hutchinson", "weight_mse")  # these do not see what rounding inputs costs
UNIFORM, EXACT, PAIRED = "uniform", "Gauss-Newton + exact", "Gauss-Newton + interactions"
PROBES_OF_INTERACTIONS = 4
TRACE_PROBES = 50  # HAWQ-V2's number of random vectors, over all batches
INPUTS = 6  # bits of the inputs in the uniform format whose size is the budget, where inputs are rounded too
CASES = {
    "resnet20": "ResNet-20",
    "chargpt": "character transformer",
    "demo": "demo network",
    "resnet20-inputs": "ResNet-20, weights and inputs",
}


@dataclass(frozen=True, eq=False)
class Case:
    """A network, a pool from which calibration inputs are drawn, and inputs to judge on."""

    name: str
    model: nn.Module
    pool: tuple[Tensor, Tensor]
    calibration: int
    batch: int
    held_out: list[tuple[Tensor, Tensor]]
    formats: str = FORMATS

    def uniform(self, average: Fraction) -> str | None:
        """The uniform format of a size, or None where there is none."""
        name = f"w{average}" if self.formats == FORMATS else f"w{average}a{INPUTS}"
        return name if name in self.formats.split(",") else None

    def drawn(self, seed: int) -> list[tuple[Tensor, Tensor]]:
        """The calibration batches of a seed."""
        picks = torch.randperm(len(self.pool[0]), generator=torch.Generator().manual_seed(seed))[: self.calibration]
        return _batched(self.pool[0][picks], self.pool[1][picks], self.batch)


def _batched(inputs: Tensor, targets: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def chosen_names(asked: Sequence[str] | None, data: Path | None) -> list[str]:
    """The names of the networks that were asked for, or of all that can run; raises `WrongInput` for what cannot."""
    names = list(asked or (["demo"] if data is None else ["resnet20", "chargpt", "demo"]))
    if unknown := [name for name in names if name not in CASES]:
        raise WrongInput(f"--network {unknown[0]} is unknown: give some of {', '.join(CASES)}")
    require_data(data, (file for name in names for file in FILES.get(name.removesuffix("-inputs"), ())))
    return names


def load_case(name: str, data: Path | None, calibration: int | None) -> Case:
    """Load a network and split its data; raises ValueError where the pool is smaller than the calibration set."""
    made = _case(name, data)
    if calibration is not None:
        made = dataclasses.replace(made, calibration=calibration)
    if made.calibration > len(made.pool[0]):
        raise ValueError(f"{made.name}: {made.calibration} calibration inputs, but the pool holds {len(made.pool[0])}")
    return made


def _case(name: str, data: Path | None) -> Case:
    title = CASES[name]
    if name == "demo":
        parts = [*zip(*demo.calibration(), strict=True)], [*zip(*demo.held_out(), strict=True)]
        (inputs, targets), (others, labels) = ([torch.cat(each) for each in part] for part in parts)
        # Judged on all held-out images and on calibration images that no seed draws.
        held = torch.cat([others, inputs[300:]]), torch.cat([labels, targets[300:]])
        return Case(title, demo.model(), (inputs[:300], targets[:300]), 256, 32, _batched(*held, 100))
    assert data is not None
    networks = load_networks(data)
    if name.startswith("resnet20"):
        images, labels = networks.cifar10(data, "test")
        pool, rest = (images[:512], labels[:512]), _batched(images[512:], labels[512:], 101)
        formats = JOINT if name.endswith("inputs") else FORMATS
        return Case(title, networks.resnet20(data), pool, 256, 32, rest, formats)
    inputs, targets = networks.shakespeare(data, "validation")
    judged = _batched(inputs[-512:], targets[-512:], 32)
    return Case(title, networks.chargpt(data), (inputs[:256], targets[:256]), 128, 16, judged)


class Laboratory:
    """One network and seed: tables are measured when they are first needed, and kept in the work folder."""

    def __init__(self, case: Case, seed: int, work: Path) -> None:
        self.case = case
        self.seed = seed
        self._work = work / f"{case.name.replace(',', '').replace(' ', '-')}-{case.calibration}-{seed}"
        self.batches = case.drawn(seed)

    @functools.cache  # noqa: B019  # a laboratory lives as long as the run
    def table(self, method: str) -> mq.SensitivityTable:
        """The table of a method."""
        path = self._work / f"{method}.json"
        if not path.exists():
            say(f"{self.case.name}, seed {self.seed}: measuring {method}")
            probes = -(-TRACE_PROBES // len(self.batches))
            mq.measure(
                self.case.model,
                self.batches,
                formats=self.case.formats,
                method=Hutchinson(probes) if method == "hutchinson" else method,
                run=mq.RunOptions(seed=self.seed),
            ).save(path)
        return mq.SensitivityTable.load(path)

    @functools.cache  # noqa: B019
    def interactions(self) -> mq.Interactions:
        """The terms between layers; measured again in every run, from a few backward passes."""
        say(f"{self.case.name}, seed {self.seed}: measuring interactions")
        return measure_interactions(
            self.case.model,
            self.batches,
            formats=self.case.formats,
            probes=PROBES_OF_INTERACTIONS,
            run=mq.RunOptions(seed=self.seed),
        )

    def budget(self, average: Fraction) -> dict[str, Any]:
        """The bytes of an average number of bits; with rounded inputs also the bit operations."""
        layers = self.table("gauss_newton").layers
        if self.case.formats == FORMATS:
            return {"weight_bytes": budget_bytes(layers, average)}
        name = self.case.uniform(average)
        assert name is not None
        costs = mq.Policy.uniform(layers, name).costs
        return {name: costs[name] for name in ("weight_bytes", "bops")}

    def checkpoint(self, name: str, average: Fraction) -> Path:
        """Where a search keeps what it measured."""
        return self._work / f"{name}-{float(average):g}.json"


@dataclass(frozen=True, eq=False)
class Method:
    """A way to choose a policy; choosing gives the policy, and how many passes over the calibration inputs it took."""

    name: str
    choose: Callable[[], tuple[mq.Policy, float]]


def methods(lab: Laboratory, average: Fraction, evaluations: Sequence[int], evolution: int) -> Iterator[Method]:
    """Every way to choose a policy at a size."""
    if name := lab.case.uniform(average):
        yield Method(UNIFORM, functools.partial(_uniform, lab, name))
    weights_only = lab.case.formats == FORMATS
    for title, (estimator, solver) in TABLES.items():
        if estimator in OF_WEIGHTS and not weights_only:
            continue
        yield Method(title, functools.partial(_solved, lab, average, estimator, solver))
    if weights_only:
        yield Method(PAIRED, functools.partial(_paired, lab, average))
    for count in evaluations:
        yield Method(f"refined, {count}", functools.partial(_refined, lab, average, count))
    if evolution:
        yield Method(f"evolution, {evolution}", functools.partial(_evolved, lab, average, evolution))


def _uniform(lab: Laboratory, name: str) -> tuple[mq.Policy, float]:
    return mq.Policy.uniform(lab.table("gauss_newton"), name), 0


def _solved(lab: Laboratory, average: Fraction, estimator: str, solver: str) -> tuple[mq.Policy, float]:
    table = lab.table(estimator)
    policy = mq.allocate(table, lab.budget(average), solver=solver, seed=lab.seed).policy
    return policy, table.loss.size if estimator == "measured_kl" else 0


def _paired(lab: Laboratory, average: Fraction) -> tuple[mq.Policy, float]:
    table = lab.table("gauss_newton")
    start = mq.allocate(table, lab.budget(average))
    return allocate_with_interactions(table, start, lab.interactions(), seconds=20.0, seed=lab.seed).policy, 0


def _refined(lab: Laboratory, average: Fraction, count: int) -> tuple[mq.Policy, float]:
    found = refine(
        lab.case.model,
        lab.table("gauss_newton"),
        mq.allocate(lab.table("gauss_newton"), lab.budget(average)),
        lab.batches,
        evaluations=count,
        run=mq.RunOptions(seed=lab.seed, checkpoint=lab.checkpoint("refined", average)),
    )
    say(f"  {found.verdict} ({found.stopped})")
    return found.policy, found.evaluations


def _evolved(lab: Laboratory, average: Fraction, count: int) -> tuple[mq.Policy, float]:
    found = search(
        lab.case.model,
        lab.table("gauss_newton"),
        lab.budget(average),
        lab.batches,
        method=LevelSwitch(generations=10**6),
        evaluations=count,
        run=mq.RunOptions(seed=lab.seed, checkpoint=lab.checkpoint("evolution", average)),
    )
    return found.policy, found.evaluations
