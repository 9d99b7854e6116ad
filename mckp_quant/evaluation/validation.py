"""Says whether a prediction holds: runs the network under a policy, and compares measured with predicted loss."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common.checks import check_least
from ..common.documents import plain
from ..common.renamed import OUTPUTS, renamed_keywords
from ..errors import InvalidInput
from ..network.outputs import Outputs
from ..policy.repricing import predicted_by
from .carriers import find_carriers
from .causes import known_cause
from .evaluator import Evaluator
from .face import networks_grid, validation_face
from .simulation import check_policy
from .uniform import best_measured, uniforms_of_size
from .verdict import judge, ratio_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import nn

    from ..common.display import Face
    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from ..tables.table import SensitivityTable
    from .carriers import Carriers
    from .figures import Evaluation


CHANGES = ("loss", "accuracy", "perplexity", "metric")  # of these the float network has values of its own


@dataclass(frozen=True, eq=False)
class Row:
    """One network in the comparison.

    Attributes
    ----------
    name
        ``"float"``, ``"uniform w4"`` (with a bank ``"uniform w4, same rounder"``), the name given, or ``"policy"`` for
        the policy that is validated.
    policy
        What the network was put under; None for the float network.
    weight_bytes
        Bytes of the weights that the policy names, scales counted.
    predicted, predicted_stderr
        The predicted KL in the unit of the measured one, corrected for the policy having been chosen where it was;
        nan where there is none in that unit.
    measured
        The figures on the real network.
    kl_difference, kl_difference_stderr
        Measured KL of this row less that of the validated policy, and its paired standard error; nan for the policy
        itself.
    """

    name: str
    policy: Policy | None
    weight_bytes: int
    predicted: float
    predicted_stderr: float
    measured: Evaluation
    kl_difference: float
    kl_difference_stderr: float

    @property
    def figures(self) -> tuple[str, int, tuple[float, float], tuple[float, float], float, float]:
        """Name, bytes, predicted and measured KL with their errors, loss and accuracy: what people are shown."""
        predicted, found = (self.predicted, self.predicted_stderr), self.measured
        return self.name, self.weight_bytes, predicted, (found.kl, found.kl_stderr), found.loss, found.accuracy


@dataclass(frozen=True, eq=False)
class Validation:
    """Predicted against measured.

    Attributes
    ----------
    rows
        The float network, the policies that were given to compare with, and last the policy itself.
    verdict
        What came out, as a sentence.
    holds
        Whether the prediction holds, which one of a useless network never does; None where there was nothing to
        compare, or too little is known to tell.
    useless
        Whether the network under the policy is no better than a guess.
    ratio
        Predicted over measured KL of the policy; nan where there is no prediction in nats.
    unit
        Of the measured KL and loss.
    carriers
        The layers by themselves, measured beside predicted; None where that was not asked for.
    """

    rows: tuple[Row, ...]
    verdict: str
    holds: bool | None
    ratio: float
    unit: str
    carriers: Carriers | None = None
    useless: bool = False

    def __repr__(self) -> str:
        """What was predicted and measured of the policy, and the verdict."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook, with every network that was run."""
        return self._face().html(networks_grid([each.figures for each in self.rows]))

    def _face(self) -> Face:
        _, _, predicted, measured, _, _ = self.policy.figures
        samples = self.policy.measured.samples
        return validation_face(self.verdict, self.unit, samples, predicted, measured, self.ratio)

    @property
    def policy(self) -> Row:
        """The row of the validated policy."""
        return self.rows[-1]

    def change(self, figure: str) -> tuple[float, float]:
        """How much larger a figure is under the policy than of the float network, with its paired standard error.

        Parameters
        ----------
        figure
            One of `CHANGES`.

        Returns
        -------
        change, stderr
            nan where the networks do not have the figure.
        """
        return self.policy.measured.difference(self.rows[0].measured, figure)

    def document(self) -> dict[str, Any]:
        """The same in plain types, for JSON; nan is None."""
        rows = []
        for row in self.rows:
            measured = row.measured
            rows.append(
                {
                    "name": row.name,
                    "weight_bytes": row.weight_bytes,
                    "predicted": row.predicted,
                    "predicted_stderr": row.predicted_stderr,
                    "predicted_by_table": math.nan
                    if row.policy is None or math.isnan(row.predicted)
                    else row.policy.predicted,
                    "kl": measured.kl,
                    "kl_stderr": measured.kl_stderr,
                    "loss": measured.loss,
                    "loss_stderr": measured.loss_stderr,
                    "accuracy": measured.accuracy,
                    "accuracy_stderr": measured.accuracy_stderr,
                    "agreement": measured.agreement,
                    "agreement_stderr": measured.agreement_stderr,
                    "perplexity": measured.perplexity,
                    "perplexity_stderr": measured.perplexity_stderr,
                    "metric": measured.metric,
                    "metric_stderr": measured.metric_stderr,
                    "kl_difference": row.kl_difference,
                    "kl_difference_stderr": row.kl_difference_stderr,
                }
            )
        document: dict[str, Any] = plain(
            {
                "verdict": self.verdict,
                "holds": self.holds,
                "useless": self.useless,
                "ratio": self.ratio,
                "unit": self.unit,
                "samples": self.policy.measured.samples,
                "metric": self.policy.measured.metric_name or None,
                "changes": {name: list(self.change(name)) for name in CHANGES},
                "rows": rows,
                "carriers": None if self.carriers is None else dataclasses.asdict(self.carriers),
            }
        )
        return document


