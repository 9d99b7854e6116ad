from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mckp_quant import InvalidInput
from mckp_quant.network.batch import Batch
from mckp_quant.network.batches import as_batch, as_batches, evaluating, forward
from mckp_quant.network.fingerprint import DataDigest
from mckp_quant.network.labels import IGNORED_TARGET, with_targets

X = torch.arange(12.0).reshape(4, 3)
Y = torch.arange(4)


def test_tensors_pairs_and_dicts_are_sorted_into_inputs_and_targets() -> None:
    read = list(as_batches([X, (X, Y), [X, Y], (X,), {"x": X}, ({"x": X}, Y), Batch(X, Y, 4)]))
    assert [batch.size for batch in read] == [4] * 7
    assert [batch.index for batch in read] == list(range(7))
    assert [batch.targets is not None for batch in read] == [False, True, True, False, False, True, True]
    assert [isinstance(batch.inputs, Tensor) for batch in read] == [True] * 4 + [False] * 2 + [True]


def test_batches_are_read_one_by_one() -> None:
    taken = []

    def produced() -> object:
        for n in range(3):
            taken.append(n)
            yield X

    stream = as_batches(produced())  # type: ignore[arg-type]
    next(stream)
    assert taken == [0]


def test_the_head_of_a_batch_cuts_everything_with_a_sample_dimension() -> None:
    batch = as_batch(({"x": X, "table": torch.zeros(7, 2)}, Y)).head(2)
    assert not isinstance(batch.inputs, Tensor)
    assert batch.targets is not None
    assert batch.inputs["x"].equal(X[:2])
    assert batch.inputs["table"].shape == (7, 2)
    assert batch.targets.equal(Y[:2])
    assert batch.size == 2
    assert as_batch(X).head(9).size == 4


def test_a_batch_is_cut_into_the_samples_at_even_and_at_odd_places() -> None:
    inputs, targets = torch.arange(10.0).reshape(5, 2), torch.arange(5)
    halves = as_batch((inputs, targets), 3).cut()
    assert halves is not None
    for begin, half in enumerate(halves):
        assert isinstance(half.inputs, Tensor)
        assert half.targets is not None
        assert half.inputs.equal(inputs[begin::2])
        assert half.targets.equal(targets[begin::2])
        assert (half.size, half.index) == (len(half.inputs), 3)
    named = as_batch({"input_ids": inputs, "attention_mask": targets, "scale": torch.ones(1)}, 0).cut()
    assert named is not None
    assert [half.shape for half in named] == [
        "input_ids (3, 2), attention_mask (3,), scale (1,)",
        "input_ids (2, 2), attention_mask (2,), scale (1,)",
    ]
    assert as_batch(inputs[:1], 0).cut() is None
    assert as_batch({"x": inputs, "unknown": targets}, 0).cut() is None


def test_the_digest_of_data_counts_inputs_and_their_order_and_no_targets() -> None:
    batches = [as_batch((torch.full((2, 2), float(value)), torch.arange(2)), value) for value in range(3)]

    def digests(*chosen: Batch) -> list[str]:
        digest = DataDigest()
        return [digest.add(batch) for batch in chosen]

    assert digests(*batches)[:2] == digests(*batches[:2])
    assert len({*digests(*batches), *digests(*batches[::-1])}) == 6
    assert digests(*batches) == digests(*(replace(batch, targets=None) for batch in batches))


