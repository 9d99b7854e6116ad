"""Mixed-precision quantisation as mathematical programming: which layer gets how many bits, with a certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .common.lazy import lazy_names
from .common.run_options import RunOptions
from .errors import InvalidInput
from .formats.format import Format
from .layers import Activation, Layer

if TYPE_CHECKING:
    from .allocation import (
        Allocation,
        Comparison,
        Constraints,
        Conversion,
        Index,
        Request,
        allocate,
        allocate_each,
        build,
        compare_solvers,
        find_ties,
    )
    from .evaluation import Evaluation, Validation, apply, evaluate, validate
    from .formats import ActivationRanges
    from .interactions import Interactions, allocate_with_interactions, measure_interactions
    from .network import Outputs
    from .pipeline import CalibrationSet, Quantized, Recipe, quantize
    from .policy import Policy
    from .refinement import Confirmation, Refinement, confirm_table, refine
    from .rounding import Gptq, Learned, Nearest, WeightBank, calibrate_ranges, round_weights
    from .sensitivity import Plan, measure, measure_kv_cache, merge, plan, with_kv_cache
    from .stability import Stability, check_stability, check_table
    from .tables import CostTable, SensitivityTable, read_table, write_table
    from .trade_off import Front, Selection, Smallest, front, select, smallest
    from .tuning import Finished, finish

_HOMES = {
    "ActivationRanges": ".formats",
    "Allocation": ".allocation",
    "CalibrationSet": ".pipeline",
    "Comparison": ".allocation",
    "Constraints": ".allocation",
    "Conversion": ".allocation",
    "Confirmation": ".refinement",
    "CostTable": ".tables",
    "Evaluation": ".evaluation",
    "Finished": ".tuning",
    "Front": ".trade_off",
    "Index": ".allocation",
    "Interactions": ".interactions",
    "Gptq": ".rounding",
    "Learned": ".rounding",
    "Nearest": ".rounding",
    "WeightBank": ".rounding",
    "Outputs": ".network",
    "Plan": ".sensitivity",
    "Policy": ".policy",
    "Quantized": ".pipeline",
    "Recipe": ".pipeline",
    "Refinement": ".refinement",
    "Request": ".allocation",
    "Selection": ".trade_off",
    "SensitivityTable": ".tables",
    "Smallest": ".trade_off",
    "Stability": ".stability",
    "Validation": ".evaluation",
    "allocate": ".allocation",
    "allocate_each": ".allocation",
    "allocate_with_interactions": ".interactions",
    "apply": ".evaluation",
    "build": ".allocation",
    "calibrate_ranges": ".rounding",
    "check_stability": ".stability",
    "check_table": ".stability",
    "compare_solvers": ".allocation",
    "confirm_table": ".refinement",
    "evaluate": ".evaluation",
    "find_ties": ".allocation",
    "finish": ".tuning",
    "front": ".trade_off",
    "measure": ".sensitivity",
    "measure_interactions": ".interactions",
    "measure_kv_cache": ".sensitivity",
    "merge": ".sensitivity",
    "with_kv_cache": ".sensitivity",
    "plan": ".sensitivity",
    "quantize": ".pipeline",
    "read_table": ".tables",
    "refine": ".refinement",
    "round_weights": ".rounding",
    "select": ".trade_off",
    "smallest": ".trade_off",
    "validate": ".evaluation",
    "write_table": ".tables",
}
_PACKAGES = {name: f".{name}" for name in ("export", "search", "tuning")}  # importing them needs PyTorch
_RENAMED = {
    "Structure": "mckp_quant.Constraints",
    "interactions": "mckp_quant.measure_interactions",
    "stability": "mckp_quant.check_stability",
    "with_interactions": "mckp_quant.allocate_with_interactions",
}

__all__ = [
    "Activation",
    "ActivationRanges",
    "Allocation",
    "CalibrationSet",
    "Comparison",
    "Confirmation",
    "Constraints",
    "Conversion",
    "CostTable",
    "Evaluation",
    "Finished",
    "Format",
    "Front",
    "Gptq",
    "Index",
    "Interactions",
    "InvalidInput",
    "Layer",
    "Learned",
    "Nearest",
    "Outputs",
    "Plan",
    "Policy",
    "Quantized",
    "Recipe",
    "Refinement",
    "Request",
    "RunOptions",
    "Selection",
    "SensitivityTable",
    "Smallest",
    "Stability",
    "Validation",
    "WeightBank",
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
    "confirm_table",
    "evaluate",
    "find_ties",
    "finish",
    "front",
    "measure",
    "measure_interactions",
    "measure_kv_cache",
    "merge",
    "plan",
    "quantize",
    "read_table",
    "refine",
    "round_weights",
    "select",
    "smallest",
    "validate",
    "with_kv_cache",
    "write_table",
]

_load = lazy_names(__name__, {**_HOMES, **_PACKAGES}, _RENAMED)


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that torch is imported only by those who use it."""
    found = _load(name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Every public name, the lazy ones too."""
    return sorted({*globals(), *__all__, *_PACKAGES})