@renamed_keywords(**OUTPUTS)
def validate(
    model: nn.Module,
    policy: Policy,
    batches: Iterable[object],
    *,
    outputs: Outputs = Outputs(),
    against: Sequence[Policy] | Mapping[str, Policy] | None = None,
    factor: float = 1.5,
    table: SensitivityTable | None = None,
    by_layer: bool | None = None,
    bank: WeightBank | None = None,
    other_rounder: bool = False,
) -> Validation:
    """Run the network under a policy and set the predicted loss beside the measured one.

    Give data that the table was not measured on, and that the network was not trained on. A prediction looks better
    than it is on the samples of its table, and training data make every policy look harmless.

    Parameters
    ----------
    model
        The float network; it is left as it was.
    policy
        The policy to validate.
    batches
        As for `measure`; with targets, loss and accuracy are measured too.
    outputs
        What the network returns, and what its numbers mean.
    against
        Other policies to run for comparison, with a mapping under these names; by default the widest uniform format
        within the policy's budget and, where that leaves room, the next wider one. With a bank it is the best of the
        bank's formats that are within the budget, as measured here, which flatters it: one pass for each of them.
    factor
        By what factor a prediction may be off, either way, and still count as holding where it is outside its error;
        the verdict then says that it is biased. Within its error it holds only where measured / predicted is known well
        enough to mean something; `Validation.holds` is None where it is not.
    table
        The table that predicts; where the policy was made from another one, this one's prediction takes the place of
        its own. With it, the verdict on a prediction that fails names the layers that carry the difference. To find
        them each layer is run alone: one pass over the batches for each.
    by_layer
        Whether to run each layer alone; by default where there is a table and the prediction fails.
    bank, other_rounder
        As for `apply`: the weights in every format, which all policies here are rounded to; and whether policy and
        table may be about another rounder.

    Returns
    -------
    validation
        A row for each network, and a verdict.

    Raises
    ------
    InvalidInput
        When the policies, the table, the bank or the batches do not fit the model, the prediction is about another
        rounder, or `factor` is below 1.
    """
    check_least("factor", factor, 1)
    if by_layer and table is None:
        raise InvalidInput("by_layer needs the table that the prediction comes from: give table=")
    if table is not None:
        table.check_likelihood(outputs.distribution.name)
    check_policy(policy)
    theirs, policy = policy, policy if table is None else predicted_by(table, policy)
    evaluator = Evaluator(model, batches, outputs=outputs, bank=bank, other_rounder=other_rounder)
    own = evaluator.evaluate(policy)

    def row(name: str, other: Policy | None, measured: Evaluation) -> Row:
        comparable = other is not None and other.unit == measured.unit
        difference, stderr = (math.nan, math.nan) if measured is own else measured.kl_difference(own)
        return Row(
            name=name,
            policy=other,
            weight_bytes=evaluator.simulator.float_bytes(policy)
            if other is None
            else evaluator.simulator.weight_bytes(other),
            predicted=other.expected.loss if other is not None and comparable else math.nan,
            predicted_stderr=other.expected.stderr if other is not None and comparable else math.nan,
            measured=measured,
            kl_difference=difference,
            kl_difference_stderr=stderr,
        )

    rows = [row("float", None, evaluator.reference)]
    if against is None:
        rows += [row(name, *rival) for name, rival in _rivals(policy, evaluator).items()]
    else:
        named = against if isinstance(against, Mapping) else {_name(each, i): each for i, each in enumerate(against)}
        rows += [row(name, other, evaluator.evaluate(other)) for name, other in named.items()]
    rows.append(row("policy", policy, own))
    verdict, holds, useless = judge(policy, own, evaluator, factor, known_cause(policy, own, evaluator, table))
    if policy is not theirs and not math.isnan(theirs.predicted):
        verdict = f"{verdict}; it is the prediction of the table given, not of the one that the policy was made from"
    carriers = None
    if table is not None and (by_layer or (by_layer is None and holds is False)):
        carriers = find_carriers(evaluator, policy, table, own)
        if holds is False:
            verdict = f"{verdict}; {carriers.words}"
    return Validation(tuple(rows), verdict, holds, ratio_of(rows[-1].predicted, own.kl), own.unit, carriers, useless)


def _rivals(policy: Policy, evaluator: Evaluator) -> dict[str, tuple[Policy, Evaluation]]:
    """The uniform formats that a policy has to beat, by name, and what was measured of them."""
    uniforms = uniforms_of_size(policy, evaluator.simulator)
    if evaluator.simulator.bank is None:
        return {_name(each, 0): (each, evaluator.evaluate(each)) for each in uniforms}
    best = best_measured(uniforms, evaluator)
    return {} if best is None else {f"{_name(best[0], 0)}, same rounder": best}


def _name(policy: Policy, index: int) -> str:
    names = {entry.name for entry in policy.formats}
    return f"uniform {names.pop()}" if len(names) == 1 else f"policy {index + 1} of those given"
