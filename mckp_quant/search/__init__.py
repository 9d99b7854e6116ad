"""Published searches that run the network itself, and every other method beside them, by name.

A search keeps exact budgets, counts its passes of the network, and can be stopped and taken up again. What changes a
network for one policy is in tuning, what improves a policy by measuring in refinement. PyTorch is needed.
"""

from __future__ import annotations

from ..common.lazy import lazy_names
from .all_methods import METHODS, MethodResult, run_method
from .fitness import FITNESS
from .methods.differentiable import Differentiable
from .methods.emq import EMQ
from .methods.evoq import EvoQ
from .methods.level_switch import LevelSwitch
from .methods.progressive import Progressive
from .methods.random_policies import RandomPolicies
from .searching import SEARCHES, search
from .task import Found, Method, Task

__all__ = [
    "EMQ",
    "FITNESS",
    "METHODS",
    "SEARCHES",
    "Differentiable",
    "EvoQ",
    "Found",
    "LevelSwitch",
    "Method",
    "MethodResult",
    "Progressive",
    "RandomPolicies",
    "Task",
    "run_method",
    "search",
]

_RENAMED = {
    "CONTESTANTS": "mckp_quant.search.METHODS (the published searches alone are SEARCHES)",
    "Calibration": "mckp_quant.tuning.Matched",
    "FineTuned": "mckp_quant.tuning.FineTuned",
    "Standing": "mckp_quant.search.MethodResult",
    "calibrate": "mckp_quant.tuning.match_features",
    "compete": "mckp_quant.search.run_method",
    "finetune": "mckp_quant.tuning.finetune",
}

__getattr__ = lazy_names(__name__, {}, _RENAMED)
