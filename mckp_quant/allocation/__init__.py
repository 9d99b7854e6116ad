"""From a table and a request to a policy: the problem is built, solved, explained, and put back into words of networks.

Arrays go to the solvers and come back. Networks and torch may not come in.
"""

from __future__ import annotations

from .allocating import Allocation, allocate
from .builder import build
from .choices import find_ties
from .comparison import Comparison, compare_solvers
from .constraints import Constraints, Conversion, chain, shared_inputs
from .index import Index
from .request import Request
from .several_requests import allocate_each

__all__ = [
    "Allocation",
    "Comparison",
    "Constraints",
    "Conversion",
    "Index",
    "Request",
    "allocate",
    "allocate_each",
    "build",
    "chain",
    "compare_solvers",
    "find_ties",
    "shared_inputs",
]
