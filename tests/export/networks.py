"""Networks that are exported in the tests, and policies drawn for them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mckp_quant import Format, Layer, Policy, apply, demo
from mckp_quant.formats.capabilities import TARGETS
from mckp_quant.network.discovery import discover
from mckp_quant.rounding import EncodedWeight, Nearest, WeightBank, round_weights
from mckp_quant.rounding.calibration import calibrate_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mckp_quant.rounding.encoded import StoredWeight
    from mckp_quant.rounding.rounder import InputStatistics

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


@dataclass(frozen=True)
class Drawn:
    """A rounder whose codes are drawn from those of the format: whoever rounds the weight again gets others."""

    seed: int = 0

    name: ClassVar[str] = "drawn"
    reference: ClassVar[str] = "none"
    needs: ClassVar[str] = "nothing"

    def encode(
        self, weight: Tensor, layer: Layer, formats: Sequence[Format], inputs: InputStatistics | None
    ) -> list[StoredWeight]:
        made: list[StoredWeight] = []
        generator = torch.Generator().manual_seed(self.seed)
        for entry, encoded in zip(formats, Nearest().encode(weight, layer, formats, inputs), strict=True):
            assert isinstance(encoded, EncodedWeight)
            low, high = int(encoded.elements.min()), int(encoded.elements.max())
            drawn = torch.randint(low, high + 1, encoded.elements.shape, generator=generator).to(encoded.elements)
            made.append(encoded if entry.family == "float" else replace(encoded, elements=drawn))
        return made


def bank_of(network: Network, policy: Policy, rounder: Any) -> WeightBank:
    """The codes that a policy needs, as a rounder makes them; there is none for a policy in float."""
    formats = [entry for entry in dict.fromkeys(policy.formats) if entry.name != "float"]
    return round_weights(network.model, network.batches, formats, rounder=rounder)


@dataclass(frozen=True)
class Done:
    """What stands for `finish` in these tests."""

    model: nn.Module
    bank: WeightBank
    policy: Policy


def finished(network: Network, policy: Policy, bank: WeightBank, gains: str | None = None) -> Done:
    """A network under a policy whose biases and norms were moved, and a layer of which has gained a bias."""
    model = apply(network.model, policy, bank=bank)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.05 * torch.linspace(-1, 1, parameter.numel()) + 0.01 * len(name))
    if gains is not None:
        layer: Any = model.get_submodule(gains)
        assert layer.bias is None
        layer.bias = nn.Parameter(torch.linspace(-0.3, 0.2, len(layer.weight)))
    return Done(model, bank, policy)


def sqnr(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any]) -> float:
    """Signal to noise, in decibels."""
    noise = float(((wanted - got) ** 2).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10((wanted**2).sum() / noise))
