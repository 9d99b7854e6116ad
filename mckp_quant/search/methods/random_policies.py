"""Policies drawn at random within the budgets: what any search must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...common.checks import check_count

if TYPE_CHECKING:
    from ..task import Task


@dataclass(frozen=True)
class RandomPolicies:
    """Judge policies drawn at random that use the budgets up, and keep the best.

    Attributes
    ----------
    policies
        How many.
    fitness
        What the network is judged by.
    """

    policies: int = 50
    fitness: str = "kl"
    shares: tuple[float, ...] = (1.0,)
    name: ClassVar[str] = "random"
    reference: ClassVar[str] = "random search"

    def __post_init__(self) -> None:
        """Refuse to draw none."""
        check_count("policies", self.policies, 1)

    def __call__(self, task: Task) -> None:
        """Search."""
        for _ in range(self.policies):
            task.objective(task.space.random(task.rng))
