"""The solution that the front door returns, and the certificate that proves it."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .answer import Status
from .bounds.gap import rounding_of, same_to_rounding
from .bounds.lagrangian import farkas_excess, lagrangian_bound
from .display.faces import Face
from .display.figures import number, percent
from .errors import NoSolution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from .problem.problem import Problem

GROUND_DUAL = "dual gap closed"
GROUND_SEARCH = "search exhausted"  # and in brackets whose: see `search_ground`
GROUND_NONE = "none"


def search_ground(solver: str) -> str:
    """The ground of a proof that rests on the exhausted search of a solver, such as ``"search exhausted (exact)"``."""
    return f"{GROUND_SEARCH} ({solver})"


def is_search_ground(ground: str) -> bool:
    """Whether a ground is an exhausted search; one without a name, as older files have it, is one too."""
    return ground == GROUND_SEARCH or (ground.startswith(f"{GROUND_SEARCH} (") and ground.endswith(")"))


_LISTED = 6  # budgets


def _bound_words(bound: float) -> str:
    return "no selection is within every budget" if bound == np.inf else f"no feasible one is below {number(bound, 8)}"


def _some(numbers: NDArray[np.float64] | NDArray[np.int64], most: int) -> str:
    """The first entries of an array, and how many there are where that is not all."""
    words = " ".join(f"{each:.6g}" for each in numbers[:most].tolist())
    return words if len(numbers) <= most else f"{words} ... ({len(numbers):,} in all)"


def _fits(ground: str, status: Status) -> bool:
    """Whether a selection of that status can be proved on that ground."""
    if status is Status.OPTIMAL:
        return ground == GROUND_DUAL or is_search_ground(ground)
    return ground == GROUND_NONE


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate:
    """A proof, as data: anyone can recheck the bound in a few lines of NumPy.

    For any ``price >= 0``, no feasible selection has a value below
    ``sum_g min_j (value + price . cost) - price . budget``, the minimum over the choices that fit when all other groups
    cost their least, and of each budget only as much as costs can add up to: the least total plus a multiple of the
    common divisor of the costs above the least of their group (Lagrangian duality; Everett 1963, *Generalized Lagrange
    multiplier method for solving problems of optimum allocation of resources*).

    Attributes
    ----------
    status
        What is certified.
    ground
        Why: ``"dual gap closed"`` (recheck it with `holds`), ``"search exhausted (exact)"`` (trust in the solver
        named, which need not be the one that was called), or ``"none"``.
    price
        ``(n_resources,)`` float64, at least 0: value lost per unit of each budget. Of an infeasible problem, a Farkas
        price: even the cheapest selection at that price costs more than the budget at that price.
    bound
        No feasible selection is better than this; ``inf`` where none exists.
    tolerance
        Values closer than this count as equal: rounding of prices and sums, relative to the differences that decide,
        and of `value` and `bound`, which are single floats.
    value
        The value of the selection that the certificate is for; nan where there is none.
    split
        Of a problem with pairwise terms: ``(n_groups, n_choices)`` float64, how these are shared out among single
        choices. The price then bounds the values with their shares, and what the shares leave of the terms between two
        groups is at least its minimum, see `bounds.lagrangian.reparametrise`.
    """

    status: Status
    ground: str
    price: NDArray[np.float64]
    bound: float
    tolerance: float
    value: float = float("nan")
    split: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        """What is certified, and on what ground."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        return self._face().html()

    def _face(self) -> Face:
        shares = f", and the shares of {self.split.size:,} pairwise terms" if self.split is not None else ""
        facts = (
            ("ground", self.ground),
            ("bound", _bound_words(self.bound)),
            ("price", f"{_some(self.price, 6)} of each budget{shares}"),
            ("tolerance", number(self.tolerance, 3)),
        )
        return Face(f"Certificate: {self.status.value}", facts)

    def holds(self, problem: Problem) -> bool:
        """Whether the price proves for this problem what the certificate states on the ground of a price.

        Parameters
        ----------
        problem
            The problem that the certificate is for.

        Returns
        -------
        holds
            False where the price is invalid, where the stated bound exceeds the value or what the price proves, where
            the ground does not fit the status, or where a gap is said to be closed and is not (to the rounding of
            this problem's sums). A price cannot prove what rests on an exhausted search: of such an optimum the bound
            is rechecked; of such an infeasibility only that the cheapest selection for each budget does not refute
            it. `value` is not recomputed, since that takes the selection.
        """
        price = np.asarray(self.price)
        if price.shape != (problem.n_resources,) or not (np.isfinite(price).all() and (price >= 0).all()):
            return False
        if self.split is not None and (
            self.split.shape != (problem.n_groups, problem.n_choices) or not np.isfinite(self.split).all()
        ):
            return False
        if self.status is Status.INFEASIBLE:
            if self.bound != float("inf"):
                return False
            if is_search_ground(self.ground):
                return not _cheapest_fits(problem)
            return farkas_excess(problem, price) > 0
        if self.status in (Status.OPTIMAL, Status.FEASIBLE):
            rounding = same_to_rounding(problem) + rounding_of(self.value)
            if not _fits(self.ground, self.status) or not self.value >= self.bound - rounding:
                return False
            if self.ground == GROUND_DUAL and not self.value - self.bound <= min(self.tolerance, rounding):
                return False
        return self.bound <= lagrangian_bound(problem, price, self.split)


