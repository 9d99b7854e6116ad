from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.network.batches import as_batches
from mckp_quant.network.weight_uses import uses_in
from mckp_quant.tuning import finish
from mckp_quant.tuning.features import FeatureMatch
from mckp_quant.tuning.holding_back import split

from ..search import small
from .networks import Attention, Residual, Routed, deep

if TYPE_CHECKING:
    from collections.abc import Sequence


def policy(model: nn.Module, data: Sequence[object], bits: str) -> mq.Policy:
    return mq.Policy.uniform(mq.round_weights(model, data, bits, rounder="nearest").layers, bits)


def weights_are_the_banks(finished: mq.Finished) -> bool:
    uses = uses_in(finished.model)
    return all(
        torch.equal(uses[layer.name].weight, finished.bank.weight(layer.name, finished.policy[layer.name]))
        for layer in finished.bank.layers
    )


@pytest.mark.parametrize(
    ("model", "data"),
    [(Residual().eval(), Residual.data(128)), (Attention().eval(), Attention.data(96))],
    ids=["convolutions", "transformer"],
)
def test_what_is_returned_is_what_was_judged(model: nn.Module, data: list[Tensor]) -> None:
    before = small.state(model)
    wanted = policy(model, data, "w2")
    made = finish(model, wanted, data)
    assert small.same(before, small.state(model))
    assert weights_are_the_banks(made)
    decided = made.decided
    assert [name for name, _ in decided.tried] == ["float inputs", "in order", "in order, corrected"]
    assert decided.before == decided.tried[0][1]
    assert decided.after <= min(kl for _, kl in decided.tried) <= decided.before
    assert decided.gained == pytest.approx(decided.before - decided.after)
    fit, held = split(list(as_batches(data)), 0.25, 0)
    judged = Evaluator(model, held).evaluate_model(made.model)
    assert (judged.kl, judged.kl_stderr) == (decided.after, decided.after_stderr)
    assert (sum(batch.size for batch in fit), judged.samples) == (decided.samples, decided.held_back)
    text = "\n".join(decided.words)
    assert decided.codes in text
    assert f"{decided.after:.4g}" in text
    assert made.bank.rounder.startswith("finish(gptq(")


def test_other_data_gain_too() -> None:
    model, data = Residual().eval(), Residual.data(192)
    made = finish(model, policy(model, data, "w2"), data)
    unseen = Residual.data(256, seed=9)
    plain = mq.apply(model, made.policy, bank=mq.round_weights(model, data, "w2"))
    judge = Evaluator(model, unseen)
    less, error = judge.evaluate_model(plain).kl_difference(judge.evaluate_model(made.model))
    assert less > 2 * error


def test_the_same_call_gives_the_same_network() -> None:
    model, data = Attention().eval(), Attention.data()
    first, second = (finish(model, policy(model, data, "w3"), data) for _ in range(2))
    assert small.same(small.state(first.model), small.state(second.model))
    assert first.decided == second.decided


def test_where_full_matching_ruins_a_network_it_is_left_alone() -> None:
    def outliers(samples: int, seed: int) -> Tensor:
        inputs = torch.randn(samples, 8, generator=torch.Generator().manual_seed(seed))
        inputs[::16] *= 300  # their errors make up the means of the features
        return inputs

    model = deep(3, 8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.7)
    data, unseen = list(outliers(128, 1).split(16)), [outliers(512, 2)]
    wanted = policy(model, data, "w4")
    rounded = mq.apply(model, wanted)
    ruined = copy.deepcopy(rounded)
    FeatureMatch(model, list(as_batches(data))).correct(ruined, 1.0, 1.0)
    judge = Evaluator(model, unseen)
    plain, full = judge.evaluate_model(rounded), judge.evaluate_model(ruined)
    assert full.kl > 2 * plain.kl
    made = finish(model, wanted, data, rounder="nearest")
    more, error = judge.evaluate_model(made.model).kl_difference(plain)
    assert more <= 2 * error
    assert made.decided.after <= made.decided.before


def test_codes_of_another_bank_are_kept_where_nothing_is_better() -> None:
    model, data = deep(2), [torch.randn(16, 6) for _ in range(4)]
    wanted = policy(model, data, "w8")
    bank = mq.round_weights(model, data, "w8", rounder="nearest")
    made = finish(model, wanted, data, bank=bank, rounder="nearest")
    assert made.decided.codes == "float inputs"
    assert len(made.decided.tried) == 1
    for layer in bank.layers:
        assert torch.equal(
            made.bank.weight(layer.name, wanted[layer.name]), bank.weight(layer.name, wanted[layer.name])
        )


