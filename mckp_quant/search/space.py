"""The policies that a search may choose from: formats for each group, at exact costs, within every budget."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..allocation.left_in_float import as_indexed
from ..errors import InvalidInput
from ..policy.policy import Policy
from ..solvers import NoSolution, solve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..allocation.index import Index
    from ..formats.format import Format
    from ..solvers import Problem
    from ..tables.table import SensitivityTable

Genome = tuple[int, ...]


class Space:
    """The policies of a problem, as genomes.

    A genome holds for every group (a layer, or a tied set) the rank of its format in the order of cost: 0 is the
    cheapest. With several budgets the order is by the sum of the shares of them. As many numbers more may follow: the
    widths of the ranges of the groups' inputs, in per cent of the table's, where formats quantise them. Everything
    that a search tries is a genome, and whether it is within the budgets is decided here, in exact integers.

    Parameters
    ----------
    table
        The table: layers, formats, and which of them are allowed where. Its losses may guide a search.
    problem
        The problem that was built from it.
    index
        What the problem's groups and labels mean.

    Attributes
    ----------
    size
        ``(n_groups,)`` int64: how many formats each group may have.

    Raises
    ------
    InvalidInput
        When the problem has constraints besides budgets.
    NoSolution
        When no policy is within the budgets.
    """

    def __init__(self, table: SensitivityTable, problem: Problem, index: Index) -> None:
        if problem.rows is not None:
            raise InvalidInput(
                "a search on the network keeps budgets, ties, pins and choices, and no further constraints: leave "
                "constraints= out, or use allocate()"
            )
        self._table, self._problem, self._index = as_indexed(table, index), problem, index
        share = (1.0 / np.maximum(problem.budget, 1)) @ problem.cost
        order = np.lexsort((problem.label, share, problem.group))
        self._start = problem.start[:-1]
        self._label, self._cost = problem.label[order], problem.cost[:, order]
        self._value = problem.value[order]
        self.size: NDArray[np.int64] = problem.size
        self.budget: tuple[int, ...] = tuple(problem.budget.tolist())
        # Where repair gets stuck it takes the cheapest policy, and none that the table recommends: searches without
        # guidance must not learn of those.
        found = solve(dataclasses.replace(problem, value=share), "exact")
        if found.choice is None:
            raise NoSolution("no policy is within the budgets, so there is nothing to search: ask allocate() why")
        self._within = self._genome_of(found.choice)

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self.size)

    @property
    def groups(self) -> dict[str, int]:
        """The group of every layer, by the layer's name."""
        return {self._index.layer_names[row]: group for group, rows in enumerate(self._index.groups) for row in rows}

    @property
    def optimum(self) -> Genome:
        """The policy of least predicted loss that the exact solver finds: a start for searches that want one."""
        found = solve(self._problem, "exact").require()
        assert found.choice is not None
        return self._genome_of(found.choice)

    def cost(self, genome: Genome) -> tuple[int, ...]:
        """What the genome takes of every budget, in exact integers."""
        return tuple(int(used) for used in self._cost[:, self._at(genome)].sum(axis=1))

    def costs(self, group: int) -> NDArray[np.int64]:
        """``(n_budgets, size)`` what each rank of a group takes of every budget."""
        first = int(self._start[group])
        return self._cost[:, first : first + int(self.size[group])]

    def fits(self, genome: Genome) -> bool:
        """Whether the genome is within every budget."""
        return all(used <= most for used, most in zip(self.cost(genome), self.budget, strict=True))

    def policy(self, genome: Genome) -> Policy:
        """The policy, with what the table predicts for it (at the table's own ranges)."""
        policy = Policy.on_table(self._table, self._index.policy_formats(self._label[self._at(genome)]))
        widths = genome[len(self) :]
        if not widths or policy.ranges is None:
            return policy
        share = {name: widths[group] / 100 for name, group in self.groups.items()}
        ranges = {
            (name, scheme): (share[name] * low, share[name] * high)
            for (name, scheme), (low, high) in policy.ranges.ranges.items()
        }
        return dataclasses.replace(policy, ranges=dataclasses.replace(policy.ranges, rule="searched", ranges=ranges))

    def genome(self, policy: Policy) -> Genome:
        """The genome of a policy.

        Parameters
        ----------
        policy
            A policy that gives one of the allowed formats to every layer, and one to each tied set.

        Returns
        -------
        genome
            It may exceed the budgets: ask `fits`.

        Raises
        ------
        InvalidInput
            When a format is not allowed for its layer, or a tied set has several.
        """
        labels = []
        for group, rows in enumerate(self._index.groups):
            names = {policy[self._index.layer_names[row]].name for row in rows}
            label = self._table.column(min(names))
            here = self._label[self._start[group] : self._start[group] + self.size[group]]
            if len(names) > 1 or label not in here:
                layer = self._index.layer_names[rows[0]]
                raise InvalidInput(
                    f"the policy gives {' and '.join(sorted(names))} to the group of layer {layer!r}: that is not one "
                    "of the formats that the search may choose there"
                )
            labels.append(label)
        return self._genome_of(np.array(labels))

    def formats(self, group: int) -> tuple[Format, ...]:
        """The formats of a group, by rank."""
        return tuple(self._index.formats[label] for label in self._labels(group).tolist())

    def predicted(self, genome: Genome) -> float:
        """The loss that the table predicts, in its unit."""
        return float(self._value[self._at(genome)].sum())

    def harm(self) -> NDArray[np.float64]:
        """``(n_groups, max(size))`` the predicted loss of every group in every rank; inf where there is none."""
        table = np.full((len(self), int(self.size.max())), np.inf)
        for group, (first, count) in enumerate(zip(self._start, self.size, strict=True)):
            table[group, :count] = self._value[first : first + count]
        return table

    def uniform(self) -> list[Genome]:
        """The policies with one format for all groups that allow it, the dearest first; each within the budgets."""
        found = []
        for label in sorted(set(self._label.tolist())):
            match = [np.flatnonzero(self._labels(group) == label) for group in range(len(self))]
            if all(len(ranks) for ranks in match):
                genome = tuple(int(ranks[0]) for ranks in match)
                if self.fits(genome):
                    found.append(genome)
        return sorted(found, key=self.cost, reverse=True)

    def neighbours(self, genome: Genome) -> Iterator[Genome]:
        """Every genome within the budgets that is one rank higher in one group."""
        for group in range(len(self)):
            if genome[group] + 1 < self.size[group]:
                raised = (*genome[:group], genome[group] + 1, *genome[group + 1 :])
                if self.fits(raised):
                    yield raised

    def random(self, rng: np.random.Generator) -> Genome:
        """A policy within the budgets: ranks at random, lowered at random, and then raised at random while that fits.

        Parameters
        ----------
        rng
            The source of randomness.

        Returns
        -------
        genome
            No group of it can be raised by a rank.
        """
        return self.filled(self.repaired(tuple(rng.integers(0, self.size).tolist()), rng), rng)

    def repaired(self, genome: Genome, rng: np.random.Generator, harm: NDArray[np.float64] | None = None) -> Genome:
        """Bring a genome within the budgets by lowering groups, one rank at a time.

        Parameters
        ----------
        genome
            Ranks.
        rng
            Decides which group is lowered, where `harm` does not.
        harm
            ``(n_groups, max(size))`` what each rank does to the loss: the group is lowered that loses least per cost
            shed (as shares of the budgets that are exceeded). By default groups are lowered at random.

        Returns
        -------
        genome
            Within every budget.
        """
        now = list(genome)
        unit = np.maximum(self._cost.max(axis=1), 1).astype(np.float64)
        while True:
            excess = np.array(self.cost(tuple(now))) - np.array(self.budget)
            if (excess <= 0).all():
                return tuple(now)
            weight = (excess > 0) / unit
            at = self._start + now
            below = np.maximum(at - 1, self._start)
            shed = weight @ (self._cost[:, at] - self._cost[:, below])
            lower = np.flatnonzero(shed > 0)
            if not len(lower):  # ranks are in the order of all budgets together, and one budget may want another way
                return self._within
            if harm is None:
                group = int(rng.choice(lower))
            else:
                rank = np.array(now)
                loss = harm[lower, rank[lower] - 1] - harm[lower, rank[lower]]
                group = int(lower[np.argmin(loss / shed[lower])])
            now[group] -= 1

    def filled(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Raise groups in random order, a rank at a time, while the budgets allow."""
        while True:
            higher = list(self.neighbours(genome))
            if not higher:
                return genome
            genome = higher[int(rng.integers(len(higher)))]

    def switched(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Raise one group by a rank and pay for it by lowering others: the step of a budget-neutral search.

        Parameters
        ----------
        genome
            Within the budgets.
        rng
            Chooses the groups.

        Returns
        -------
        genome
            Within the budgets; the same one where nothing can be switched.
        """
        can_rise = np.flatnonzero(np.array(genome) + 1 < self.size)
        if not len(can_rise):
            return genome
        up = int(rng.choice(can_rise))
        now = list(genome)
        now[up] += 1
        others = [group for group in rng.permutation(len(self)).tolist() if group != up]
        for group in others:
            if self.fits(tuple(now)):
                break
            if now[group] > 0:
                now[group] -= 1
        switched = tuple(now)
        return switched if self.fits(switched) else genome

    def _labels(self, group: int) -> NDArray[np.int64]:
        return self._label[self._start[group] : self._start[group] + self.size[group]]

    def _at(self, genome: Genome) -> NDArray[np.int64]:
        return self._start + np.array(genome[: len(self)], dtype=np.int64)

    def _genome_of(self, labels: NDArray[np.int64]) -> Genome:
        ranks = (np.flatnonzero(self._labels(group) == label) for group, label in enumerate(labels.tolist()))
        return tuple(int(rank[0]) for rank in ranks)
