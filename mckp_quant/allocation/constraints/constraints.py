"""Constraints beyond budgets, as linear rows over the choices: few formats, few changes, chains, conversions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...common.checks import check_count
from ...errors import InvalidInput, unknown
from ...solvers import Rows
from .conversions import NO_LIMIT, conversion_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...policy.policy import Policy
    from ...solvers import Problem
    from ..index import Index
    from .conversion import Conversion
    from .conversions import Row


@dataclass(frozen=True)
class Constraints:
    """Constraints on a policy as a whole.

    Attributes
    ----------
    max_formats
        The most distinct formats that it may have, pinned layers counted; None for no limit.
    previous, max_changes
        At most so many layers may have another format than in this policy; both or neither.
    falling
        Lists of layers along which weight bits must never rise.
    rising
        Lists of layers along which they must never fall.
    conversions
        Costs where neighbours have different formats; they count in a budget.

    Raises
    ------
    InvalidInput
        When a limit makes no sense.
    """

    max_formats: int | None = None
    previous: Policy | None = None
    max_changes: int | None = None
    falling: Sequence[Sequence[str]] = ()
    rising: Sequence[Sequence[str]] = ()
    conversions: Sequence[Conversion] = ()

    def __post_init__(self) -> None:
        """Refuse limits that make no sense."""
        if (self.previous is None) != (self.max_changes is None):
            raise InvalidInput("previous and max_changes belong together: give both or neither")
        for name, least in (("max_formats", 1), ("max_changes", 0)):
            given = getattr(self, name)
            if given is not None:
                check_count(name, given, least)
        for names in (*self.falling, *self.rising):
            if isinstance(names, str):
                raise InvalidInput(f"the chain {names!r} is one text: give the names of its layers one by one")

    def rows(self, problem: Problem, index: Index) -> Rows | None:
        """State the constraints as rows.

        Parameters
        ----------
        problem
            The problem without rows.
        index
            What its groups and labels mean.

        Returns
        -------
        rows
            The rows, or None where there are none. `max_formats` brings one auxiliary binary per format, and each edge
            of `conversions` one for each pair of formats that convert in another way.

        Raises
        ------
        InvalidInput
            When a layer or a format is unknown, or conversions count in what has no budget.
        """
        found: list[Row] = []
        extra = 0
        if self.max_formats is not None:
            found, extra = _distinct(problem, self.max_formats)
        if self.previous is not None and self.max_changes is not None:
            found.append(_changes(problem, index, self.previous, self.max_changes))
        for names in (*self.falling, *(names[::-1] for names in self.rising)):
            found += _falling(problem, index, names)
        if self.conversions:
            more, taken = conversion_rows(problem, index, self.conversions, problem.n_choices + extra)
            found, extra = found + more, extra + taken
        if not found:
            return None
        return Rows(
            indptr=np.cumsum([0, *(len(row) for row, _, _ in found)]),
            indices=np.array([at for row, _, _ in found for at in row], dtype=np.int64),
            coefficients=np.array([entry for row, _, _ in found for entry in row.values()], dtype=np.int64),
            lower=np.array([lower for _, lower, _ in found]),
            upper=np.array([upper for _, _, upper in found]),
            n_auxiliary=extra,
        )


def _distinct(problem: Problem, most: int) -> tuple[list[Row], int]:
    """A binary per format, at least every choice of it; their sum is limited."""
    labels = np.unique(problem.label).tolist()
    binary = {label: problem.n_choices + number for number, label in enumerate(labels)}
    rows = [({at: 1, binary[label]: -1}, -NO_LIMIT, 0) for at, label in enumerate(problem.label.tolist())]
    rows.append((dict.fromkeys(binary.values(), 1), -NO_LIMIT, most))
    return rows, len(labels)


def _changes(problem: Problem, index: Index, previous: Policy, most: int) -> Row:
    """How many layers each choice would change."""
    known = dict(zip(previous.layer_names, previous.formats, strict=True))
    missing = next((name for name in index.layer_names if name not in known), None)
    if missing is not None:
        raise unknown("layer of the previous policy", missing, known)
    row: dict[int, int] = {}
    for at, (group, label) in enumerate(zip(problem.group.tolist(), problem.label.tolist(), strict=True)):
        changed = sum(known[index.layer_names[each]].name != index.formats[label].name for each in index.groups[group])
        if changed:
            row[at] = changed
    return row, -NO_LIMIT, most


def _falling(problem: Problem, index: Index, names: Sequence[str]) -> list[Row]:
    """For each two neighbours of different groups: bits before less bits after are at least 0."""
    group_of = {index.layer_names[row]: group for group, rows in enumerate(index.groups) for row in rows}
    for name in names:
        if name not in group_of:
            raise unknown("layer", name, index.layer_names)
    chain = [group_of[name] for name in names]
    rows: list[Row] = []
    for before, after in itertools.pairwise(chain):
        if before != after:
            row = {
                at: sign * index.formats[problem.label[at]].weight_bits
                for group, sign in ((before, 1), (after, -1))
                for at in range(problem.start[group], problem.start[group + 1])
            }
            rows.append((row, 0, NO_LIMIT))
    return rows