def test_inputs_in_few_bits_are_rounded_as_the_policy_says() -> None:
    model, data = Residual().eval(), Residual.data()
    ranges = mq.calibrate_ranges(model, data, "w3a4")
    wanted = dataclasses.replace(policy(model, data, "w3a4"), ranges=ranges)
    made = finish(model, wanted, data)
    assert weights_are_the_banks(made)
    seen: list[Tensor] = []
    made.model.get_submodule("head").register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        made.model(data[0])
    assert len(seen[0].unique()) <= 16


def test_a_network_that_chooses_its_way_is_finished_and_says_so() -> None:
    generator = torch.Generator().manual_seed(0)
    data = [torch.randn(8, 4, generator=generator) + (-1 if at % 3 else 1) for at in range(12)]
    model = Routed().eval()
    made = finish(model, policy(model, data, "w3"), data)
    assert weights_are_the_banks(made)
    if made.decided.codes != "float inputs":
        assert "not all batches take the same way" in made.decided.words[-1]


def test_a_policy_may_leave_layers_float_or_out() -> None:
    model, data = deep(2), [torch.randn(16, 6) for _ in range(4)]
    layers = mq.round_weights(model, data, "w2").layers
    wanted = mq.Policy((layers[0].name, layers[1].name), (mq.Format.named("w2"), mq.Format.named("float")))
    made = finish(model, wanted, data)
    assert [layer.name for layer in made.bank.layers] == ["0"]
    for name in ("2.weight", "4.weight"):
        assert torch.equal(made.model.get_parameter(name), model.get_parameter(name))


def test_samples_are_parted_whole_and_without_loss() -> None:
    whole = list(as_batches([(torch.arange(8 * at, 8 * at + 8).float(), torch.arange(8)) for at in range(6)]))
    for data, share, held in ((whole, 0.25, 16), (whole[:2], 0.25, 4), (whole[:1], 0.125, 1)):
        fit, judge = split(data, share, 0)
        assert sum(batch.size for batch in judge) == held
        kept = torch.cat([batch.inputs for batch in (*fit, *judge) if isinstance(batch.inputs, Tensor)])
        assert torch.equal(kept.sort().values, torch.arange(8.0 * len(data)))
        for batch in (*fit, *judge):
            assert isinstance(batch.inputs, Tensor)
            assert batch.targets is not None
            assert torch.equal(batch.targets.float(), batch.inputs % 8)


def test_learned_scales_are_the_banks_and_no_step_is_kept_that_does_not_help() -> None:
    model, data = Residual().eval(), Residual.data(128)
    wanted = policy(model, data, "w2")
    plain, learned = (finish(model, wanted, data, steps=steps) for steps in (0, 20))
    assert learned.decided.after <= plain.decided.after
    assert plain.decided.steps == 0
    assert "nothing is learned" in plain.decided.words
    assert weights_are_the_banks(learned)


def test_progress_ends_with_all_trials() -> None:
    model, data = Residual().eval(), Residual.data()
    told: list[tuple[int, int | None]] = []
    finish(model, policy(model, data, "w3"), data, steps=3, run=mq.RunOptions(progress=lambda *step: told.append(step)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_what_cannot_be_finished_is_refused() -> None:
    model, data = small.network(), small.data()
    wanted = mq.Policy.uniform(small.table(), "w3")
    with pytest.raises(mq.InvalidInput, match="there is 1 batch, of 1 samples, and a part of the data is held back"):
        finish(model, wanted, [torch.zeros(1, 1, 7, 7)])
    with pytest.raises(mq.InvalidInput, match="unknown layer"):
        finish(Residual(), wanted, Residual.data())
    with pytest.raises(mq.InvalidInput, match="the weights of all layers float: there is nothing to finish"):
        finish(model, mq.Policy.uniform(small.table().layers, "float"), data)
    with pytest.raises(mq.InvalidInput, match="the bank holds no weights in 'w3', but in w4"):
        finish(model, wanted, data, bank=mq.round_weights(model, data, "w4", rounder="nearest"), other_rounder=True)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.get_parameter("0.weight").add_(1)
    with pytest.raises(mq.InvalidInput, match="'0' is not the one that the bank was rounded from"):
        finish(model, wanted, data, bank=mq.round_weights(other, data, "w3"), other_rounder=True)
    with pytest.raises(mq.InvalidInput, match="about weights rounded by nearest"):
        finish(model, dataclasses.replace(wanted, rounder="nearest"), data, bank=mq.round_weights(model, data, "w3"))
    with pytest.raises(mq.InvalidInput, match="held_back"):
        finish(model, wanted, data, held_back=1.5)
    with pytest.raises(mq.InvalidInput, match="steps"):
        finish(model, wanted, data, steps=-1)
    with pytest.raises(mq.InvalidInput, match="policy is a str"):
        finish(model, "w3", data)  # type: ignore[arg-type]
