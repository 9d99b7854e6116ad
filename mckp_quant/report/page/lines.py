"""The parts of what a report shows, a line or a mark each: layers, networks, budgets, points, and what is left out."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
