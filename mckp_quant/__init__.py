"""Mixed-precision quantisation as mathematical programming: which layer gets how many bits, with a certificate."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import InvalidInput
from .formats import Format
from .layers import Activation, Layer
from .sensitivity.table import SensitivityTable

if TYPE_CHECKING:
    from .allocation import Allocation, allocate
    from .builder import Index, build
    from .calibration import calibrate_ranges
    from .choices import find_ties
    from .comparison import compare_solvers
    from .conversions import Conversion
    from .planning import Plan, plan
    from .policy import Policy
    from .ranges import ActivationRanges
    from .sensitivity._measure import measure
    from .several_targets import allocate_each
    from .simulation import apply
    from .structure import Structure
    from .tables import read_table, write_table
    from .truth.cross_layer import measure_interactions
    from .truth.quadratic import Interactions, allocate_with_interactions
    from .truth.refined import Refinement
    from .truth.refinement import refine
    from .truth.sanity import check_table
    from .truth.stability import check_stability
    from .truth.stable import Stability
    from .validation import Validation, validate

_LAZY = {
    "ActivationRanges": "ranges",
    "Allocation": "allocation",
    "Conversion": "conversions",
    "Index": "builder",
    "Interactions": "truth.quadratic",
    "Plan": "planning",
    "Policy": "policy",
    "Refinement": "truth.refined",
    "Stability": "truth.stable",
    "Structure": "structure",
    "Validation": "validation",
    "allocate": "allocation",
    "allocate_each": "several_targets",
    "apply": "simulation",
    "build": "builder",
    "calibrate_ranges": "calibration",
    "check_table": "truth.sanity",
    "compare_solvers": "comparison",
    "find_ties": "choices",
    "measure_interactions": "truth.cross_layer",
    "measure": "sensitivity._measure",
    "plan": "planning",
    "read_table": "tables",
    "refine": "truth.refinement",
    "check_stability": "truth.stability",
    "validate": "validation",
    "allocate_with_interactions": "truth.quadratic",
    "write_table": "tables",
}

_PACKAGES = ("export", "search")  # importing them needs PyTorch

__all__ = [
    "Activation",
    "ActivationRanges",
    "Allocation",
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
    "Structure",
    "Validation",
    "__version__",
    "allocate",
    "allocate_each",
    "apply",
    "build",
    "calibrate_ranges",
    "check_table",
    "compare_solvers",
    "find_ties",
    "measure_interactions",
    "measure",
    "plan",
    "read_table",
    "refine",
    "check_stability",
    "validate",
    "allocate_with_interactions",
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
