"""Networks that are exported in the tests, and policies drawn for them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mckp_quant import Format, Layer, Policy, demo
from mckp_quant.formats.capabilities import TARGETS
from mckp_quant.network.discovery import discover
from mckp_quant.rounding.calibration import calibrate_ranges

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = (
    *("w2", "w3", "w4", "w5", "w6", "w7", "w8", "w4t", "w8t", "w4z", "w8z"),
    *("w2g32", "w3g16z", "w4g16", "w4g32", "w4g32z", "w5g32", "w8g32", "w8g64z", "w2g16z"),
    *("fp8_e4m3", "fp8_e4m3t", "fp8_e4m3a8d", "w8a8d", "w8a8sd", "w4a8d"),
    *("w8a8", "w4a8", "w8a8s", "w8a16", "w4a4", "w8a4s", "float"),
)


@dataclass(frozen=True, eq=False)
class Network:
    """A model, what it is fed, and how that is done."""

    model: nn.Module
    inputs: Tensor
    layers: tuple[Layer, ...]
    keyword: str | None = None

    @property
    def batches(self) -> list[Any]:
        return [self.inputs if self.keyword is None else {self.keyword: self.inputs}]

    def run(self, model: nn.Module) -> np.ndarray[Any, Any]:
        with torch.no_grad():
            made = model(self.inputs) if self.keyword is None else model(**{self.keyword: self.inputs}).logits
        output: np.ndarray[Any, Any] = made.double().numpy()
        return output

    def policy(self, target: str | None, seed: int) -> Policy:
        """A random format for every layer, of those that the target takes; of all formats where there is no target."""
        rng = np.random.default_rng(seed)
        formats = []
        for layer in self.layers:
            capability = TARGETS.get(target or "")
            taken = [name for name in NAMES if capability is None or capability.takes(layer, Format.named(name))]
            formats.append(Format.named(taken[int(rng.integers(len(taken)))]))
        return self.with_ranges(Policy(tuple(layer.name for layer in self.layers), tuple(formats)))

    def with_ranges(self, policy: Policy) -> Policy:
        if not any(
            entry.activation_scheme is not None and entry.activation_scheme.calibrated for entry in policy.formats
        ):
            return policy
        formats = list(dict.fromkeys(policy.formats))
        return replace(policy, ranges=calibrate_ranges(self.model, self.batches, formats))


class Mixed(nn.Module):
    """A convolution, linear layers whose names begin and end alike, and a parameter of the network itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.fc = nn.Linear(64, 96)
        self.fc1 = nn.Linear(96, 64, bias=False)
        self.inner = nn.ModuleDict({"fc": nn.Linear(64, 80), "fc_1": nn.Linear(80, 10)})
        self.shift = nn.Parameter(torch.linspace(-1, 1, 64))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.conv(inputs.reshape(-1, 1, 8, 8)).mean(dim=1).flatten(1) + self.shift
        hidden = hidden + self.fc1(torch.relu(self.fc(hidden)))
        output: Tensor = self.inner["fc_1"](torch.relu(self.inner["fc"](hidden)))
        return output


@functools.cache
def mixed() -> Network:
    torch.manual_seed(0)
    model = Mixed().eval()
    inputs = torch.randn(6, 64)
    return Network(model, inputs, discover(model, inputs))


@functools.cache
def digits() -> Network:
    model = demo.model()
    inputs = demo.held_out()[0][0]
    return Network(model, inputs, discover(model, inputs))


@functools.cache
def llama() -> Network:
    transformers = __import__("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    inputs = torch.randint(0, 64, (2, 12))
    return Network(model, inputs, discover(model, {"input_ids": inputs}), "input_ids")


NETWORKS: dict[str, Callable[[], Network]] = {"mixed": mixed, "digits": digits, "llama": llama}


def sqnr(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any]) -> float:
    """Signal to noise, in decibels."""
    noise = float(((wanted - got) ** 2).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10((wanted**2).sum() / noise))
