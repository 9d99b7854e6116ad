"""Banks in memory: what they were made from, what is refused, and which layers are rounded to nearest."""

from __future__ import annotations

import logging

import pytest
import torch

import mckp_quant as mq
from mckp_quant import InvalidInput, RunOptions
from mckp_quant.rounding import Gptq, Learned, Nearest
from mckp_quant.rounding.banking import described

from .networks import draw, networks


def test_layers_and_experts_without_inputs_are_rounded_to_nearest_and_named(caplog: pytest.LogCaptureFixture) -> None:
    model, batch = networks()["experts"]
    with caplog.at_level(logging.WARNING):
        bank = mq.round_weights(model, [batch], "w3")
    assert "no token reached expert 2 of 'experts.up_proj': rounded to nearest there" in caplog.text
    near = mq.round_weights(model, [batch], "w3", rounder=Nearest())
    own, plain = (each.weight("experts.up_proj", each.formats[0]) for each in (bank, near))
    assert torch.equal(own[2], plain[2])
    assert not torch.equal(own[:2], plain[:2])
    assert bank.as_nearest == ()
    model, batch = networks()["embedding"]
    with caplog.at_level(logging.WARNING):
        bank = mq.round_weights(model, [batch], "w3")
    assert "no input of '0' was seen: rounded to nearest" in caplog.text
    assert bank.as_nearest == ("0",)


def test_the_text_of_a_rounder_holds_its_options_and_those_of_the_rounder_it_starts_with() -> None:
    start = "gptq(damping=0.02, scales=(1.0,), sweeps=1, ordered=True)"
    assert described(Gptq(0.02, (1.0,), 1)) == start
    words = "learned(within='layer', steps=2, rate=0.1, seed=0, damping=0.01, start={})"
    assert described(Learned(steps=2, start=Gptq(0.02, (1.0,), 1))) == words.format(start)
    assert described(Learned(steps=2, start=Nearest())) == words.format("nearest")


def test_a_memory_limit_changes_passes_and_no_code() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.ReLU(), torch.nn.Linear(9, 4))
    batches, calls = [draw(1, 30, 6)], []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    whole = mq.round_weights(model, batches, "w3")
    before = len(calls)
    waves = mq.round_weights(model, batches, "w3", run=RunOptions(memory_limit=700))
    assert len(calls) - before == before + 1
    for layer in whole.layers:
        assert torch.equal(whole.weight(layer.name, whole.formats[0]), waves.weight(layer.name, whole.formats[0]))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"formats": "a8"}, "none of the formats stores weights: there is nothing to round, give one such as 'w4'"),
        ({"rounder": "gptp"}, "unknown rounder 'gptp': did you mean 'gptq'"),
        ({"rounder": Nearest}, "rounder is .*: give a name, such as 'gptq', or a rounder, such as Gptq"),
        ({"target": "onnx"}, "unknown target 'onnx'"),
        ({"layers": ["1"]}, "there is no layer '1'"),
        ({"run": RunOptions(cache="c")}, "means nothing to round_weights"),
        (
            {"run": RunOptions(memory_limit=10)},
            "the sums of inputs of layer '0' take 648 bytes, more than memory_limit",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changed: dict[str, object], words: str) -> None:
    model, batch = networks()["linear"]
    given = {"formats": "w3", **changed}
    with pytest.raises(InvalidInput, match=words):
        mq.round_weights(model, [batch], **given)  # type: ignore[arg-type]


def test_a_bank_of_another_network_or_without_what_is_asked_for_is_refused_in_words() -> None:
    model, batch = networks()["linear"]
    bank = mq.round_weights(model, [batch], "w3,w4")
    with pytest.raises(InvalidInput, match="holds no weights in 'w5', but in w3, w4: round the network to this format"):
        bank.encoded("0", mq.Format.named("w5"))
    with pytest.raises(InvalidInput, match="unknown layer of the bank 'x'"):
        bank.layer("x")
    other = torch.nn.Sequential(torch.nn.Linear(9, 5))
    with pytest.raises(InvalidInput, match="the weight of layer '0' is not the one that the bank was rounded from"):
        bank.check(other)
    with pytest.raises(InvalidInput, match="the bank has a layer '0', which the network lacks: it is another's"):
        bank.check(torch.nn.Linear(9, 5))
    assert bank.holds("0", bank.formats[0])
    assert not bank.holds("0", mq.Format.named("w5"))