def _cheapest_fits(problem: Problem) -> bool:
    """Whether the cheapest selection for one of the budgets is within all of them; with further rows it cannot tell."""
    if problem.rows is not None:
        return False
    for row in problem.cost:
        least = np.minimum.reduceat(row, problem.start[:-1])
        at = np.where(row == least[problem.group], np.arange(problem.n_choices), problem.n_choices)
        cheapest = np.minimum.reduceat(at, problem.start[:-1])
        if (problem.cost[:, cheapest].sum(axis=1) <= problem.budget).all():
            return True
    return False


@dataclasses.dataclass(frozen=True)
class LeastBudgets:
    """What would make an infeasible problem feasible, one budget at a time.

    Attributes
    ----------
    budget
        For each resource the least budget that works while the other budgets stay, None where the others already rule
        out every selection.
    unproved
        The resources for which time ran out before the proof: a smaller budget may work too, or some where it is None.
    interrupted
        The user stopped the search.
    """

    budget: tuple[int | None, ...]
    unproved: tuple[int, ...] = ()
    interrupted: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """An answer after the front door has recomputed and certified it.

    Attributes
    ----------
    choice
        ``(n_groups,)`` int64 labels, or None.
    value
        Sum of the chosen values, rounded once; nan without a choice.
    cost
        The exact costs, one per resource; empty without a choice.
    budget
        The budgets of the problem that was solved.
    status
        What is known.
    bound
        No feasible selection has a smaller value: `value` itself when the search was exhausted, else the certificate's.
    certificate
        The proof.
    solver
        `repr` of the solver.
    seed
        The seed that it was given.
    seconds
        Wall time of the call.
    stats
        Counts that the solver reported.
    least
        Where the problem is infeasible: finds the least budgets, see `least_budgets`. None otherwise.
    auxiliary
        ``(n_auxiliary,)`` int64 values of the auxiliary binaries of `Problem.rows`, or None.
    reason
        The solver's own reason why there is no selection, where it has one.
    """

    choice: NDArray[np.int64] | None
    value: float
    cost: tuple[int, ...]
    budget: tuple[int, ...]
    status: Status
    bound: float
    certificate: Certificate
    solver: str
    seed: int
    seconds: float
    stats: Mapping[str, Any]
    least: Callable[[], LeastBudgets] | None = dataclasses.field(default=None, repr=False)
    auxiliary: NDArray[np.int64] | None = None
    reason: str = ""

    def __repr__(self) -> str:
        """What was found, and what is known of it."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        return self._face().html()

    def _face(self) -> Face:
        facts = [("reason", self.reason)] if self.reason else []
        if self.choice is not None:
            facts.append(("choice", _some(self.choice, 24)))
            for at, (cost, budget) in enumerate(zip(self.cost[:_LISTED], self.budget, strict=False)):
                share = f" ({percent(cost / budget)})" if budget else ""
                facts.append((f"cost {at}", f"{cost:,} of {budget:,}{share}"))
            facts.append(("bound", f"{number(self.bound, 8)} (gap {number(self.gap, 3)})"))
        facts.append(("ground", self.certificate.ground))
        facts.append(("solver", f"{self.solver}, seed {self.seed}, {self.seconds:.3g} seconds"))
        value = "" if self.choice is None else f", value {number(self.value, 8)}"
        return Face(f"Solution: {self.status.value}{value}", tuple(facts))

    @cached_property
    def least_budgets(self) -> LeastBudgets:
        """The least budgets that work; sought when this is first read, which takes many solves. Empty if feasible."""
        return LeastBudgets(()) if self.least is None else self.least()

    @property
    def least_budget(self) -> tuple[int | None, ...]:
        """`LeastBudgets.budget` of `least_budgets`, where the problem is infeasible; empty otherwise."""
        return self.least_budgets.budget

    @property
    def gap(self) -> float:
        """Value less bound; nan without a value."""
        return self.value - self.bound

    @property
    def relative_gap(self) -> float:
        """Gap over the larger magnitude of value and bound; 0 where the gap is 0, nan without a value."""
        if self.gap == 0:
            return 0.0
        return self.gap / max(abs(self.value), abs(self.bound))

    def require(self) -> Solution:
        """Return this solution where it has a selection, and raise where it has none.

        Returns
        -------
        solution
            This solution, with a `choice`.

        Raises
        ------
        NoSolution
            When there is none; the message says why, and which budgets work.
        """
        if self.choice is not None:
            return self
        if self.reason and self.status is not Status.INFEASIBLE:
            raise NoSolution(f"{self.solver}: {self.reason}")
        if self.status is not Status.INFEASIBLE:
            raise NoSolution(
                f"{self.solver} {self.status.value} after {self.seconds:.1f} seconds: give it more seconds, "
                "or use 'exact'"
            )
        words = [
            f"budget[{resource}] = {self.budget[resource]}: {self._what_works(resource, least)}"
            for resource, least in enumerate(self.least_budget)
        ]
        raise NoSolution("no selection is within every budget; " + "; ".join(words))

    def _what_works(self, resource: int, least: int | None) -> str:
        if resource in self.least_budgets.unproved:
            return "no value that works was found in time" if least is None else f"the least found in time is {least}"
        return "no value of it works while the others stay" if least is None else f"the least that works is {least}"
