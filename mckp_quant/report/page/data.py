"""What a report shows, as plain data: every form of it, from the HTML page to the JSON, is made from this alone."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from ...common.documents import plain

KIND, VERSION = "report", 1


@dataclass(frozen=True)
class LayerLine:
    """One layer under the policy.

    Attributes
    ----------
    name, kind, weights
        Of the layer; how many weights it has.
    format, bits
        The format's name, and the bits of one weight in it.
    stored_bytes
        What the weight takes, scales counted; None where that is not known.
    predicted, stderr
        The predicted loss of the layer in its format, and its standard error.
    bytes_share, loss_share
        Its share of all stored bytes, and of all positive predicted losses; nan where that is not known.
    note
        ``"pinned"``, ``"tied set 1"`` or empty.
    measured, measured_stderr
        The measured loss with this layer alone in its format; nan where it was not measured.
    kept
        In what share of the drawn tables it keeps its format; nan where none were drawn.
    shares
        For each format of the table, in what share of the draws the layer has it; empty where none were drawn.
    """

    name: str
    kind: str
    weights: int
    format: str
    bits: int
    stored_bytes: int | None
    predicted: float
    stderr: float
    bytes_share: float
    loss_share: float
    note: str = ""
    measured: float = math.nan
    measured_stderr: float = math.nan
    kept: float = math.nan
    shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Measured:
    """One network that was run on held-back data.

    Attributes
    ----------
    name
        Such as ``"float"``, ``"uniform w4, same rounder"`` or ``"policy"``.
    weight_bytes
        Bytes of its weights.
    predicted, predicted_stderr
        The predicted KL; nan where there is none.
    kl, kl_stderr, loss, loss_stderr, accuracy, accuracy_stderr
        What was measured; nan where the data cannot tell.
    above, above_stderr
        Its KL less that of the policy, and the paired standard error; nan for the policy itself.
    """

    name: str
    weight_bytes: int
    predicted: float
    predicted_stderr: float
    kl: float
    kl_stderr: float
    loss: float
    loss_stderr: float
    accuracy: float
    accuracy_stderr: float
    above: float
    above_stderr: float


@dataclass(frozen=True)
class BudgetLine:
    """A budget, and what it is worth.

    Attributes
    ----------
    name, asked
        The budget, and what the user wrote.
    least
        Whether it is the least total allowed.
    limit, used, left
        With their units, in words; empty where they are not known.
    share
        Used over limit; nan where that is not known.
    unit
        What one unit of it is called, such as ``"byte"``.
    price
        The loss that one more unit saves at the margin; 0 where the budget does not bind, nan where that is not known.
    next_limit
        The least limit that lets a better policy in, in words; empty where none is known.
    saving
        By how much the predicted loss is lower there; nan where none is known.
    """

    name: str
    asked: str
    least: bool
    limit: str
    used: str
    left: str
    share: float
    unit: str
    price: float = math.nan
    next_limit: str = ""
    saving: float = math.nan


@dataclass(frozen=True)
class FrontLine:
    """The trade-off of predicted loss against the bytes of weights.

    Attributes
    ----------
    points
        Bytes and predicted loss of the best policies, by rising bytes.
    uniforms
        Name, bytes and predicted loss of one format for all layers.
    """

    points: tuple[tuple[int, float], ...]
    uniforms: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True)
class Sure:
    """How sure the policy is; the layers are in `LayerLine`.

    Attributes
    ----------
    verdict
        A sentence.
    draws, distinct, resampled
        How many tables were drawn, how many policies were best in one of them, and what was drawn.
    best, expected_regret, worst_regret
        Of the policy.
    robust_predicted, robust_worst_regret
        Of the policy that does well whatever the noise.
    """

    verdict: str
    draws: int
    distinct: int
    resampled: str
    best: float
    expected_regret: float
    worst_regret: float
    robust_predicted: float
    robust_worst_regret: float


@dataclass(frozen=True)
class LastPass:
    """What the last pass made of the network, on samples that it held back: KL before and after, and the difference."""

    codes: str
    before: float
    before_stderr: float
    after: float
    after_stderr: float
    gained: float
    gained_stderr: float
    held_back: int


@dataclass(frozen=True)
class Doubted:
    """A doubtful entry of the table; the format is empty where the whole layer is meant."""

    kind: str
    layer: str
    format: str
    words: str


@dataclass(frozen=True)
class Missing:
    """A part that the report leaves out, and the command that would bring it."""

    part: str
    command: str


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
