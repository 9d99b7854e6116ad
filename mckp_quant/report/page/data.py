"""What a report shows, as plain data: every form of it, from the HTML page to the JSON, is made from this alone."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.documents import plain

if TYPE_CHECKING:
    from .lines import BudgetLine, Doubted, FrontLine, LastPass, LayerLine, Measured, Missing, Sure

KIND, VERSION = "report", 1


@dataclass(frozen=True)
class Facts:
    """The policy as a whole.

    Attributes
    ----------
    weight_bytes, float_bytes
        Bytes of the weights under the policy, None where that is not known, and in 32 bits.
    bits_per_weight
        Scales counted; nan where that is not known.
    predicted, predicted_stderr
        The table's sum for the policy, in `unit`.
    corrected, corrected_stderr
        The same corrected for having been chosen; nan where no correction was made.
    bound, gap
        No policy within the budgets is predicted to lose less; nan where nothing is proved.
    status, ground
        What is known of it, and what that rests on.
    unit
        Of losses.
    solver, seed, rounder, target, made_by
        How it was found and what it is about.
    """

    weight_bytes: int | None
    float_bytes: int
    bits_per_weight: float
    predicted: float
    predicted_stderr: float
    corrected: float
    corrected_stderr: float
    bound: float
    gap: float
    status: str
    ground: str
    unit: str
    solver: str
    seed: int
    rounder: str
    target: str
    made_by: str

    @property
    def expected(self) -> tuple[float, float]:
        """What people are shown, with its error: the corrected prediction, or the plain one where there is none."""
        if math.isnan(self.corrected):
            return self.predicted, self.predicted_stderr
        return self.corrected, self.corrected_stderr


@dataclass(frozen=True)
class ReportData:
    """All that a report shows.

    Attributes
    ----------
    name
        What the network is called; empty where nobody said.
    facts
        The policy as a whole.
    formats, bits
        The table's formats, and the bits of a weight in each.
    layers
        Every layer, in the order of the network.
    loss, stderr
        ``(n_layers, n_formats)``: the table; nan where a format is not allowed, or the error is not known.
    doubts
        What is doubtful about the table.
    budgets
        The budgets.
    front
        The trade-off; None where it was not given.
    networks
        What was measured: the float network first, the policy last; empty where nothing was.
    verdict, samples
        Of the measurement; how many samples it saw.
    together
        What the layers' errors add when they come together: the policy's KL less the sum of each alone; nan where the
        layers were not measured.
    sure
        How sure the policy is; None where that was not given.
    last_pass
        What the last pass gained; None where there was none.
    made_from
        What was run, as names and values.
    recipe, provenance
        Texts that repeat the run and say where it came from; empty where there are none.
    missing
        What is left out.
    """

    name: str
    facts: Facts
    formats: tuple[str, ...]
    bits: tuple[int, ...]
    layers: tuple[LayerLine, ...]
    loss: tuple[tuple[float, ...], ...]
    stderr: tuple[tuple[float, ...], ...]
    doubts: tuple[Doubted, ...]
    budgets: tuple[BudgetLine, ...]
    front: FrontLine | None
    networks: tuple[Measured, ...]
    verdict: str
    samples: int
    together: float
    sure: Sure | None
    last_pass: LastPass | None
    made_from: tuple[tuple[str, str], ...]
    recipe: str
    provenance: str
    missing: tuple[Missing, ...]

    @property
    def floating(self) -> Measured | None:
        """The float network as it was measured."""
        return next((each for each in self.networks if each.name == "float"), None)

    @property
    def own(self) -> Measured | None:
        """The policy as it was measured."""
        return self.networks[-1] if self.networks else None

    @property
    def rival(self) -> Measured | None:
        """Of the uniform networks that were measured and take no more bytes, the best; None where there is none."""
        own = self.own
        rivals = [
            each
            for each in self.networks[:-1]
            if own is not None
            and each.name.startswith("uniform")
            and not math.isnan(each.kl)
            and each.weight_bytes <= self.allowed_bytes
        ]
        return min(rivals, key=lambda each: each.kl, default=None)

    @property
    def allowed_bytes(self) -> float:
        """What uniform weights may take to be compared: a percent more than the policy's, which rarely uses up all."""
        own = self.own
        return math.inf if own is None else 1.01 * own.weight_bytes

    def document(self) -> dict[str, Any]:
        """The same in plain types, for JSON; nan is None."""
        document: dict[str, Any] = plain(dataclasses.asdict(self))
        return document
