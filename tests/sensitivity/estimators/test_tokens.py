"""Language models: labels, their shift, and padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant import InvalidInput

from ..tiny import CLASSES, Transformer, transformer


class LanguageModelForCausalLM(nn.Module):
    """The transformer with the keywords of a Hugging Face model. It is causal: padding at the end acts on nothing."""

    def __init__(self, body: Transformer) -> None:
        super().__init__()
        self.body = body

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        logits: Tensor = self.body(input_ids)
        return logits


def language_model() -> tuple[nn.Module, Tensor]:
    body, tokens = transformer()
    assert isinstance(body, Transformer)
    return LanguageModelForCausalLM(body), tokens


def padded(tokens: Tensor) -> dict[str, Tensor]:
    """The same with two tokens of padding, of a class that occurs."""
    width = tokens.shape[1]
    wide = torch.cat([tokens, torch.full((len(tokens), 2), CLASSES - 1)], dim=1)
    return {"input_ids": wide, "attention_mask": (torch.arange(width + 2) < width).long().expand(len(tokens), -1)}


@pytest.mark.parametrize("method", ["gauss_newton", "measured_kl"])
def test_padding_changes_nothing(method: str) -> None:
    model, tokens = language_model()
    # Of one sequence both draw the same signs for the tokens that count.
    short = tokens[: 1 if method == "gauss_newton" else None, :3]
    free = mq.measure(model, [{"input_ids": short}], formats="w2,w4", method=method)
    bound = mq.measure(model, [padded(short)], formats="w2,w4", method=method)
    np.testing.assert_allclose(bound.loss, free.loss, rtol=1e-10)
    np.testing.assert_allclose(bound.stderr, free.stderr, rtol=1e-10)
    assert bound.unit == "nats per token"


@pytest.mark.parametrize("method", ["measured_loss", "first_order", "empirical_fisher", "hessian_form"])
def test_labels_are_targets_of_the_next_token_and_none_of_padding(method: str) -> None:
    model, tokens = language_model()
    short = tokens[:, :3]
    labelled = {**padded(short), "labels": padded(short)["input_ids"]}
    shifted = torch.cat([short[:, 1:], torch.full((len(short), 1), -100)], dim=1)
    bound = mq.measure(model, [labelled], formats="w2,w4", method=method)
    free = mq.measure(model, [({"input_ids": short}, shifted)], formats="w2,w4", method=method)
    if method != "empirical_fisher":  # its signs are drawn for all tokens, padding too
        np.testing.assert_allclose(bound.loss, free.loss, rtol=1e-8, atol=1e-14)
    assert ((bound.loss > 0) == (free.loss > 0)).all()


def test_a_method_that_needs_targets_says_so_for_a_dict_without_labels() -> None:
    model, tokens = language_model()
    with pytest.raises(InvalidInput, match="batch 0 has no targets, and method='first_order' needs them"):
        mq.measure(model, [{"input_ids": tokens}], formats="w2", method="first_order")
