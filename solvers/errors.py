"""The errors of this package, and the import of optional packages."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import partial
from typing import TYPE_CHECKING

from .system.interrupt import interruptible

if TYPE_CHECKING:
    from types import ModuleType

WITHOUT = "everything else works without it"  # where a caller has nothing better to say


class InvalidInput(ValueError):
    """Something the user gave cannot be used. The message names it, its value, and what to do."""


class InvalidProblem(InvalidInput):
    """The problem, or an option of the call, is not what the solver can take. The message names the entry."""


class NoSolution(RuntimeError):
    """A selection was required and there is none. The message says why and which budgets would do."""


class SolverFailure(RuntimeError):
    """A solver crashed, or returned something that is no selection. Not the caller's fault."""


class PackageMissing(ImportError):
    """An optional package is missing. The message says what to type and what works without it."""


class SolverUnavailable(PackageMissing):
    """The package that a solver needs is missing."""


def require(package: str, extra: str | None, without: str = WITHOUT) -> ModuleType:
    """Import the package that a solver needs, or say how to get it.

    It is imported in a thread of its own, where Ctrl-C does not reach it: compiled modules take an interrupt for a
    failed import, or drop it, and cannot be imported again in the same process.

    Parameters
    ----------
    package, extra, without
        As for `import_package`.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    SolverUnavailable
        When the package cannot be imported.
    KeyboardInterrupt
        When the user interrupts; the import comes to its end by itself.
    """
    found = partial(import_package, package, extra, without, SolverUnavailable)
    return found() if package in sys.modules else interruptible(found)[0]


def import_package(package: str, extra: str | None, without: str, error: type[PackageMissing]) -> ModuleType:
    """Import an optional package, or say how to get it.

    Parameters
    ----------
    package
        The module to import, such as ``"scipy.optimize"``.
    extra
        The extra of ``mckp-quant`` that brings it; None where it is one of the required dependencies.
    without
        What the reader can do without the package.
    error
        The kind of error to raise.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    PackageMissing
        When the package cannot be imported; of the kind that `error` says.
    """
    try:
        return importlib.import_module(package)
    except ImportError as cause:
        command = "pip install mckp-quant" if extra is None else f"pip install 'mckp-quant[{extra}]'"
        raise error(
            f"the package {package!r} cannot be imported ({cause}); install it with: {command} -- {without}"
        ) from cause


def missing(package: str) -> str | None:
    """Why the package cannot be used here, or None; looks for it without importing it."""
    root = package.partition(".")[0]
    if importlib.util.find_spec(root) is None:
        return f"the package {root!r} is not installed"
    return None
