"""The k best selections, exactly.

Dynamic programming forwards, then a search backwards that knows what every partial selection can become. The lists
of nondominated states say, for each place in the order of groups and each amount of budget left, the least value that
the groups before that place can add. Walking back from the last group, the k partial selections with the best
completions are kept at every step; nothing else can lead to one of the k best (the idea of Hoffman and Pavley 1959, *A
method for the solution of the Nth best path problem*, on the lists of Nemhauser and Ullmann). Lists are pruned in gap
space as in `core`: only what can come within a limit of the bound is kept, and the limit grows until it holds k.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from .bound import best_price
from .certify import TOLERANCE, total_value
from .errors import InvalidProblem
from .hull import undominated
from .incumbent import improve, repair
from .lagrangian import EPS, lagrangian_bound
from .reduce import gap_of
from .solution import GROUND_NONE, GROUND_SEARCH, Certificate, Solution, Status
from .states import States, nondominated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .problem import Problem
