"""Bit-widths relaxed from discrete to continuous, found by gradient descent, and rounded within the budgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from ...common.checks import check_count, check_positive
from ...network.batches import float_logits
from ...solvers import Problem, solve
from ..interpolation import Interpolated
from ..relaxed_budgets import RelaxedBudgets

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..space import Genome
    from ..task import Task

_MOMENTUM, _METRIC = 0.9, 0.99  # how much of the mean gradient, and of its mean square, is kept from step to step
_FLATTEST = 1e-3  # of the steepest slope: flatter ones are stepped along as if they were that steep


@dataclass(frozen=True)
class Differentiable:
    """Gradient descent on continuous ranks, one a group.

    After Guo et al. (2019). Known: the bit-width is relaxed from discrete to continuous and searched by gradients,
    down to nearly binary networks. Ours: between two neighbouring formats a weight is interpolated,
    ``(1 - t) Q_floor(w) + t Q_ceil(w)`` (at whole ranks it is the quantised weight itself); the loss is the divergence
    from the float network, on one batch a step; steps are scaled as Adam's, and then projected back
    into the budgets; weights are not trained. The ranks are rounded by a
    small knapsack: for every group floor or ceiling, at the loss that the mean gradient of the last third of the steps
    says, exactly within the budgets. `solvers.Relax` is its counterpart on a table.

    Attributes
    ----------
    steps
        Steps of gradient descent, each some three passes of the network over one batch.
    rate
        The size of a step, in ranks.
    fitness
        What the rounded policy is judged by.
    """

    steps: int = 100
    rate: float = 0.1
    fitness: str = "kl"
    shares: tuple[float, ...] = (1.0,)
    name: ClassVar[str] = "differentiable"
    reference: ClassVar[str] = (
        "Guo, Huang, Cheng, Li, Wen, Ma, Li and Chen (2019), automatic search of bit-widths by relaxing them from "
        "discrete to continuous, AICAS, 276-278"
    )

    def __post_init__(self) -> None:
        """Refuse steps that lead nowhere."""
        check_count("steps", self.steps, 1)
        check_positive("rate", self.rate)

    def __call__(self, task: Task) -> None:
        """Descend from the middle of the budgets, round, and judge the rounded policy."""
        network = Interpolated(task.model, task.table, task.space, task.bank)
        take = task.outputs.logits
        wanted = float_logits(task.model, task.batches, take)

        def gradient(rank: NDArray[np.float64], step: int) -> NDArray[np.float64]:
            at = torch.tensor(rank, requires_grad=True)
            batch, target = task.batches[step % len(wanted)], wanted[step % len(wanted)]
            loss = task.outputs.distribution.mean_divergence(network(at, batch, take), target, batch)
            (found,) = torch.autograd.grad(loss, at)
            slope: NDArray[np.float64] = np.nan_to_num(found.numpy())
            return slope

        rank, slope = self.descend(RelaxedBudgets(task.space), gradient)
        task.objective(rounded(task, rank, slope))

    def descend(
        self, relaxed: RelaxedBudgets, gradient: Callable[[NDArray[np.float64], int], NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Projected gradient descent within the relaxed budgets, from the point between the cheapest and the dearest.

        Parameters
        ----------
        relaxed
            The budgets.
        gradient
            From ``(n_groups,)`` ranks and the number of the step to ``(n_groups,)`` slopes of the loss.

        Returns
        -------
        rank, slope
            ``(n_groups,)`` float64: the mean over the last third of the steps of where they were, and of the gradient.
        """
        rank = relaxed.project(relaxed.top, relaxed.top)
        mean, square, slope, average = np.zeros((4, len(rank)))
        kept = 0
        for step in range(self.steps):
            found = gradient(rank, step)
            mean = _MOMENTUM * mean + (1 - _MOMENTUM) * found
            square = _METRIC * square + (1 - _METRIC) * found**2
            scale = np.sqrt(square / (1 - _METRIC ** (step + 1)))
            scale = np.maximum(scale, _FLATTEST * scale.max() or 1.0)
            move = self.rate * mean / (1 - _MOMENTUM ** (step + 1)) / scale
            rank = relaxed.project(rank - move, relaxed.charge(rank) / scale)
            if 3 * step >= 2 * (self.steps - 1):
                slope, average, kept = slope + found, average + rank, kept + 1
        return relaxed.project(average / kept, relaxed.top), slope / kept


def rounded(task: Task, rank: NDArray[np.float64], slope: NDArray[np.float64]) -> Genome:
    """Floor or ceiling for every group, at the least loss that the slopes say, within the budgets.

    Parameters
    ----------
    task
        With the space, and randomness for the rare case that the floors exceed a budget.
    rank
        ``(n_groups,)`` float64 continuous ranks.
    slope
        ``(n_groups,)`` float64 of the loss at these ranks, in any unit.

    Returns
    -------
    genome
        Within every budget.
    """
    space = task.space
    floor = np.floor(rank).astype(np.int64)
    pair = np.stack([floor, np.minimum(floor + 1, space.size - 1)], axis=1)
    value = slope[:, None] * (pair - rank[:, None])
    value[pair[:, 0] == pair[:, 1], 1] = np.nan
    cost = np.stack([space.costs(group)[:, ranks] for group, ranks in enumerate(pair)], axis=1)
    solution = solve(Problem.from_table(value, cost, space.budget))
    if solution.choice is None:
        return space.repaired(tuple(floor.tolist()), task.rng, space.harm())
    return tuple(pair[np.arange(len(space)), solution.choice].tolist())
