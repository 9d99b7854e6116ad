"""Mixed-precision quantisation as mathematical programming: which layer gets how many bits, with a certificate."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import InvalidInput
from .formats import Format
from .layers import Layer
from .sensitivity.table import SensitivityTable

if TYPE_CHECKING:
    from .allocation import Allocation, allocate
    from .builder import Index, build
    from .choices import find_ties
    from .comparison import compare_solvers
    from .policy import Policy
    from .sensitivity._measure import measure
    from .simulation import apply
    from .structure import Structure
    from .tables import read_table, write_table
    from .validation import Validation, validate

_LAZY = {
    "Allocation": "allocation",
    "Index": "builder",
    "Policy": "policy",
    "Structure": "structure",
    "Validation": "validation",
    "allocate": "allocation",
    "apply": "simulation",
    "build": "builder",
    "compare_solvers": "comparison",
    "find_ties": "choices",
    "measure": "sensitivity._measure",
    "read_table": "tables",
    "validate": "validation",
    "write_table": "tables",
}

__all__ = [
    "Allocation",
    "Format",
    "Index",
    "InvalidInput",
    "Layer",
    "Policy",
    "SensitivityTable",
    "Structure",
    "Validation",
    "__version__",
    "allocate",
    "apply",
    "build",
    "compare_solvers",
    "find_ties",
    "measure",
    "read_table",
    "validate",
    "write_table",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that torch is imported only by those who use it."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Every public name, the lazy ones too."""
    return sorted({*globals(), *__all__})
