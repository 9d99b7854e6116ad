"""The instance library: problems by name.

An instance is a generator of `mckp_quant.solvers.instances` with its arguments, or a published problem in a folder of
files (see `published`). `best_known` holds the best value of each, and who proves it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from mckp_quant.solvers import Problem, front, instances, solve

from . import published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BITS = {4: (2, 3, 4, 8), 7: (2, 3, 4, 5, 6, 7, 8), 16: tuple(range(1, 17))}
SHARES = (0.2, 0.5, 0.8)
SEEDS = (0, 1, 2)
FRESH_SEED = 20  # of problems with several budgets that were first solved when all settings were fixed
GROWING = (20, 50, 100, 200, 500, 1000, 2000, 5000, 20_000, 100_000)
FRONT_POINTS = 8
TIGHTER = 0.97
# Published optima and, for I07 to I13, best feasible values (maximised): what a run is compared with.
KHAN = {
    "I01": 173.0,
    "I02": 364.0,
    "I03": 1602.0,
    "I04": 3597.0,
    "I05": 3905.7,
    "I06": 4799.3,
    "I07": 24592.0,
    "I08": 36894.0,
    "I09": 49181.0,
    "I10": 61486.0,
    "I11": 73791.0,
    "I12": 86093.0,
    "I13": 98441.0,
}


@dataclasses.dataclass(frozen=True)
class Instance:
    """A named problem: `family` is its row in the tables, `call` what makes it, `published` a value from papers."""

    name: str
    family: str
    call: str
    make: Callable[[], Problem]
    published: float | None = None


def library(folder: Path | None = None) -> dict[str, Instance]:
    """Every instance by name; those of files only where their folder is given."""
    found = [*_one_budget(), *_several_budgets(), *_front_points(), *_literature()]
    if folder is not None:
        found += _published(folder)
    return {each.name: each for each in found}


def tightened(problem: Problem) -> Problem:
    """The same problem with every further budget binding too.

    Each leaves 97 % of what the optimum under the budgets before it uses above the least possible cost.
    """
    budget = problem.budget.copy()
    budget[1:] = 2**62
    for resource in range(1, problem.n_resources):
        used = solve(problem.with_budget(budget)).require().cost[resource]
        least = problem.least_cost[resource]
        budget[resource] = least + int(TIGHTER * (used - least))
    return problem.with_budget(budget)


def _one_budget() -> Iterator[Instance]:
    for title, layers, columns in (
        ("ResNet-50 54x4", "resnet50()", 4),
        ("ResNet-50 54x7", "resnet50()", 7),
        ("LLM 224x4", "llm(224)", 4),
        ("LLM 224x7", "llm(224)", 7),
        ("lognormal 500x7", "lognormal(500, seed={seed})", 7),
    ):
        for seed in SEEDS:
            for share in SHARES:
                yield _quantisation(title, layers.format(seed=seed), columns, share, seed)
    for size in GROWING:
        for seed in SEEDS:
            yield _quantisation(f"growing {size}x7", f"lognormal({size}, seed={seed})", 7, 0.5, seed)
    for share in SHARES:
        yield _quantisation("LLM 1,000,000x4", "llm(1000000)", 4, share, 0)
    yield Instance(
        "odd 54x16",
        "odd 54x16",
        "odd costs of 54 tensors in 1 to 16 bits: see benchmarks/solvers/library.py",
        incommensurable,
    )


def _quantisation(title: str, layers: str, columns: int, share: float, seed: int, n_budgets: int = 1) -> Instance:
    call = f"quantisation({layers}, {BITS[columns]}, share={share}, seed={seed}, n_budgets={n_budgets})"

    def make() -> Problem:
        problem = instances.quantisation(
            _layers(layers, seed), BITS[columns], share=share, seed=seed, n_budgets=n_budgets
        )
        return problem if n_budgets == 1 else tightened(problem)

    if n_budgets > 1:
        call = f"tightened({call})"
    return Instance(f"{title}, share {share}, seed {seed}", title, call, make)


def _layers(call: str, seed: int) -> instances.Layers:
    """What a call such as ``lognormal(500, seed=0)`` makes."""
    kind, _, rest = call.partition("(")
    if kind == "resnet50":
        return instances.resnet50()
    size = int(rest.partition(",")[0].strip(")"))
    return instances.llm(size) if kind == "llm" else instances.lognormal(size, seed=seed)


def incommensurable() -> Problem:
    """ResNet-50's tensors in 1 to 16 bits with an odd overhead each: costs without a common divisor.

    A table over every budget up to the limit, with 8 bytes a value for each of the 54 groups, would take 93 GB.
    """
    rng = np.random.default_rng(0)
    elements = instances.resnet50().elements
    width = np.array(BITS[16])
    overhead = 2 * rng.integers(0, 500, len(elements)) + 1
    cost = elements[:, None] * width + overhead[:, None] * (width > 1)
    sensitivity = elements * np.exp(2 * rng.normal(size=len(elements)))
    value = sensitivity[:, None] * 4.0**-width * np.exp(0.3 * rng.normal(size=cost.shape))
    return Problem.from_table(value, cost, int(cost.min(axis=1).sum()) + 190_000_007)


def _several_budgets() -> Iterator[Instance]:
    for title, layers, columns in (
        ("ResNet-50 54x4", "resnet50()", 4),
        ("ResNet-50 54x7", "resnet50()", 7),
        ("LLM 224x4", "llm(224)", 4),
    ):
        for n_budgets in (2, 3):
            for seed in SEEDS:
                for share in SHARES:
                    yield _quantisation(f"{title}, {n_budgets} budgets", layers, columns, share, seed, n_budgets)
    for title, layers, columns in (
        ("ResNet-50 54x4", "resnet50()", 4),
        ("ResNet-50 54x7", "resnet50()", 7),
        ("LLM 224x4", "llm(224)", 4),
        ("lognormal 54x4", f"lognormal(54, seed={FRESH_SEED})", 4),
    ):
        for n_budgets in (2, 3):
            for share in SHARES:
                family = f"{title}, {n_budgets} budgets, fresh"
                yield _quantisation(family, layers, columns, share, FRESH_SEED, n_budgets)
    for seed in SEEDS:
        family = "several_budgets 30x10, 5 budgets"
        yield Instance(
            f"{family}, seed {seed}",
            family,
            f"several_budgets(30, 10, 5, seed={seed})",
            lambda seed=seed: instances.several_budgets(30, 10, 5, seed=seed),  # type: ignore[misc]
        )


def _front_points() -> Iterator[Instance]:
    family = "front of ResNet-50 54x7"
    whole = instances.quantisation(instances.resnet50(), BITS[7], share=1.0)
    yield Instance(family, family, f"quantisation(resnet50(), {BITS[7]}, share=1.0)", lambda: whole)

    def point(index: int) -> Problem:
        cost = front(whole).cost
        return whole.with_budget(cost[(2 * index + 1) * len(cost) // (2 * FRONT_POINTS)])

    for index in range(FRONT_POINTS):
        name = f"point {index + 1} of {FRONT_POINTS} of the front of ResNet-50 54x7"
        call = "the budget at that place of the front"
        yield Instance(name, "points of that front", call, lambda index=index: point(index))  # type: ignore[misc]


def _literature() -> Iterator[Instance]:
    for name in ("uncorrelated", "weakly_correlated", "strongly_correlated", "subset_sum", "zigzag"):
        sizes = [100, 1000] + ([10_000] if name == "strongly_correlated" else [])
        for size in sizes:
            for reach in (1000, 10_000):
                for seed in SEEDS if size < 10_000 else SEEDS[:1]:
                    family = f"{name} {size}x10, R = {reach}"
                    yield Instance(
                        f"{family}, seed {seed}",
                        family,
                        f"{name}({size}, 10, reach={reach}, seed={seed})",
                        lambda name=name, size=size, reach=reach, seed=seed: getattr(instances, name)(  # type: ignore[misc]
                            size, 10, reach=reach, seed=seed
                        ),
                    )


def _published(folder: Path) -> Iterator[Instance]:
    if (folder / published.KHAN).is_file():
        for name, profit in KHAN.items():
            yield Instance(
                f"Khan {name}",
                "Khan",
                f"{published.KHAN}: {name}",
                lambda name=name: published.khan(folder, name),  # type: ignore[misc]
                -profit,
            )
    if (folder / published.HAWQ).is_file():
        for resource in published.UNITS:
            for share in published.SHARES:
                yield Instance(
                    f"HAWQ-V3 {resource} {share}",
                    "HAWQ-V3 ResNet-18",
                    f"{published.HAWQ}: {resource}, {share}",
                    lambda resource=resource, share=share: published.hawq(folder, resource, share),  # type: ignore[misc]
                )
