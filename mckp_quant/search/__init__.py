"""Searches that run the network itself, after published systems, on one footing; calibration and fine-tuning.

Every search keeps exact budgets, counts its passes of the network, and can be stopped and taken up again. PyTorch is
needed.
"""

from __future__ import annotations

from ..tuning.matching import Calibration, calibrate
from ..tuning.training import FineTuned, finetune
from .contest import CONTESTANTS, Standing, compete
from .fitness import FITNESS
from .methods.differentiable import Differentiable
from .methods.emq import EMQ
from .methods.evoq import EvoQ
from .methods.level_switch import LevelSwitch
from .methods.progressive import Progressive
from .methods.random_policies import RandomPolicies
from .searching import METHODS, search
from .task import Found, Method, Task

__all__ = [
    "CONTESTANTS",
    "EMQ",
    "FITNESS",
    "METHODS",
    "Calibration",
    "Differentiable",
    "EvoQ",
    "FineTuned",
    "Found",
    "LevelSwitch",
    "Method",
    "Progressive",
    "RandomPolicies",
    "Standing",
    "Task",
    "calibrate",
    "compete",
    "finetune",
    "search",
]