def test_a_dict_with_a_keyword_that_may_or_may_not_have_rows_for_samples_is_not_cut() -> None:
    batch = as_batch({"x": torch.zeros(4, 4), "scale": torch.ones(4)})
    assert batch.head(2) is batch
    assert as_batch({"input_ids": X, "attention_mask": X, "labels": X}).head(2).size == 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("images", "batch 0 has inputs of type str"),
        ((X, Y, Y), "batch 0 is a tuple of 3 entries: a batch is a tensor"),
        ({"x": [1, 2]}, r"batch 0 is a dict that is not one of tensors \('x' is a list\)"),
        ({}, r"batch 0 is a dict that is not one of tensors \(it is empty\)"),
        (
            (X, [0, 1, 2, 3]),
            "batch 0 has targets of type int: they must be a tensor, or a tuple with one for each head",
        ),
        ((X, Y[:3]), "batch 0 has 3 targets for 4 samples"),
        (X[:0], r"batch 0 has inputs of shape \(0, 3\): it holds no sample"),
        (torch.tensor(1.0), r"batch 0 has inputs of shape \(\): it holds no sample"),
        ((None, Y), "batch 0 has inputs of type NoneType"),
    ],
)
def test_what_is_no_batch_is_refused_by_position_and_type(entry: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        list(as_batches([entry]))


@pytest.mark.parametrize("batches", [X, {"x": X}, 3])
def test_one_batch_in_place_of_many_is_refused(batches: object) -> None:
    with pytest.raises(InvalidInput, match=f"batches is a {type(batches).__name__}: give a list"):
        list(as_batches(batches))  # type: ignore[arg-type]


def test_zero_batches_are_refused() -> None:
    with pytest.raises(InvalidInput, match="there are zero batches"):
        list(as_batches([]))


class Keywords(nn.Module):
    def forward(self, x: Tensor, shift: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=x + shift)


def test_models_are_called_with_tensors_or_keywords_and_give_logits() -> None:
    assert forward(nn.Identity(), as_batch((X, Y))).equal(X)
    assert forward(Keywords(), as_batch({"x": X, "shift": torch.ones(())})).equal(X + 1)
    assert forward(nn.Identity(), as_batch(X), lambda returned: returned[:, :2]).equal(X[:, :2])


@pytest.mark.parametrize(
    ("model", "output", "message"),
    [
        (nn.Linear(5, 2), None, r"the model fails on batch 3 \(inputs \(4, 3\)\): RuntimeError"),
        (Keywords(), None, r"the model fails on batch 3 \(inputs \(4, 3\)\): TypeError"),
        (nn.Identity(), lambda z: (z, z), "returned a Tensor for batch 3, which gives no logits: say how to take them"),
        (
            nn.Identity(),
            lambda z: z.scores,
            "the take of outputs= failed on the Tensor that the model returned for batch 3",
        ),
        (nn.Identity(), lambda z: z.long(), r"logits of batch 3 are torch.int64 of shape \(4, 3\): they must be"),
        (nn.Identity(), lambda z: z[:2], r"logits of batch 3 are torch.float32 of shape \(2, 3\): .*the 4 samples"),
        (nn.Identity(), lambda z: z.sum(), r"logits of batch 3 are torch.float32 of shape \(\)"),
    ],
)
def test_a_model_that_does_not_fit_the_batch_is_refused(model: nn.Module, output: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        forward(model, as_batch(X, 3), output)  # type: ignore[arg-type]


class Exhausted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("no memory left")


def test_running_out_of_memory_is_not_blamed_on_the_batch() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="no memory left"):
        forward(Exhausted(), as_batch(X))


def test_the_cause_of_a_failure_is_chained() -> None:
    with pytest.raises(InvalidInput, match="fails on batch 0") as caught:
        forward(nn.Linear(5, 2), as_batch(X))
    assert isinstance(caught.value.__cause__, RuntimeError)


def disturb(model: nn.Sequential) -> None:
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert all(parameter.grad is None for parameter in model.parameters())
        torch.rand(7)
        model.requires_grad_(False)
        model.train()
        model(X)
        model[1].running_var = torch.zeros(3)
        raise ZeroDivisionError


def test_a_model_held_for_evaluation_is_given_back_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout())
    model[1].eval()
    model[0].bias.requires_grad_(False)
    gradient = torch.ones(3, 3)
    model[0].weight.grad = gradient
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    identities = [id(buffer) for buffer in model.buffers()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(ZeroDivisionError):
        disturb(model)
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, False, True, True]
    assert model[0].weight.grad is gradient
    assert [id(buffer) for buffer in model.buffers()] == identities
    torch.testing.assert_close(dict(model.named_buffers()), buffers, rtol=0, atol=0)
    assert torch.rand(3).equal(expected)


class TinyForCausalLM(nn.Module):
    pass


class TinyForTokenClassification(nn.Module):
    loss_type = "ForTokenClassification"


TOKENS = torch.tensor([[5, 6, 7, 8], [5, 6, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def test_labels_become_targets_shifted_for_causal_models_only_and_none_for_padding() -> None:
    ignored = IGNORED_TARGET
    for model, expected in (
        (TinyForCausalLM(), [[6, 7, 8, ignored], [6, ignored, ignored, ignored]]),
        (TinyForTokenClassification(), [[5, 6, 7, 8], [5, 6, ignored, ignored]]),
    ):
        (batch,) = as_batches([{"input_ids": TOKENS, "attention_mask": MASK, "labels": TOKENS}], model)
        assert isinstance(batch.inputs, dict)
        assert set(batch.inputs) == {"input_ids", "attention_mask"}
        assert batch.targets is not None
        assert batch.targets.tolist() == expected


def test_targets_of_their_own_are_not_shifted_and_win_over_labels() -> None:
    entry = ({"input_ids": TOKENS, "attention_mask": MASK, "labels": TOKENS + 1}, TOKENS)
    batch = with_targets(as_batch(entry), TinyForCausalLM())
    assert batch.targets is not None
    assert batch.targets.tolist() == [[5, 6, 7, 8], [5, 6, IGNORED_TARGET, IGNORED_TARGET]]
    plain = as_batch((X, Y))
    assert with_targets(plain, TinyForCausalLM()) is plain


def test_padding_does_not_count_where_the_mask_is_one_of_the_logits_tokens() -> None:
    batch = as_batch({"input_ids": TOKENS, "attention_mask": MASK})
    counted = batch.counted(torch.zeros(2, 4, 3))
    assert counted is not None
    assert counted.tolist() == (MASK == 1).tolist()
    assert batch.counted(torch.zeros(2, 3)) is None
    assert batch.counted(torch.zeros(2, 5, 3)) is None
    assert as_batch(X).counted(torch.zeros(4, 3, 3)) is None
