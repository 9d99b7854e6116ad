"""What timing a network gives: the costs with their errors, and whether their sum is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..policy.policy import Policy
    from ..tables.cost_table import CostTable
    from .running import Clocking

KIND, VERSION = "costs", 1
WITHIN = 0.15  # of the measured time
_SPREADS = 3
_PER_SECOND = 1e9


@dataclass(frozen=True, eq=False)
class Check:
    """A network that was not among those that the costs come from: the sum of its costs beside its own time.

    Attributes
    ----------
    name
        Which one it is: ``"fastest"``, ``"middle"`` or ``"slowest"`` of those that the costs know.
    policy
        The formats of its layers.
    predicted, measured
        Seconds.
    """

    name: str
    policy: Policy
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """By what share of the measured time the sum is off; positive where it is too long."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, eq=False)
class Timing:
    """What every layer takes in every format on this machine.

    Attributes
    ----------
    costs
        Nanoseconds, for budgets. Their sum over the layers is the time of the whole network, what belongs to no layer
        included.
    stderr
        ``(n_layers, n_formats)`` float64 nanoseconds: the standard error of the difference from the layer's fastest
        format; nan where nothing was measured.
    checks
        Whole networks beside the sum of their costs.
    spread
        From run to run: the standard deviation of a network's time, as a share of it.
    residual
        By what share of the time of a network the sums miss the networks that they come from, as the root of the mean
        square.
    networks
        How many networks the costs come from.
    drift
        How much longer the float network took while the checks ran, as a share; the checks are corrected for it.
    target, clocking
        What ran, and how.
    """

    costs: CostTable
    stderr: NDArray[np.float64]
    checks: tuple[Check, ...]
    spread: float
    residual: float
    networks: int
    drift: float
    target: str
    clocking: Clocking

    @property
    def tolerance(self) -> float:
        """The share by which a sum may be off: `WITHIN`, or three times the spread where that is more."""
        return max(WITHIN, _SPREADS * self.spread)

    @property
    def ordered(self) -> bool:
        """Whether the checks are in the order that their sums say."""
        measured = [each.measured for each in sorted(self.checks, key=lambda each: each.predicted)]
        return measured == sorted(measured)

    @property
    def holds(self) -> bool:
        """Whether all checks are within `tolerance`, and in order."""
        return self.ordered and all(abs(each.error) <= self.tolerance for each in self.checks)

    @property
    def verdict(self) -> str:
        """Whether the sums can be budgeted by, in words."""
        worst = max(self.checks, key=lambda each: abs(each.error))
        said = (
            f"the {worst.name} network is off by most, {worst.error:+.1%}, with {self.tolerance:.1%} allowed, and the "
            f"order of the checks is {'right' if self.ordered else 'wrong'}"
        )
        if self.holds:
            return f"the sums hold: {said}"
        return (
            f"the sums do not hold: {said}; time again on a quieter machine, with more rounds, or with formats that "
            "differ more"
        )

    def document(self) -> dict[str, Any]:
        """In plain types; `read_costs` reads its costs."""
        return {
            "name": self.costs.name,
            "unit": self.costs.unit,
            "layers": list(self.costs.layer_names),
            "formats": list(self.costs.formats),
            "cost": [[None if cell < 0 else cell for cell in row] for row in self.costs.cost.tolist()],
            "stderr": [[None if np.isnan(cell) else cell for cell in row] for row in self.stderr.tolist()],
            "checks": [
                {
                    "name": each.name,
                    "formats": [entry.name for entry in each.policy.formats],
                    "predicted_ns": each.predicted * _PER_SECOND,
                    "measured_ns": each.measured * _PER_SECOND,
                    "error": each.error,
                }
                for each in self.checks
            ],
            "ordered": self.ordered,
            "holds": self.holds,
            "spread": self.spread,
            "residual": self.residual,
            "networks": self.networks,
            "drift": self.drift,
            "target": self.target,
            "rounds": self.clocking.rounds,
            "threads": self.clocking.threads,
            "clock": self.clocking.clock,
        }
