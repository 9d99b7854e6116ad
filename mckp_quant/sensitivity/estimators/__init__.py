"""One estimator a file: what it predicts or measures, its source, and how it reads one batch.

To add one, write its file and put its class into `ESTIMATORS`: `measure`, `plan` and the command line take it from
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .empirical_fisher import EmpiricalFisher
from .first_order import FirstOrder
from .gauss_newton import GaussNewton
from .hessian_form import HessianForm
from .hutch_plus_plus import HutchPlusPlus
from .hutchinson import Hutchinson
from .hutchinson_blockwise import HutchinsonBlockwise
from .measured_kl import MeasuredKL
from .measured_loss import MeasuredLoss
from .metric import Metric
from .sqnr import SQNR
from .weight_mse import WeightMSE

if TYPE_CHECKING:
    from ..estimator import AnyEstimator

__all__ = [
    "ESTIMATORS",
    "SQNR",
    "EmpiricalFisher",
    "FirstOrder",
    "GaussNewton",
    "HessianForm",
    "HutchPlusPlus",
    "Hutchinson",
    "HutchinsonBlockwise",
    "MeasuredKL",
    "MeasuredLoss",
    "Metric",
    "WeightMSE",
]

ESTIMATORS: dict[str, type[AnyEstimator]] = {
    "gauss_newton": GaussNewton,
    "measured_kl": MeasuredKL,
    "measured_loss": MeasuredLoss,
    "metric": Metric,
    "hessian_form": HessianForm,
    "empirical_fisher": EmpiricalFisher,
    "first_order": FirstOrder,
    "hutchinson": Hutchinson,
    "hutchinson_blockwise": HutchinsonBlockwise,
    "hutch_plus_plus": HutchPlusPlus,
    "weight_mse": WeightMSE,
    "sqnr": SQNR,
}
