"""A small network that is sure of its answers, so that few bits cost it a lot, with its data and its front."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator

if TYPE_CHECKING:
    from mckp_quant.evaluation.figures import Evaluation

FORMATS = "w2,w3,w4,w5,w6,w8"


def network() -> nn.Sequential:
    torch.manual_seed(0)
    widths = (8, 24, 16, 16, 12, 5)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layer = nn.Linear(before, after)
        with torch.no_grad():
            layer.weight *= 3
        layers += [layer, nn.Tanh()]
    model = nn.Sequential(*layers[:-1])
    return model.eval()


def data(seed: int, samples: int = 128) -> list[tuple[Tensor, Tensor]]:
    """Batches, and labels that are the network's own answers but for one in ten."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 8, generator=generator)
    with torch.no_grad():
        labels = network()(inputs).argmax(dim=1)
    labels = torch.where(torch.rand(samples, generator=generator) < 0.1, (labels + 1) % 5, labels)
    return list(zip(inputs.split(32), labels.split(32), strict=True))


@functools.cache
def held_back() -> list[tuple[Tensor, Tensor]]:
    return data(7, samples=192)


@functools.cache
def table() -> mq.SensitivityTable:
    return mq.measure(network(), data(1), formats=FORMATS)


@functools.cache
def front() -> mq.Front:
    return mq.front(table(), {"weight_bytes": "50%"}, max_points=60)


@functools.cache
def walked() -> tuple[Evaluation, tuple[Evaluation, ...]]:
    """The float network, and every point of the front."""
    evaluator = Evaluator(network(), held_back())
    return evaluator.reference, tuple(evaluator.evaluate(each.policy) for each in front().points)
