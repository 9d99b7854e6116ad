from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.network.batches import as_batches
from mckp_quant.rounding.encoded import EncodedWeight
from mckp_quant.tuning.in_order import Chosen
from mckp_quant.tuning.learning import Learned, learn

from ..search import small
from .networks import deep


def data(samples: int, seed: int) -> list[Tensor]:
    return list(torch.randn(samples, 6, generator=torch.Generator().manual_seed(seed)).split(64))


class Given:
    def __init__(self, bits: str, rounder: str = "nearest") -> None:
        self.model = deep(2)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.mul_(2)
        self.batches = list(as_batches(data(512, 1)))
        bank = mq.round_weights(self.model, self.batches, bits, rounder=rounder)
        policy = mq.Policy.uniform(bank.layers, bits)
        self.rounded = mq.apply(self.model, policy, bank=bank)
        self.chosen = [Chosen(layer, policy[layer.name]) for layer in bank.layers]
        self.stored = {layer.name: bank.encoded(layer.name, policy[layer.name]) for layer in bank.layers}
        self.judge = Evaluator(self.model, data(512, 2))

    def learn(self, steps: int = 60, seed: int = 0, start: nn.Module | None = None) -> Learned:
        return learn(
            self.rounded if start is None else start,
            self.model,
            self.batches,
            self.chosen,
            self.stored,
            evaluator=self.judge,
            steps=steps,
            seed=seed,
        )


@pytest.mark.parametrize(("bits", "kind"), [("w2", torch.float32), ("w2g16z", torch.float16)])
def test_the_network_comes_closer_with_the_same_codes_and_scales_of_their_type(bits: str, kind: torch.dtype) -> None:
    given = Given(bits)
    before = small.state(given.rounded)
    made = given.learn()
    assert small.same(before, small.state(given.rounded))
    unseen = Evaluator(given.model, data(1024, 3))
    less, error = unseen.evaluate_model(given.rounded).kl_difference(unseen.evaluate_model(made.model))
    assert less > 2 * error
    assert made.steps > 0
    moved = False
    for name, first in given.stored.items():
        own = made.stored[name]
        assert isinstance(own, EncodedWeight)
        assert isinstance(first, EncodedWeight)
        assert torch.equal(own.elements, first.elements)
        assert (own.zero_points is None) == (first.zero_points is None)
        assert own.scales.dtype == kind
        moved = moved or not torch.equal(own.scales, first.scales.to(own.scales))
    assert moved


def test_the_same_seed_learns_the_same() -> None:
    first, second, other = (Given("w2").learn(10, seed) for seed in (0, 0, 1))
    assert small.same(small.state(first.model), small.state(second.model))
    assert not small.same(small.state(first.model), small.state(other.model))


def test_powers_of_two_have_no_room_to_learn() -> None:
    given = Given("mxfp4")
    made = given.learn(10)
    for name, first in given.stored.items():
        own = made.stored[name]
        assert isinstance(own, EncodedWeight)
        assert isinstance(first, EncodedWeight)
        assert torch.equal(own.scales, first.scales.to(own.scales))


def test_a_network_that_gives_no_numbers_is_refused() -> None:
    given = Given("w2")
    with torch.no_grad():
        given.rounded.get_parameter("4.bias").fill_(float("nan"))
    with pytest.raises(mq.InvalidInput, match="learning fails at step 1: the divergence is nan; leave out steps="):
        given.learn()
