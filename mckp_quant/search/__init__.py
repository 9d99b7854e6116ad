"""Searches that run the network itself, after published systems, on one footing; calibration and fine-tuning.

Every search keeps exact budgets, counts its passes of the network, and can be stopped and taken up again. PyTorch is
needed.
"""

from __future__ import annotations

from ._search import METHODS, search
from .contest import CONTESTANTS, Standing, compete
from .differentiable import Differentiable
from .emq import EMQ
from .evoq import EvoQ
from .fitness import FITNESS
from .level_switch import LevelSwitch
from .matching import Calibration, calibrate
from .progressive import Progressive
from .random_policies import RandomPolicies
from .task import Found, Method, Task
from .training import FineTuned, finetune

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
