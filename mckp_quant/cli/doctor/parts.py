"""The parts of this package that depend on others, and whether they work here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...export.exporting import EXPORTERS
from ...solvers import available, is_compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .packages import Package

ROUNDERS = ("nearest", "gptq", "learned", "importance")  # their room needs torch, which may be what is missing
_BEHIND = {"cp_sat": "ortools", "highs": "scipy", "pulp": "pulp", "scip": "pyscipopt"}  # what a solver calls


@dataclass(frozen=True)
class Part:
    """Something that works here, or does not.

    Attributes
    ----------
    kind
        ``"solver"``, ``"kernels"``, ``"rounder"`` or ``"target"``.
    name
        Its name on the command line.
    reason
        Why it does not work here, and what to type; empty where it works.
    """

    kind: str
    name: str
    reason: str = ""

    @property
    def works(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reason


def parts_of(packages: Sequence[Package]) -> tuple[Part, ...]:
    """Solvers, kernels, rounders and export targets, in this order.

    Parameters
    ----------
    packages
        What was found of the packages.

    Returns
    -------
    parts
        One for each.
    """
    found = {package.asked.distribution: package for package in packages}
    by_root = {package.asked.module.partition(".")[0]: package for package in packages}
    solvers = [
        Part("solver", name, _first([found[_BEHIND[name]].reason] if name in _BEHIND else [lacking or ""]))
        for name, lacking in available().items()
    ]
    rounders = [Part("rounder", name, found["torch"].reason) for name in ROUNDERS]
    targets = [
        Part("target", name, _first(by_root[package].reason for package in exporter.packages if package in by_root))
        for name, exporter in EXPORTERS.items()
    ]
    return (*solvers, kernels(), *rounders, *targets)


def kernels() -> Part:
    """The compiled kernels of the solvers, without which NumPy does the same."""
    slower = "NumPy does the same, more slowly: install a C compiler, then pip install --force-reinstall mckp-quant"
    return Part("kernels", "compiled", "" if is_compiled() else slower)


def _first(reasons: Iterable[str]) -> str:
    return next((reason for reason in reasons if reason), "")
