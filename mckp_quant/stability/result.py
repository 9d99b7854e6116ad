"""What `check_stability` returns: how policies fare when the calibration samples are drawn anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common.display import Face, counted, grid, number, percent
from ..common.documents import plain
from ..common.renamed import renamed_fields

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..policy.policy import Policy
    from .regret import Regret


@dataclass(frozen=True, eq=False)
class Candidate:
    """A policy and what it would lose if another table were the true one.

    Attributes
    ----------
    policy
        The policy, predicted by the table as it was measured.
    best
        In what share of the draws no policy within the budgets is better.
    regret
        How far its predicted loss lies above the best one of each draw.
    """

    policy: Policy
    best: float
    regret: Regret


@renamed_fields(layers="layer_names")
@dataclass(frozen=True, eq=False)
class Stability:
    """How a policy fares when the calibration samples are drawn anew.

    Attributes
    ----------
    layer_names, formats
        Names of the table's rows and columns.
    nominal
        The policy that is best on the table as it was measured.
    robust
        The policy that `rule` prefers over the draws; the same one where nothing does better.
    rule
        ``"worst"``: least worst regret; ``"expected"``: least expected regret.
    robust_bound
        No policy within the budgets has a smaller worst regret over these draws; nan under the rule ``"expected"``.
    kept
        ``(n_layers,)`` share of the draws in whose best policy the layer has its format of the nominal policy.
    shares
        ``(n_layers, n_formats)`` share of the draws in whose best policy the layer has the format.
    probability
        The probability that the nominal policy is the best one on all data of this kind.
    band
        Limits of that probability, see `check_stability`.
    draws
        How many tables were drawn.
    distinct
        How many different policies are the best of some draw.
    resampled
        ``"batches"`` or ``"cells"``: what was drawn.
    unit
        Of losses and regrets.
    """

    layer_names: tuple[str, ...]
    formats: tuple[str, ...]
    nominal: Candidate
    robust: Candidate
    rule: str
    robust_bound: float
    kept: NDArray[np.float64]
    shares: NDArray[np.float64]
    probability: float
    band: tuple[float, float]
    draws: int
    distinct: int
    resampled: str
    unit: str

    @property
    def verdict(self) -> str:
        """The result as a sentence."""
        unsure = [name for name, kept in zip(self.layer_names, self.kept, strict=True) if kept < 0.5]
        regret = self.nominal.regret
        low, high = (100 * each for each in self.band)
        sure = f"the policy is the best one with a probability of {low:.0f} to {high:.0f} %"
        saved = f"{regret.expected:.2g} {self.unit} on average, {regret.worst:.2g} at most"
        price = f"the best policy of a draw saves {saved}"
        if not unsure:
            return f"{sure}; {price}; every layer keeps its format in most draws"
        shown = ", ".join(unsure[:5]) + (" and others" if len(unsure) > 5 else "")
        return f"{sure}; {price}; in most draws another format is best for {shown}"

    def __repr__(self) -> str:
        """How sure the policy is, in a few lines."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook, with how often each layer keeps its format, the least sure first."""
        held = [entry.name for entry in self.nominal.policy.formats]
        order = sorted(range(len(held)), key=lambda at: (self.kept[at], at))
        rows = [(self.layer_names[at], held[at], percent(float(self.kept[at]))) for at in order]
        return self._face().html(grid(("layer", "format", "kept in draws"), rows, left=2))

    def _face(self) -> Face:
        low, high = self.band
        regret = self.nominal.regret
        facts = [
            ("the best one", f"with a probability of {percent(low)} to {percent(high)}"),
            ("regret", f"{number(regret.expected)} {self.unit} on average, {number(regret.worst)} at most"),
            ("unsure", f"{int((self.kept < 0.5).sum())} of {counted(len(self.kept), 'layer')}"),
            ("robust", "the same policy" if self.robust.policy == self.nominal.policy else "another policy"),
        ]
        drawn = counted(self.draws, "draw")
        return Face(f"Stability: {drawn} of {self.resampled}, {self.distinct} best policies", tuple(facts))

    def document(self) -> dict[str, Any]:
        """The same in plain types, for JSON; nan is None."""
        candidates = {
            name: {
                "formats": dict(
                    zip(each.policy.layer_names, (entry.name for entry in each.policy.formats), strict=True)
                ),
                "predicted": each.policy.predicted,
                "best": each.best,
                "expected_regret": each.regret.expected,
                "high_regret": each.regret.high,
                "worst_regret": each.regret.worst,
            }
            for name, each in (("nominal", self.nominal), ("robust", self.robust))
        }
        document: dict[str, Any] = plain(
            {
                "verdict": self.verdict,
                "unit": self.unit,
                "draws": self.draws,
                "distinct": self.distinct,
                "resampled": self.resampled,
                "rule": self.rule,
                "robust_bound": self.robust_bound,
                "probability": self.probability,
                "band": self.band,
                **candidates,
                "layers": [
                    {"layer": layer, "kept": kept, "shares": dict(zip(self.formats, shares, strict=True))}
                    for layer, kept, shares in zip(
                        self.layer_names, self.kept.tolist(), self.shares.tolist(), strict=True
                    )
                ],
            }
        )
        return document
