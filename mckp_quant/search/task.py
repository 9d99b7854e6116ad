"""What a search method is given, what it is, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from ..network.outputs import Outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from torch import nn

    from ..network.batch import Batch
    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from ..tables.table import SensitivityTable
    from .objective import Objective
    from .space import Space


@dataclass(frozen=True, eq=False)
class Task:
    """All that a method may use.

    Attributes
    ----------
    model
        The float network; a method leaves it as it was.
    batches
        The calibration data.
    table
        The sensitivities, for guidance.
    space
        The policies to choose from.
    objective
        What a policy is worth on the real network. It may raise `Spent`, which a method lets pass.
    rng
        The only source of randomness.
    outputs
        What the network returns, and what its numbers mean.
    bank
        The weights in every format; None where they are rounded to nearest.
    """

    model: nn.Module
    batches: Sequence[Batch]
    table: SensitivityTable
    space: Space
    objective: Objective
    rng: np.random.Generator
    outputs: Outputs = Outputs()
    bank: WeightBank | None = None


@runtime_checkable
class Method(Protocol):
    """A search: a frozen dataclass whose fields are its options.

    Attributes
    ----------
    name
        What it is called.
    reference
        Author, year, title; and what of it is a reconstruction.
    fitness
        One of `fitness.FITNESS`, used where the caller gives none.
    shares
        What share of the calibration data each level of its objective sees; the last is 1.
    """

    name: ClassVar[str]
    reference: ClassVar[str]

    @property
    def fitness(self) -> str:
        """The fitness that it uses where the caller gives none."""

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of the data on which it judges."""

    def __call__(self, task: Task) -> None:
        """Search; the best that the objective was asked about is the answer."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Attributes
    ----------
    policy
        The best policy, within every budget; with the table's prediction.
    fitness
        Its fitness on the calibration data, lower is better. It was chosen for being low, so it flatters: judge it on
        other data.
    evaluations
        Whole passes of a quantised network over the calibration data that were paid for.
    seconds
        Wall time of this run.
    stopped
        ``"finished"``, ``"evaluations"``, ``"seconds"`` or ``"interrupted"``.
    history
        For each improvement the evaluations made until then, and the fitness.
    method
        The method with its options.
    """

    policy: Policy
    fitness: float
    evaluations: float
    seconds: float
    stopped: str
    history: tuple[tuple[float, float], ...]
    method: str
