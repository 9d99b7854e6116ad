"""Mixed-precision quantisation as mathematical programming: which layer gets how many bits, with a certificate."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import InvalidInput
from .formats.format import Format
from .layers import Activation, Layer
from .tables.table import SensitivityTable

if TYPE_CHECKING:
    from .allocation.allocating import Allocation, allocate
    from .allocation.builder import build
    from .allocation.choices import find_ties
    from .allocation.comparison import compare_solvers
    from .allocation.constraints.constraints import Constraints
    from .allocation.constraints.conversion import Conversion
    from .allocation.index import Index
    from .allocation.several_requests import allocate_each
    from .evaluation.simulation import apply
    from .evaluation.validation import Validation, validate
    from .formats.ranges import ActivationRanges
    from .interactions.form import Interactions, allocate_with_interactions
    from .interactions.measuring import measure_interactions
    from .policy.policy import Policy
    from .refinement.refining import refine
    from .refinement.result import Refinement
    from .rounding.calibration import calibrate_ranges
    from .sensitivity.measuring import measure
    from .sensitivity.planning import Plan, plan
    from .stability.resolving import check_stability
    from .stability.result import Stability
    from .stability.sanity import check_table
    from .tables import read_table, write_table

_LAZY = {
    "ActivationRanges": "formats.ranges",
    "Allocation": "allocation.allocating",
    "Conversion": "allocation.constraints.conversion",
    "Index": "allocation.index",
    "Interactions": "interactions.form",
    "Plan": "sensitivity.planning",
    "Policy": "policy.policy",
    "Refinement": "refinement.result",
    "Stability": "stability.result",
    "Constraints": "allocation.constraints.constraints",
    "Validation": "evaluation.validation",
    "allocate": "allocation.allocating",
    "allocate_each": "allocation.several_requests",
    "apply": "evaluation.simulation",
    "build": "allocation.builder",
    "calibrate_ranges": "rounding.calibration",
    "check_table": "stability.sanity",
    "compare_solvers": "allocation.comparison",
    "find_ties": "allocation.choices",
    "measure_interactions": "interactions.measuring",
    "measure": "sensitivity.measuring",
    "plan": "sensitivity.planning",
    "read_table": "tables",
    "refine": "refinement.refining",
    "check_stability": "stability.resolving",
    "validate": "evaluation.validation",
    "allocate_with_interactions": "interactions.form",
    "write_table": "tables",
}

_PACKAGES = ("export", "search")  # importing them needs PyTorch

__all__ = [
    "Activation",
    "ActivationRanges",
    "Allocation",
    "Constraints",
    "Conversion",
    "Format",
    "Index",
    "Interactions",
    "InvalidInput",
    "Layer",
    "Plan",
    "Policy",
    "Refinement",
    "SensitivityTable",
    "Stability",
    "Validation",
    "__version__",
    "allocate",
    "allocate_each",
    "allocate_with_interactions",
    "apply",
    "build",
    "calibrate_ranges",
    "check_stability",
    "check_table",
    "compare_solvers",
    "find_ties",
    "measure",
    "measure_interactions",
    "plan",
    "read_table",
    "refine",
    "validate",
    "write_table",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that torch is imported only by those who use it."""
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Every public name, the lazy ones too."""
    return sorted({*globals(), *__all__, *_PACKAGES})
