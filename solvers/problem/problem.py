"""The multiple-choice knapsack problem as arrays, checked once."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidProblem
from .arrays import as_array, at_least_1d, floats, integers
from .checks import check_entries, check_not_negative, check_shapes
from .face import groups_grid, problem_face
from .measures import measured
from .pairs import check_pairs
from .rows import check_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ..display.faces import Face
    from .measures import Measures
    from .pairs import Pairs
    from .rows import Rows


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Choose one choice per group; minimise the total value within every budget.

    Choices lie flat: group ``g`` owns the positions ``start[g]:start[g + 1]`` of every array. The arrays are copied,
    checked and made read-only, so a `Problem` that exists is sound.

    Attributes
    ----------
    value
        ``(n_choices,)`` float64, finite; lower is better. Negative values are welcome.
    cost
        ``(n_resources, n_choices)`` int64, at least 0: exact units such as bytes, bit operations or nanoseconds. The
        largest cost of each group sums to less than 2**63 for every resource.
    budget
        ``(n_resources,)`` int64, inclusive upper limits.
    start
        ``(n_groups + 1,)`` int64, rising from 0 to ``n_choices``; no group is empty.
    label
        ``(n_choices,)`` int64, what the caller calls the choice; no label twice in a group.
    rows
        Further linear constraints on the choices, or None. Only some solvers take them (``supports`` says which), and
        the bound of a certificate does without them: it holds, but it is not as sharp.
    pairs
        Terms that are added to the value where two choices are both made, or None. Only `Pairwise` and `Enumerate`
        take them.

    Raises
    ------
    InvalidProblem
        With the name, position and value of the first entry that breaks a rule.
    """

    value: NDArray[np.float64]
    cost: NDArray[np.int64]
    budget: NDArray[np.int64]
    start: NDArray[np.int64]
    label: NDArray[np.int64]
    rows: Rows | None = None
    pairs: Pairs | None = None

    def __post_init__(self) -> None:
        """Copy, check and freeze the arrays."""
        start = integers("start", self.start, 1)
        value = floats("value", self.value)
        cost = integers("cost", self.cost, 2)
        budget = integers("budget", at_least_1d("budget", self.budget), 1)
        label = integers("label", self.label, 1)
        check_shapes(start, value, cost, budget, label)
        check_entries(start, value, cost, label)
        if self.rows is not None:
            check_rows(self.rows, len(value))
        if self.pairs is not None:
            check_pairs(self.pairs, np.repeat(np.arange(len(start) - 1), np.diff(start)))
        for name, array in (("value", value), ("cost", cost), ("budget", budget), ("start", start), ("label", label)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def from_table(
        cls,
        value: ArrayLike,
        cost: ArrayLike,
        budget: ArrayLike,
        *,
        maximise: bool = False,
        at_least: ArrayLike | None = None,
    ) -> Problem:
        """Build a problem from rectangular tables, one row per group.

        Parameters
        ----------
        value
            ``(n_groups, n_columns)`` float; nan marks a choice that is not allowed and is left out, and so does an
            entry that is masked by NumPy, None, or NA of pandas.
        cost
            ``(n_groups, n_columns)`` or ``(n_resources, n_groups, n_columns)``, integers; one that is missing in any
            of these ways marks a choice that is not allowed, too.
        budget
            ``(n_resources,)`` integers, or one integer.
        maximise
            Whether a greater value is better: the problem then holds the negated values, and so do its solutions.
        at_least
            ``(n_resources,)`` integers, or one: the least that a selection must cost in total; 0 or less asks for
            nothing. Each minimum becomes a resource behind the others, which counts how much less than its costliest
            choice each group takes.

        Returns
        -------
        problem
            The problem; the label of a choice is its column.

        Raises
        ------
        InvalidProblem
            When a shape or an entry is wrong; a row that is nan throughout is an empty group.
        """
        values = as_array("value", value, gaps=True)
        if values.ndim != 2:
            raise InvalidProblem(f"value has {values.ndim} dimensions: from_table takes (n_groups, n_columns)")
        costs = as_array("cost", cost, gaps=True)
        if costs.ndim not in (2, 3) or costs.shape[-2:] != values.shape:
            raise InvalidProblem(
                f"cost has shape {np.shape(cost)}: for a value of shape {values.shape} it must be {values.shape} "
                f"or (n_resources, {values.shape[0]}, {values.shape[1]})"
            )
        numbers = floats("value", values, nan=True)
        if maximise:
            numbers = 0.0 - numbers  # so that a zero keeps its sign
        unknown = costs != costs  # nan, also in an array of objects
        allowed = ~np.isnan(numbers) & ~(unknown if unknown.ndim == 2 else unknown.any(axis=0))
        costs = integers("cost", np.where(allowed, costs, 0), costs.ndim)
        check_not_negative(costs)
        counts = allowed.sum(axis=1)
        if len(counts) and not counts.all():
            group = int(np.argmin(counts > 0))
            raise InvalidProblem(
                f"group {group} is empty: every entry of value[{group}] is nan, or has a cost that is, so nothing is "
                "allowed"
            )
        columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
        problem = cls(
            value=numbers[allowed],
            cost=np.atleast_2d(costs[..., allowed]),
            budget=integers("budget", at_least_1d("budget", budget), 1),
            start=np.concatenate([[0], np.cumsum(counts)]),
            label=columns[allowed],
        )
        return problem if at_least is None else problem._with_minima(at_least)

    def _with_minima(self, at_least: ArrayLike) -> Problem:
        minima = integers("at_least", at_least_1d("at_least", at_least), 1)
        if len(minima) != self.n_resources:
            raise InvalidProblem(f"at_least has {len(minima)} entries for {self.n_resources} resources: give one each")
        asked = np.flatnonzero(minima > 0)
        most = np.maximum.reduceat(self.cost[asked], self.start[:-1], axis=1)
        room = [sum(row.tolist()) - int(minima[at]) for row, at in zip(most, asked, strict=True)]
        return dataclasses.replace(
            self,
            cost=np.concatenate([self.cost, most.repeat(self.size, axis=1) - self.cost[asked]]),
            budget=np.concatenate([self.budget, np.array(room, dtype=np.int64)]),
        )

    def __repr__(self) -> str:
        """How large the problem is, and what its budgets leave."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook, with a line for each group."""
        return self._face().html(groups_grid(self.value, self.cost, self.start))

    def _face(self) -> Face:
        more = [] if self.rows is None else [("rows", f"{self.rows.n_rows:,} further ones")]
        more += [] if self.pairs is None else [("pairs", f"{self.pairs.n_pairs:,} terms between two choices")]
        return problem_face(self.value, self.cost, self.budget, self.start, tuple(more))

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return len(self.start) - 1

    @property
    def n_choices(self) -> int:
        """How many choices there are over all groups."""
        return len(self.value)

    @property
    def n_resources(self) -> int:
        """How many budgets there are."""
        return len(self.budget)

    @cached_property
    def size(self) -> NDArray[np.int64]:
        """``(n_groups,)`` how many choices each group has."""
        return self.start[1:] - self.start[:-1]

    @cached_property
    def group(self) -> NDArray[np.int64]:
        """``(n_choices,)`` the group of each choice."""
        return np.repeat(np.arange(self.n_groups), self.size)

    @cached_property
    def _measures(self) -> Measures:
        return measured(self.cost, self.start)

    def measure(self) -> None:
        """Find what the groups and costs say by themselves now, so that problems made of this one share it."""
        _ = self._measures, self.size, self.group

    @property
    def least_cost(self) -> tuple[int, ...]:
        """The sum over groups of the least cost, resource by resource: no budget below it can be met."""
        return self._measures.least

    @property
    def above(self) -> NDArray[np.int64]:
        """``(n_resources, n_choices)`` costs above the least of their group."""
        return self._measures.above

    @cached_property
    def room(self) -> tuple[int, ...]:
        """What each budget leaves above the least costs; negative where it cannot be met.

        It is rounded down to a multiple of the common divisor of the costs above the least of their group: the rest
        cannot be spent, and a price on it would only widen the gap (a rounding cut in the sense of Chvatal and Gomory).
        """
        room = []
        for budget, total, divisor in zip(self.budget.tolist(), self.least_cost, self._measures.divisor, strict=True):
            left = budget - total
            room.append(left - left % divisor if divisor else left)
        return tuple(room)

    @cached_property
    def fits(self) -> NDArray[np.bool_]:
        """``(n_choices,)`` whether a choice is within every budget when all other groups cost their least.

        Where nothing in a group fits, all its choices count as fitting; that the problem is infeasible is found
        elsewhere.
        """
        fits = np.ones(self.n_choices, dtype=bool)
        if not self._everything_fits:
            for row, left in zip(self.above, self.room, strict=True):
                fits &= row <= left
            none = ~np.logical_or.reduceat(fits, self.start[:-1])
            fits |= none[self.group]
        fits.setflags(write=False)
        return fits

    @cached_property
    def all_fit(self) -> bool:
        """Whether every choice counts as fitting, see `fits`."""
        return self._everything_fits or bool(self.fits.all())

    @property
    def _everything_fits(self) -> bool:
        return all(most <= left for most, left in zip(self._measures.most, self.room, strict=True))

    def position(self, labels: ArrayLike) -> NDArray[np.int64]:
        """Where a selection given by labels lies in the flat arrays.

        Parameters
        ----------
        labels
            ``(n_groups,)`` integers, the label chosen in each group.

        Returns
        -------
        position
            ``(n_groups,)`` int64 indices into `value`.

        Raises
        ------
        InvalidProblem
            When the length is wrong or a group has no such label.
        """
        wanted = integers("selection", labels, 1)
        if len(wanted) != self.n_groups:
            raise InvalidProblem(f"the selection has {len(wanted)} entries for {self.n_groups} groups")
        hit = self.label == np.repeat(wanted, self.size)
        found = np.add.reduceat(hit, self.start[:-1])
        if not found.all():
            group = int(np.argmin(found))
            own = self.label[self.start[group] : self.start[group + 1]]
            raise InvalidProblem(
                f"selection[{group}] is {wanted[group]}: group {group} has the labels {own[:20].tolist()}"
            )
        return np.flatnonzero(hit)

    def terms(self, choice: NDArray[np.int64]) -> list[float]:
        """What the value of a selection, given as ``(n_groups,)`` positions, is the sum of."""
        own: list[float] = self.value[choice].tolist()
        return own if self.pairs is None else own + self.pairs.among(choice)

    def equivalent(self, *, value: NDArray[np.float64], cost: NDArray[np.int64], budget: NDArray[np.int64]) -> Problem:
        """The same groups, labels, rows and pairs with other numbers of the same shapes, which are not checked."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        if cost is not self.cost:
            twin.__dict__.pop("_measures", None)
        if cost is not self.cost or budget is not self.budget:
            for name in ("room", "fits", "all_fit"):
                twin.__dict__.pop(name, None)
        for name, array in (("value", value), ("cost", cost), ("budget", budget)):
            array.setflags(write=False)
            object.__setattr__(twin, name, array)
        return twin

    def above_least(self, value: NDArray[np.float64]) -> Problem:
        """The same problem with other values and without what the costs of a group have in common."""
        budget = np.array(self.room, dtype=np.int64)
        twin = self.equivalent(value=value, cost=self.above, budget=budget)
        none = (0,) * self.n_resources
        object.__setattr__(twin, "_measures", dataclasses.replace(self._measures, least=none))
        for name in ("room", "fits", "all_fit"):
            if name in self.__dict__:
                object.__setattr__(twin, name, getattr(self, name))
        return twin

    def with_pairs(self, pairs: Pairs | None) -> Problem:
        """The same problem with other pairwise terms, or with none."""
        if pairs is not None:
            check_pairs(pairs, self.group)
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        object.__setattr__(twin, "pairs", pairs)
        return twin

    def with_budget(self, budget: ArrayLike) -> Problem:
        """The same problem under other budgets, ``(n_resources,)`` integers."""
        limits = integers("budget", at_least_1d("budget", budget), 1)
        check_shapes(self.start, self.value, self.cost, limits, self.label)
        return self.equivalent(value=self.value, cost=self.cost, budget=limits)
