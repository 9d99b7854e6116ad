"""Progressively decreasing bit-width: the better a layer's features tell classes apart, the fewer bits it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import InvalidInput
from ..separability import separabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..space import Genome, Space
    from ..task import Task


@dataclass(frozen=True)
class Progressive:
    """Bits that only fall from the input to the output of the network, as classes separate.

    After Chu, Luo, Yang and Huang (2021). Known: features of the classes separate with depth, so later layers need
    fewer bits, and the assignment rests on a quantitative separability. Ours: the separability is between-class over
    within-class scatter of every layer's output, scaled to 0..1 from the first layer to the most separable one as a
    running maximum; the rank of a layer's format falls in proportion; an offset common to all layers is the largest
    that keeps the budgets. `solvers.Monotone` is its exact counterpart on a table.

    Needs targets. It runs the float network alone; only its answer is judged under quantisation.
    """

    fitness: str = "kl"
    shares: tuple[float, ...] = (1.0,)
    name: ClassVar[str] = "progressive"
    reference: ClassVar[str] = (
        "Chu, Luo, Yang and Huang (2021), Mixed-precision quantized neural networks with progressively decreasing "
        "bitwidth, Pattern Recognition 111, 107647"
    )

    def __call__(self, task: Task) -> None:
        """Make the one policy, and judge it."""
        found = separabilities(task.model, task.table.layers, task.batches, outputs=task.outputs)
        groups = task.space.groups
        order = [name for name in found if name in groups]
        if not order:
            raise InvalidInput("the network runs none of the layers of the table: nothing has features to tell apart")
        place = list(dict.fromkeys(groups[name] for name in order))
        first = {group: next(name for name in order if groups[name] == group) for group in place}
        separated = relative(np.array([found[first[group]] for group in place]))
        task.objective(falling(task.space, place, separated))


def relative(separability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Separabilities as a share of the way from the first layer to the most separable one, never falling.

    Parameters
    ----------
    separability
        ``(n,)`` in the order of the layers.

    Returns
    -------
    share
        ``(n,)`` from 0 to 1; all 0 where no layer separates the classes better than the first.
    """
    risen = np.maximum.accumulate(np.minimum(separability, np.finfo(np.float64).max))
    span = risen[-1] - risen[0]
    return (risen - risen[0]) / span if span > 0 else np.zeros(len(risen))


def falling(space: Space, order: list[int], separated: NDArray[np.float64]) -> Genome:
    """The dearest policy within the budgets whose ranks fall as the classes separate.

    Parameters
    ----------
    space
        The policies.
    order
        The groups from the input to the output; others get their dearest format that leaves room for the rest.
    separated
        ``(len(order),)`` from 0 to 1, never falling.

    Returns
    -------
    genome
        Within the budgets. Ranks never rise along `order` where all its groups have equally many formats.

    Raises
    ------
    InvalidInput
        When even the cheapest format everywhere exceeds a budget.
    """
    top = int(space.size.max()) - 1

    def at(offset: float) -> Genome:
        ranks = np.full(len(space), int(np.floor(np.clip(offset, 0, top))))
        ranks[order] = np.minimum.accumulate(np.floor(np.clip((1 - separated) * top + offset, 0, top)).astype(int))
        return tuple(np.minimum(ranks, space.size - 1).tolist())

    # Ranks change where an offset makes one of these sums whole: the cost is a step function with these steps.
    steps = np.unique(np.concatenate([np.arange(top + 1) - (1 - share) * top for share in (*separated, 1.0)]))
    offsets = np.concatenate([[-float(top)], steps, steps + 1e-9])
    fitting = [genome for genome in map(at, np.sort(offsets)) if space.fits(genome)]
    if not fitting:
        raise InvalidInput("the cheapest format of every layer exceeds a budget: allow it more, or cheaper formats")
    return max(fitting, key=lambda genome: (space.cost(genome), genome))
