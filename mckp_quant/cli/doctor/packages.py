"""The packages that the commands may need: which are here, and whether they can be imported."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...common.packages import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORKS, FOUND, BROKEN, MISSING = "works", "found", "broken", "not installed"
_SECONDS = 120.0  # for one import, on a machine that has to read it from a slow disk
_AT_ONCE = 2


@dataclass(frozen=True)
class Asked:
    """A package that some command needs.

    Attributes
    ----------
    module
        The module that is imported.
    distribution
        What installs it.
    extra
        The extra of ``mckp-quant`` that brings it: empty for what always comes along.
    purpose
        What needs it.
    slow
        Whether its import takes so long that it is only made when that is asked for.
    """

    module: str
    distribution: str
    extra: str
    purpose: str
    slow: bool = False

    @property
    def install(self) -> str:
        """What to type to get it."""
        return "pip install mckp-quant" if not self.extra else f"pip install 'mckp-quant[{self.extra}]'"


PACKAGES = (
    Asked("numpy", "numpy", "", "everything"),
    Asked("scipy.optimize", "scipy", "", "the solver highs"),
    Asked("ortools.sat.python.cp_model", "ortools", "", "the solver cp_sat"),
    Asked("pulp", "pulp", "", "the solver pulp"),
    Asked("typer", "typer", "", "the command line"),
    Asked("rich", "rich", "", "the command line"),
    Asked("pyscipopt", "pyscipopt", "scip", "the solver scip"),
    Asked("torch", "torch", "torch", "whatever runs a network"),
    Asked("safetensors", "safetensors", "torch", "weight banks on disk"),
    Asked("sklearn", "scikit-learn", "demo", "the demo", slow=True),
    Asked("matplotlib.figure", "matplotlib", "plot", "--plot"),
    Asked("transformers", "transformers", "hf", "hf:FOLDER", slow=True),
    Asked("torchao.quantization", "torchao", "torchao", "export", slow=True),
    Asked("onnx", "onnx", "onnx", "export", slow=True),
    Asked("onnxscript", "onnxscript", "onnx", "export", slow=True),
    Asked("onnxruntime", "onnxruntime", "onnx", "export", slow=True),
    Asked("gguf", "gguf", "gguf", "export", slow=True),
    Asked("compressed_tensors", "compressed-tensors", "compressed_tensors", "export", slow=True),
)


@dataclass(frozen=True)
class Package:
    """What was found of a package.

    Attributes
    ----------
    asked
        The package.
    version
        Empty where it is not installed, or does not say.
    state
        ``"works"``: it was imported; ``"found"``: it is there and was not imported; ``"broken"``: it cannot be
        imported; ``"not installed"``.
    why
        The last line of the error of a broken one.
    """

    asked: Asked
    version: str
    state: str
    why: str = ""

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against it."""
        return self.state in (WORKS, FOUND)

    @property
    def reason(self) -> str:
        """Why it cannot be used, and what to type; empty where it can."""
        if self.usable:
            return ""
        if self.state == MISSING:
            return f"the package {self.asked.distribution!r} is not installed; type: {self.asked.install}"
        again = f"pip install --force-reinstall {self.asked.distribution}"
        return f"the package {self.asked.distribution!r} cannot be imported ({self.why}); type: {again}"


def look_at(
    packages: Sequence[Asked],
    *,
    thorough: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[Package, ...]:
    """Look for packages, and import them, each in a process of its own, so that one that crashes harms no other.

    Parameters
    ----------
    packages
        The packages.
    thorough
        Whether those are imported too that take long.
    progress
        Called with how many were looked at, and how many there are.

    Returns
    -------
    found
        In the same order.
    """
    found = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done, package in enumerate(pool.map(lambda asked: _look_at(asked, thorough), packages), 1):
            found.append(package)
            if progress is not None:
                progress(done, len(packages))
    return tuple(found)


def _look_at(asked: Asked, thorough: bool) -> Package:
    if missing(asked.module) is not None:
        return Package(asked, "", MISSING)
    version = _version(asked.distribution)
    if asked.slow and not thorough:
        return Package(asked, version, FOUND)
    why = _import_error(asked.module)
    return Package(asked, version, BROKEN if why else WORKS, why)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _import_error(module: str) -> str:
    """Why a module cannot be imported; empty where it can, or is in use here already."""
    if module in sys.modules:
        return ""
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"its import takes more than {_SECONDS:g} seconds"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"its import ends with the code {done.returncode}"
