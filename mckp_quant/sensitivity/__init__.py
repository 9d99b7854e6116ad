"""How much the loss rises when one layer is stored in one format: planned, measured, and taken up again.

The estimators are in `estimators/`, what they share in `engine/`. No policy is chosen here. PyTorch is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .caches.kv_cache import measure_kv_cache, with_kv_cache
    from .estimator import DataFreeEstimator, Estimator, Passes
    from .estimators import (
        ESTIMATORS,
        SQNR,
        EmpiricalFisher,
        FirstOrder,
        GaussNewton,
        HessianForm,
        Hutchinson,
        HutchinsonBlockwise,
        HutchPlusPlus,
        MeasuredKL,
        MeasuredLoss,
        Metric,
        WeightMSE,
    )
    from .measuring import measure
    from .parts.merging import merge
    from .planning import Plan, plan

__all__ = [
    "ESTIMATORS",
    "SQNR",
    "DataFreeEstimator",
    "EmpiricalFisher",
    "Estimator",
    "FirstOrder",
    "GaussNewton",
    "HessianForm",
    "HutchPlusPlus",
    "Hutchinson",
    "HutchinsonBlockwise",
    "MeasuredKL",
    "MeasuredLoss",
    "Metric",
    "Passes",
    "Plan",
    "WeightMSE",
    "measure",
    "measure_kv_cache",
    "merge",
    "plan",
    "with_kv_cache",
]

__getattr__ = lazy_names(
    __name__,
    {
        "DataFreeEstimator": ".estimator",
        "ESTIMATORS": ".estimators",
        "EmpiricalFisher": ".estimators",
        "Estimator": ".estimator",
        "FirstOrder": ".estimators",
        "GaussNewton": ".estimators",
        "HessianForm": ".estimators",
        "HutchPlusPlus": ".estimators",
        "Hutchinson": ".estimators",
        "HutchinsonBlockwise": ".estimators",
        "MeasuredKL": ".estimators",
        "MeasuredLoss": ".estimators",
        "Metric": ".estimators",
        "Passes": ".estimator",
        "Plan": ".planning",
        "SQNR": ".estimators",
        "WeightMSE": ".estimators",
        "measure": ".measuring",
        "measure_kv_cache": ".caches.kv_cache",
        "with_kv_cache": ".caches.kv_cache",
        "merge": ".parts.merging",
        "plan": ".planning",
    },
    {},
)
