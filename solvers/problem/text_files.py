"""The literature's text files of multiple-choice knapsacks: numbers, and whatever stands behind them.

All of them maximise profit within every capacity. They begin with ``groups choices resources`` where all groups have
as many choices, or ``groups resources`` where they have not; then the capacities; then the groups, each choice as its
profit and its weights:

- Khan et al. (2002, *Solving the knapsack problem for adaptive multimedia systems*; I01 to I13, and the files of Hifi
  et al. that follow them): the number of the group, from 1, stands before its choices. Solutions in words may follow.
- Mansi et al. (2013, *A hybrid heuristic for the multiple choice multidimensional knapsack problem*): nothing does.
- Shojaei et al. (2013, *A fast and scalable multidimensional multiple-choice knapsack heuristic*): the number of its
  choices does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..errors import InvalidProblem
from .problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

Number: TypeAlias = int | float


def parse_text(text: str, source: str) -> Problem:
    """Make the problem of such a file.

    Parameters
    ----------
    text
        Its content.
    source
        Where it stands, for errors.

    Returns
    -------
    problem
        Value is the negated profit; the label of a choice is its place in its group, from 0.

    Raises
    ------
    InvalidProblem
        When the numbers are too few or too many for what the first line says, or make no problem.
    """
    first = next((line.split() for line in text.splitlines() if line.split()), [])
    head = _leading(first)
    if (
        len(head) not in (2, 3)
        or len(head) < len(first)
        or not all(isinstance(each, int) and each > 0 for each in head)
    ):
        raise InvalidProblem(
            f"{source} begins with {' '.join(first)[:60]!r}: a text file of the literature begins with the numbers of "
            "groups, choices and resources, or of groups and resources; other problems are read from .json"
        )
    numbers = _leading(text.split())[len(head) :]
    n_groups, n_resources = int(head[0]), int(head[-1])
    if len(head) == 3:
        sizes, body = _even(numbers[n_resources:], n_groups, int(head[1]), n_resources, source)
    else:
        sizes, body = _uneven(numbers[n_resources:], n_groups, n_resources, source)
    entries = [body[at : at + 1 + n_resources] for at in range(0, len(body), 1 + n_resources)]
    try:
        return Problem(
            value=-np.array([entry[0] for entry in entries], dtype=np.float64),
            cost=np.array([entry[1:] for entry in entries]).T,
            budget=np.array(numbers[:n_resources]),
            start=np.append(0, np.cumsum(sizes)),
            label=np.concatenate([np.arange(size) for size in sizes]),
        )
    except InvalidProblem as error:
        raise InvalidProblem(f"{source}: {error}") from error


def _leading(words: Iterable[str]) -> list[Number]:
    """The numbers up to the first word that is none."""
    found: list[Number] = []
    for word in words:
        try:
            found.append(int(word))
        except ValueError:
            try:
                found.append(float(word))
            except ValueError:
                break
    return found


def _even(
    numbers: list[Number], n_groups: int, n_choices: int, n_resources: int, source: str
) -> tuple[list[int], list[Number]]:
    """Sizes of groups that are all alike, and the numbers of their choices without those of the groups."""
    own = n_choices * (1 + n_resources)
    if len(numbers) == n_groups * own:
        return [n_choices] * n_groups, numbers
    if len(numbers) != n_groups * (1 + own):
        raise InvalidProblem(
            f"{source} has {len(numbers)} numbers behind the capacities: {n_groups} groups of {n_choices} choices "
            f"under {n_resources} capacities take {n_groups * own}, or {n_groups * (1 + own)} where groups are numbered"
        )
    body: list[Number] = []
    for group in range(n_groups):
        at = group * (1 + own)
        if numbers[at] != group + 1:
            raise InvalidProblem(f"{source} has {numbers[at]} where the number of group {group + 1} should stand")
        body += numbers[at + 1 : at + 1 + own]
    return [n_choices] * n_groups, body


def _uneven(numbers: list[Number], n_groups: int, n_resources: int, source: str) -> tuple[list[int], list[Number]]:
    """Sizes of groups that say their own, and the numbers of their choices."""
    sizes: list[int] = []
    body: list[Number] = []
    at = 0
    for group in range(n_groups):
        size = numbers[at] if at < len(numbers) else 0
        end = at + 1 + size * (1 + n_resources) if isinstance(size, int) else 0
        if not isinstance(size, int) or size < 1 or end > len(numbers):
            raise InvalidProblem(
                f"{source} ends within group {group + 1} of {n_groups}, or does not say there how many choices follow"
            )
        sizes.append(size)
        body += numbers[at + 1 : end]
        at = end
    if at < len(numbers):
        raise InvalidProblem(f"{source} has {len(numbers) - at} more numbers behind its {n_groups} groups")
    return sizes, body
