"""A cost between neighbours of different formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

from ...errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...formats.format import Format


@dataclass(frozen=True)
class Conversion:
    """A cost on edges of the network, beside the costs of layers.

    Attributes
    ----------
    resource
        The budget that it counts in, such as ``"latency"``, in what that budget counts.
    edges
        Pairs of layers: the one that writes, and the one that reads.
    cost
        From the names of the formats before and after to a whole number; what is not named costs nothing. One number
        alone is the cost wherever the two formats differ.

    Raises
    ------
    InvalidInput
        When an edge is no pair of two layers, or a cost is no whole number that is at least 0.
    """

    resource: str
    edges: Sequence[tuple[str, str]]
    cost: Mapping[tuple[str, str], int] | int

    def __post_init__(self) -> None:
        """Refuse edges and costs that make no sense."""
        edges: Sequence[object] = self.edges
        for edge in edges:
            if not isinstance(edge, (tuple, list)) or len(edge) != 2 or edge[0] == edge[1]:
                raise InvalidInput(f"the edge {edge!r} of conversions in {self.resource!r} must name two layers")
        costs: list[object] = list(self.cost.values()) if isinstance(self.cost, Mapping) else [self.cost]
        for cost in costs:
            if isinstance(cost, bool) or not isinstance(cost, Integral) or not 0 <= int(cost) < 2**53:
                raise InvalidInput(
                    f"a conversion in {self.resource!r} costs {cost!r}: give whole numbers of at least 0"
                )

    def between(self, before: Format, after: Format) -> int:
        """What it costs on one edge."""
        if isinstance(self.cost, Mapping):
            return int(self.cost.get((before.name, after.name), 0))
        return int(self.cost) if before.name != after.name else 0

    def total(self, formats: Mapping[str, Format]) -> int:
        """What it costs under a policy.

        Parameters
        ----------
        formats
            From layers to their formats.

        Returns
        -------
        total
            The sum over the edges.
        """
        return sum(self.between(formats[before], formats[after]) for before, after in self.edges)
