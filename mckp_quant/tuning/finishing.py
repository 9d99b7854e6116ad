"""The last pass for one policy: codes on the inputs that the layers will see, biases and norms matched."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..common.checks import check_count, check_fraction
from ..common.renamed import OUTPUTS, renamed_keywords, run_keywords
from ..common.run_options import RunOptions
from ..errors import InvalidInput
from ..evaluation.evaluator import Evaluator
from ..evaluation.simulation import Simulator, check_policy
from ..network.checkpoints.plain_names import unwrapped
from ..network.discovery import discover
from ..network.fingerprint import batch_digest, tensor_digest
from ..network.outputs import Outputs
from ..network.weight_uses import MIXTURES, uses_in
from ..rounding.bank import WeightBank, check_rounder
from ..rounding.banking import AUTO, described, rounder_of
from ..rounding.inputs import InputRounding
from ..rounding.rounder import INPUTS
from .decided import Decided
from .features import FeatureMatch
from .finished import Finished, OwnFormats, changed_tensors, float_digests
from .holding_back import split
from .in_order import Chosen, Codes, encode_in_order, encode_on_float_inputs
from .learning import learn
from .matching import STRENGTHS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from ..evaluation.figures import Evaluation
    from ..network.batch import Batch
    from ..policy.policy import Policy
    from ..rounding.rounder import Rounder

FLOAT_INPUTS, IN_ORDER, CORRECTED = "float inputs", "in order", "in order, corrected"


@renamed_keywords(**OUTPUTS, **run_keywords("seed", "progress"))
def finish(
    model: nn.Module,
    policy: Policy,
    batches: Iterable[object],
    *,
    bank: WeightBank | None = None,
    rounder: str | Rounder = AUTO,
    held_back: float = 0.25,
    steps: int = 0,
    other_rounder: bool = False,
    outputs: Outputs = Outputs(),
    run: RunOptions = RunOptions(),
) -> Finished:
    """Make the best network of a policy: choose its codes, and match biases and norms to the float network.

    A part of the batches is held back, and judges every decision by the KL from the float network. In turn:

    1. Codes. All layers rounded on the inputs of the float network, as a bank has them; or layer after layer in the
       order in which they run, each on the inputs of the network rounded so far (Frantar, Ashkboos, Hoefler and
       Alistarh, 2023, *GPTQ*); or the same, so that each layer gives there what the float layer gives in the float
       network. The first is kept where no other is better.
    2. Biases and norms. Means of features, and the spreads behind normalisations, are brought towards those of the
       float network, as `match_features` does, each by the share of `STRENGTHS` that is best.
    3. Where steps are given, the scales of codes, biases and norms learn from the float network's outputs, one batch a
       step (after Chen et al., 2024, *EfficientQAT*), as long as that helps.

    Nothing takes more forward passes in a deeper network: all batches go through it side by side. So all that a forward
    pass of all batches holds between two layers is in memory, of two networks at a time.

    Parameters
    ----------
    model
        The float network; it is given back as it was.
    policy
        The formats. Where they store activations, in the ranges that the policy holds.
    batches
        As for `measure`; targets are not used. They are kept.
    bank
        The weights in the policy's formats, all rounded on the float network's inputs; made here by default. One of
        the same rounder may have seen the batches held back, so for the comparison it is made again without them.
    rounder
        Rounds in order; ``"auto"`` is `Gptq`.
    held_back
        The share of the samples that judges: whole batches where there are enough, else a part of each.
    steps
        How many steps of learning to take, each a forward and a backward pass of one batch; 0 to learn nothing.
    other_rounder
        Whether the policy may come from a table of another rounder than the bank's.
    outputs
        What the network returns, and what its numbers mean.
    run
        The seed of what is held back, how many batches are read at most, and progress, trial by trial.

    Returns
    -------
    finished
        The network, its codes, and what was decided. It is the very network that was judged; but where nothing
        helped, the network with the codes of the bank as it was given.

    Raises
    ------
    InvalidInput
        When there is too little to hold a part back; when the policy is another network's or rounds nothing; when the
        bank is another network's, lacks a format, or comes from another rounder than the policy's table.
    """
    run.only("finish", "seed", "max_batches", "progress")
    model = unwrapped(model)
    check_fraction("held_back", held_back)
    check_count("steps", steps, 0)
    check_policy(policy)
    if bank is not None:
        check_rounder("the policy", policy.rounder, bank, other_rounder)
    data = list(itertools.islice(outputs.batches(batches, model), run.max_batches))
    fit, held = split(data, held_back, run.seed)
    judge = Evaluator(model, held, outputs=dataclasses.replace(outputs, metric=None))
    work = _Work.of(model, policy, fit, bank, rounder_of(rounder), judge)
    trials = 3 + 2 * (len(STRENGTHS) - 1) + steps
    codes = work.try_codes()
    run.report(3, trials)
    best = _least(codes)
    matched, spreads, means = work.match(best, run, trials)
    learned = 0
    if steps:
        matched, learned = work.learn(matched, steps, run, trials)
    run.report(trials, trials)
    if bank is not None and matched is codes[0]:  # nothing helped: the bank's own codes saw all batches
        matched = work.from_bank(bank, matched)
    before, after = codes[0].found, matched.found
    gained, error = before.kl_difference(after)
    decided = Decided(
        codes=best.how,
        tried=tuple((each.how, each.found.kl) for each in codes),
        spreads=spreads,
        means=means,
        steps=learned,
        before=before.kl,
        before_stderr=before.kl_stderr,
        after=after.kl,
        after_stderr=after.kl_stderr,
        gained=gained,
        gained_stderr=error,
        unit=after.unit,
        samples=sum(batch.size for batch in fit),
        held_back=sum(batch.size for batch in held),
        partial=best.codes.partial,
    )
    own = work.bank_of(matched.codes, f"finish({described(work.rounder)}, {best.how!r})")
    weights = {name for name, each in model.named_parameters() if any(each is own for own in work.weights())}
    changed = changed_tensors(matched.model, model, weights)
    return Finished(matched.model, own, policy, decided, float_digests(model), changed)


@dataclass(frozen=True, eq=False)
class _Trial:
    """A network, how its codes were made, and how it did on the batches held back."""

    how: str
    codes: Codes
    model: nn.Module
    found: Evaluation


def _least(trials: Sequence[_Trial]) -> _Trial:
    """The one with the least KL, the first of equals; one without a KL is none."""
    return min(trials, key=lambda each: each.found.kl if each.found.kl == each.found.kl else float("inf"))


@dataclass(frozen=True, eq=False)
class _Work:
    """What all trials share."""

    model: nn.Module
    policy: Policy
    data: Sequence[Batch]
    bank: WeightBank | None
    rounder: Rounder
    evaluator: Evaluator
    chosen: tuple[Chosen, ...]
    floats: Mapping[str, Tensor]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        policy: Policy,
        data: Sequence[Batch],
        bank: WeightBank | None,
        rounder: Rounder,
        evaluator: Evaluator,
    ) -> _Work:
        named = dict(zip(policy.layer_names, policy.formats, strict=True))
        simulator = Simulator(model)
        for name in named:
            simulator.layer(name)  # refuses names that are another network's
        chosen = []
        for layer in discover(model, data[0], list(named)):
            entry = next((named[each] for each in (layer.name, *layer.ties) if each in named), None)
            if entry is not None and entry.weights_only.name != "float":
                chosen.append(Chosen(layer, entry))
        if not chosen:
            raise InvalidInput("the policy leaves the weights of all layers float: there is nothing to finish")
        uses = uses_in(model)
        floats = {each.layer.name: uses[each.layer.name].weight.detach() for each in chosen}
        return cls(model, policy, data, bank, rounder, evaluator, tuple(chosen), floats)

    def weights(self) -> list[Tensor]:
        """The parameters that the policy rounds."""
        uses = uses_in(self.model)
        names = [name for each in self.chosen for name in (each.layer.name, *each.layer.ties)]
        return [uses[name].weight for name in names]

    def bank_of(self, codes: Codes, rounder: str) -> WeightBank:
        """A bank of these codes."""
        digests = "".join(batch_digest(batch) for batch in self.data)
        stored = {(each.layer.name, each.entry.name): codes.stored[each.layer.name] for each in self.chosen}
        return WeightBank(
            layers=tuple(each.layer for each in self.chosen),
            formats=tuple(dict.fromkeys(each.entry for each in self.chosen)),
            rounder=rounder,
            target="" if self.bank is None else self.bank.target,
            weights={name: tensor_digest(weight) for name, weight in self.floats.items()},
            data=hashlib.sha256(digests.encode()).hexdigest()[:40],
            samples=sum(batch.size for batch in self.data),
            as_nearest=codes.unseen,
            store=OwnFormats(stored),
        )

    def network(self, codes: Codes) -> nn.Module:
        """The float network under the policy with these codes."""
        return Simulator(self.model, self.bank_of(codes, ""), other_rounder=True).apply(self.policy)

    def try_codes(self) -> list[_Trial]:
        """The ways to make codes, those on float inputs first."""
        plain = self._on_float_inputs()
        trials = [self._judged(FLOAT_INPUTS, plain, self.network(plain))]
        if self.rounder.needs != INPUTS:
            return trials
        for how, reference in ((IN_ORDER, None), (CORRECTED, self.model)):
            made = self.network(plain)
            own = encode_in_order(made, self.data, self.chosen, self.rounder, self.floats, reference=reference)
            whole = Codes({**plain.stored, **own.stored}, plain.unseen, own.partial)
            trials.append(self._judged(how, whole, made))
        return trials

    def match(self, best: _Trial, run: RunOptions, trials: int) -> tuple[_Trial, float, float]:
        """Match means and spreads by the same share, then spreads by another."""
        features = FeatureMatch(self.model, self.data, self.evaluator.outputs.logits)
        chosen, spreads, means = best, 0.0, 0.0
        tries = 3

        def tried(spread: float, mean: float) -> bool:
            nonlocal chosen, spreads, means, tries
            made = copy.deepcopy(best.model)
            features.correct(made, spread, mean)
            trial = self._judged(best.how, best.codes, made)
            tries += 1
            run.report(tries, trials)
            if _least([chosen, trial]) is chosen:
                return False
            chosen, spreads, means = trial, spread, mean
            return True

        for share in STRENGTHS[1:]:
            tried(share, share)
        if features.has_norms:
            for share in STRENGTHS:
                if share != means:
                    tried(share, means)
        return chosen, spreads, means

    def learn(self, begun: _Trial, steps: int, run: RunOptions, trials: int) -> tuple[_Trial, int]:
        """Learn for some steps; with how many of them were of use."""
        found = learn(
            begun.model,
            self.model,
            self.data,
            self.chosen,
            begun.codes.stored,
            evaluator=self.evaluator,
            steps=steps,
            seed=run.seed,
            report=lambda step: run.report(trials - steps + step, trials),
        )
        if not found.steps:
            return begun, 0
        codes = dataclasses.replace(begun.codes, stored=found.stored)
        return _Trial(begun.how, codes, found.model, found.found), found.steps

    def from_bank(self, bank: WeightBank, judged: _Trial) -> _Trial:
        """The bank's own codes in place of those that were made without the batches held back."""
        codes = self._banks(bank)
        return dataclasses.replace(judged, codes=codes, model=self.network(codes))

    def _banks(self, bank: WeightBank) -> Codes:
        stored = {each.layer.name: bank.encoded(each.layer.name, each.entry) for each in self.chosen}
        return Codes(stored, bank.as_nearest, ())

    def _judged(self, how: str, codes: Codes, model: nn.Module) -> _Trial:
        return _Trial(how, codes, model, self.evaluator.evaluate_model(model))

    def _on_float_inputs(self) -> Codes:
        if self.bank is not None:
            Simulator(self.model, self.bank, other_rounder=True).apply(self.policy)  # refuses what does not fit
            if self.bank.rounder != described(self.rounder):
                return self._banks(self.bank)
        return encode_on_float_inputs(self.model, self.data, self.chosen, self.rounder, self._roundings())

    def _roundings(self) -> dict[str, InputRounding]:
        """What rounds the input of each layer whose format stores it in few bits."""
        found = {}
        for each in self.chosen:
            scheme, ranges = each.entry.activation_scheme, self.policy.ranges
            if scheme is None or each.layer.kind in MIXTURES:
                continue
            if not scheme.calibrated:
                found[each.layer.name] = InputRounding(scheme)
            elif ranges is not None:
                name = next(name for name in (each.layer.name, *each.layer.ties) if name in self.policy.layer_names)
                found[each.layer.name] = InputRounding(scheme, *ranges.of(name, scheme))
        return found
