"""Monotone: finds the best selection whose labels only fall, or only rise, along the groups."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from ..answer import Answer
from ..bounds.bound import best_price
from ..bounds.lagrangian import lagrangian_bound
from ..certify import total_value
from ..methods.exact import Exact
from ..problem.arguments import check_member, check_whole
from ..problem.supports import refusal
from .search import search_chain
from .table import chain_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem
    from .search import ChainResult
    from .table import ChainTable

Direction = Literal["fall", "rise"]


@dataclasses.dataclass(frozen=True)
class Monotone:
    """Keep to a chain: along the groups, in their order in the problem, labels may only fall (or only rise).

    Choices are ordered by label, so labels should be bits, or columns sorted by bits. The best chain is found exactly.
    The certificate is for the problem without the rule: there the answer is feasible, and optimal only where the rule
    costs nothing. The statistics hold the rest:

    - ``chain``: ``"proved optimal"`` among chains, ``"not proved optimal"``, ``"proved infeasible"``, ``"none found"``
    - ``chain_bound``: no chain is better than this; the chain's own value where that is proved optimal
    - ``free_value``: the optimum without the rule where ``free`` says ``"optimum"``, else the bound of it
    - ``chain_cost``: value of the chain less ``free_value``; at most that where ``free`` says ``"bound"``

    Attributes
    ----------
    direction
        ``"fall"``: no group has a higher label than the one before it; ``"rise"``: none has a lower one.
    compare
        Also solve the problem without the rule, by `Exact` in the time that is left, to say what the rule costs;
        False compares with the Lagrangian bound instead.
    max_states
        How many states the dynamic programme may keep, about 30 bytes each; beyond it the chain is not proved optimal.
    """

    direction: Direction = "fall"
    compare: bool = True
    max_states: int = 10**7
    name: ClassVar[str] = "monotone"
    requires: ClassVar[str | None] = "scipy"
    reference: ClassVar[str] = (
        "Chu, Luo, Yang and Huang (2021), Mixed-precision quantized neural networks with progressively decreasing "
        "bitwidth, Pattern Recognition 111, 107647 (after it: bits that fall with depth; the problem and its exact "
        "solution are ours)"
    )

    def __post_init__(self) -> None:
        """Refuse an unknown direction, and a limit that no list fits in."""
        check_member("direction", self.direction, get_args(Direction))
        check_whole("max_states", self.max_states, 1)

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem without further rows is taken."""
        return refusal(problem, self.name)

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve; deterministic, so the seed is not used, and a warm start only where it is a chain."""
        deadline = time.perf_counter() + seconds
        try:
            table = chain_table(problem, -problem.label if self.direction == "fall" else problem.label)
            price = best_price(problem)
        except KeyboardInterrupt:  # what the reduction would have is no chain
            return Answer(None, stats={"chain": "none found", "interrupted": True}, restricted=True)
        result = search_chain(table, _levels(table, warm), max_states=self.max_states, deadline=deadline)
        stats: dict[str, Any] = {"chain": _word(result), "states": result.states}
        if result.interrupted:
            stats["interrupted"] = True
        if result.position is None:
            reason = ""
            if result.complete:
                reason = (
                    f"no selection whose labels only {self.direction} is within every budget; "
                    "without that rule there may be one: use 'exact'"
                )
            return Answer(None, price=price, stats=stats, restricted=True, reason=reason)
        value = total_value(problem, result.position)
        least = np.minimum.reduceat(problem.value, problem.start[:-1])
        figures = {"chain_bound": value if result.complete else min(result.bound + float(least.sum()), value)}
        free = None
        left = deadline - time.perf_counter()
        if self.compare and left > 0 and not result.interrupted:
            try:
                free = Exact()(problem, seconds=left, seed=0, warm=result.position)
            except KeyboardInterrupt:  # the chain is there already
                stats["interrupted"] = True
        if free is None or free.choice is None or not free.complete:
            stats["free"] = "bound"
            figures["free_value"] = lagrangian_bound(problem, price)
        else:
            stats["free"] = "optimum"
            figures["free_value"] = min(total_value(problem, free.choice), value)
        chain_cost = value - figures["free_value"]
        return Answer(
            result.position,
            complete=stats["free"] == "optimum" and chain_cost == 0,
            price=price,
            resolution=0.0 if free is None else free.resolution,
            stats=stats,
            figures=figures,
            differences={"chain_cost": chain_cost},
            restricted=True,
            exhausted_by="" if free is None else free.exhausted_by or Exact.name,
        )


def _word(result: ChainResult) -> str:
    if result.position is None:
        return "proved infeasible" if result.complete else "none found"
    return "proved optimal" if result.complete else "not proved optimal"


def _levels(table: ChainTable, warm: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """The level of every group of a selection that is a chain."""
    if warm is None:
        return None
    level = (table.position == warm[:, None]).argmax(axis=1)
    return level if (np.diff(level) >= 0).all() else None
