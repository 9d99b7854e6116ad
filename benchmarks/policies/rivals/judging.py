"""One judge for all policies: bytes by the rule of mckp-quant, KL on inputs that no tool has seen."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.formats.format import as_formats
from mckp_quant.network.discovery import discover
from mckp_quant.policy.prediction import totals
from mckp_quant.tuning import finish

from ...command_line import WrongInput, say
from ..networks import budget_bytes
from .tools import UNIFORM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

    from mckp_quant.evaluation.figures import Evaluation

    from ..rounding import Split
    from .workers.job import Answer

OWN = "mckp-quant"
EXACT = "exact"
MOST = 8  # bits of a weight that is stored as an integer
ROUNDERS = ("nearest", "gptq")


@dataclass(frozen=True, eq=False)
class Judged:
    """A policy, and what the judge found."""

    policy: str
    formats: tuple[str, ...]
    weight_bytes: int
    found: Evaluation
    seconds: float
    version: str


class Court:
    """The judge of one network and one split, and the layers that all tools quantise.

    Embeddings stay in floating point for all, as most of the tools leave them.
    """

    def __init__(self, case: Split) -> None:
        self.case = case
        self._judge = Evaluator(case.model, case.held_out)
        self.layers = [row for row in discover(case.model, case.calibration[0]) if row.kind != "embedding"]

    @property
    def names(self) -> tuple[str, ...]:
        """The layers by name."""
        return tuple(row.name for row in self.layers)

    def judge(self, method: str, answer: Answer) -> Judged:
        """Judge what a tool gave back; refuse more values in a channel than its bits can tell apart."""
        if set(answer.bits) != set(self.names):
            raise WrongInput(f"{method}: the answer has other layers: {sorted(set(answer.bits) ^ set(self.names))}")
        model = copy.deepcopy(self.case.model)
        for name, bits in answer.bits.items():
            weight = torch.from_numpy(answer.weights[name])
            most = max(len(row.unique()) for row in weight.flatten(1))
            if most > 2**bits:
                raise WrongInput(f"{method}: a channel of {name} has {most} values, more than {bits} bits tell apart")
            model.get_parameter(f"{name}.weight").data.copy_(weight)
        formats = tuple(f"w{answer.bits[name]}" if answer.bits[name] <= MOST else "float" for name in self.names)
        size = totals(self.layers, [as_formats([each])[0] for each in formats])["weight_bytes"]
        return Judged(method, formats, size, self._judge.evaluate_model(model), answer.seconds, answer.version)

    def own(self, menu: str, average: Fraction) -> Iterator[Judged]:
        """Policies of mckp-quant for the same layers, formats and bytes, and uniform bits with the same rounders.

        Weights by GPTQ are finished. Seconds are those of rounding, measuring, solving and finishing for this policy.
        """
        budget = {"weight_bytes": budget_bytes(self.layers, average)}
        for rounder in ROUNDERS:
            began = time.process_time()
            bank = mq.round_weights(self.case.model, self.case.calibration, menu, rounder=rounder, layers=self.names)
            rounded = time.process_time() - began
            table = mq.measure(self.case.model, self.case.calibration, formats=menu, bank=bank, layers=self.names)
            policies = {EXACT: mq.allocate(table, budget).policy}
            measured = time.process_time() - began
            if f"w{average}" in menu.split(","):
                policies = {UNIFORM: mq.Policy.uniform(table, f"w{average}"), **policies}
            for name, policy in policies.items():
                seconds = rounded if name == UNIFORM else measured
                began = time.process_time()
                if rounder == "nearest":
                    model = mq.apply(self.case.model, policy, bank=bank)
                else:
                    model = finish(self.case.model, policy, self.case.calibration, bank=bank).model
                seconds += time.process_time() - began
                say(f"{self.case.name}, {float(average):g} bits: {name}, {rounder}: {seconds:.0f} s")
                yield Judged(
                    f"{name}, {rounder}" + ", finished" * (rounder != "nearest"),
                    tuple(entry.name for entry in policy.formats),
                    policy.costs["weight_bytes"],
                    self._judge.evaluate_model(model),
                    seconds,
                    f"{OWN} {mq.__version__}",
                )
