from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import evaluate
from mckp_quant.network.batches import as_batch
from mckp_quant.network.likelihoods import Categorical
from mckp_quant.tuning.training import finetune

from ..evaluation import banks
from ..search import small

if TYPE_CHECKING:
    from mckp_quant.network.batch import Batch


def policy(bits: str = "w2") -> mq.Policy:
    return mq.Policy.uniform(small.table(), bits)


def distance(logits: Tensor, wanted: Tensor, batch: Batch) -> Tensor:
    return Categorical().mean_divergence(logits, wanted, batch)


def test_training_brings_the_rounded_network_closer_and_stays_on_its_formats() -> None:
    tuned = finetune(small.network(), policy(), small.data(), steps=60, rate=3e-3)
    before = evaluate(mq.apply(small.network(), policy()), small.network(), small.data()).kl
    after = evaluate(tuned.quantized, small.network(), small.data()).kl
    assert after < before / 2
    assert tuned.loss[-1] < tuned.loss[0]
    weight = tuned.quantized.get_submodule("6").weight
    assert isinstance(weight, nn.Parameter)
    assert all(len(row.unique()) <= 3 for row in weight.detach())


def test_the_first_loss_is_that_of_the_rounded_network() -> None:
    (inputs, targets), *_ = small.data()
    rounded = mq.apply(small.network(), policy())
    distilled = finetune(small.network(), policy(), [(inputs, targets)], steps=1)
    with torch.no_grad():
        wanted = distance(rounded(inputs), small.network()(inputs), as_batch(inputs))
        labelled = nn.functional.cross_entropy(rounded(inputs), targets)
    assert distilled.loss[0] == pytest.approx(wanted.item(), rel=1e-5)
    trained = finetune(small.network(), policy(), [(inputs, targets)], steps=1, distil=False)
    assert trained.loss[0] == pytest.approx(labelled.item(), rel=1e-5)


def test_the_same_seed_trains_the_same_and_leaves_the_network_alone() -> None:
    model = small.network()
    before = small.state(model)
    first = finetune(model, policy(), small.data(), steps=5, run=mq.RunOptions(seed=2))
    second = finetune(model, policy(), small.data(), steps=5, run=mq.RunOptions(seed=2))
    assert small.same(small.state(first.model), small.state(second.model))
    assert small.same(before, small.state(model))
    other = finetune(model, policy(), small.data(), steps=5, run=mq.RunOptions(seed=3))
    assert not small.same(small.state(first.model), small.state(other.model))
    assert (small.state(first.model)["1.running_mean"] == before["1.running_mean"]).all()


def test_modules_that_share_a_weight_go_on_sharing_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    tuned = finetune(model, mq.Policy(("0",), mq.formats.as_formats("w2")), [torch.randn(8, 4)], steps=3)
    assert tuned.model.get_submodule("0").weight is tuned.model.get_submodule("2").weight
    assert tuned.quantized.get_submodule("0").weight is tuned.quantized.get_submodule("2").weight


def test_progress_is_told() -> None:
    seen: list[tuple[int, int | None]] = []
    finetune(
        small.network(),
        policy(),
        small.data(),
        steps=2,
        run=mq.RunOptions(progress=lambda done, most: seen.append((done, most))),
    )
    assert seen == [(1, 2), (2, 2)]


def test_what_cannot_be_tuned_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="steps is 0: it must be a whole number, at least 1"):
        finetune(small.network(), policy(), small.data(), steps=0)
    with pytest.raises(mq.InvalidInput, match="rate is 0: it must be a number above 0"):
        finetune(small.network(), policy(), small.data(), rate=0)
    with pytest.raises(mq.InvalidInput, match="needs batches with targets"):
        finetune(small.network(), policy(), [small.data()[0][0]], distil=False)
    with pytest.raises(mq.InvalidInput, match="diverged at step"):
        finetune(small.network(), policy(), small.data(), steps=40, rate=1e30)


def test_inputs_are_rounded_while_training_and_gradients_pass_them() -> None:
    table = mq.measure(small.network(), small.data(), formats="w2a3")
    rounded = mq.Policy.uniform(table, "w2a3")
    (inputs, _), *_ = small.data()
    tuned = finetune(small.network(), rounded, [inputs], steps=60, rate=3e-3)
    with torch.no_grad():
        first = distance(mq.apply(small.network(), rounded)(inputs), small.network()(inputs), as_batch(inputs))
    assert tuned.loss[0] == pytest.approx(first.item(), rel=1e-5)
    assert tuned.loss[-1] < tuned.loss[0] / 2
    assert not torch.equal(tuned.model.get_parameter("0.weight"), small.network().get_parameter("0.weight"))
    assert not any(module._forward_pre_hooks for module in tuned.model.modules())


def test_what_the_network_makes_of_padding_is_no_distance() -> None:
    torch.manual_seed(0)
    logits, wanted = torch.randn(2, 5, 7), torch.randn(2, 5, 7)
    tokens = torch.zeros(2, 5, dtype=torch.long)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0]])
    padded = as_batch({"input_ids": tokens, "attention_mask": mask})
    cut = distance(logits[:, :3], wanted[:, :3], as_batch({"input_ids": tokens[:, :3]}))
    assert distance(logits, wanted, padded).item() == pytest.approx(cut.item())
    assert distance(logits, wanted, as_batch({"input_ids": tokens})).item() != pytest.approx(cut.item())


def test_tuned_network_is_judged_against_the_float_one_by_the_public_evaluate() -> None:
    """`validate` would round the weights again and compare with the network that was trained, not with the original."""
    tuned = finetune(small.network(), policy(), small.data(), steps=30, rate=3e-3)
    got = mq.evaluate(tuned.quantized, small.network(), small.data())
    before = mq.evaluate(mq.apply(small.network(), policy()), small.network(), small.data())
    assert got.kl < before.kl
    assert got.kl_difference(before)[0] == pytest.approx(got.kl - before.kl)
    assert got.loss > 0
    assert 0 < got.accuracy <= 1
    assert mq.evaluate(small.network(), small.network(), small.data()).kl == 0


def test_a_policy_of_another_rounder_is_rounded_to_nearest_only_where_that_is_wanted() -> None:
    of_bank = mq.Policy.uniform(banks.table(), "w2")
    words = r"rounded by truncation, but fine-tuning rounds to nearest at every step: use finish\(\) with the bank, or"
    with pytest.raises(mq.InvalidInput, match=words):
        finetune(small.network(), of_bank, small.data(), steps=3)
    first = finetune(small.network(), of_bank, small.data(), steps=3, other_rounder=True)
    second = finetune(small.network(), policy(), small.data(), steps=3)
    assert first.loss == second.loss
    assert small.same(small.state(first.quantized), small.state(second.quantized))
