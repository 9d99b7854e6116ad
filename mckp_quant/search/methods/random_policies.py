"""Policies drawn at random within the budgets: what any search must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...errors import InvalidInput

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
        if self.policies < 1:
            raise InvalidInput(f"policies = {self.policies}: draw at least one")

    def __call__(self, task: Task) -> None:
        """Search."""
        for _ in range(self.policies):
            task.objective(task.space.random(task.rng))
