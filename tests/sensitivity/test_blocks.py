"""Networks that are measured block by block: the numbers of the whole graph, under the least limit that works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant import InvalidInput
from mckp_quant.sensitivity.engine.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMATS = "w2,w4"
RATES = Rates(1e9, (1e-9, 1e-9), again=(1e-9, 1e-9))
SIZES = {"vocab_size": 16, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}


class Residual(nn.Module):
    """Convolutions with a batch norm between them, in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm(self.first(x)))
        out: Tensor = self.relu(self.second(y) + x)
        return out


def sequential() -> tuple[nn.Module, list[Any]]:
    torch.manual_seed(0)
    body = [nn.Conv2d(2, 4, 3), Residual(4), Residual(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    return nn.Sequential(*body), [torch.randn(4, 2, 6, 6) for _ in range(3)]


def decoder(family: str, dtype: torch.dtype = torch.float32, **options: Any) -> tuple[nn.Module, list[Any]]:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **SIZES, **options)
    model: nn.Module = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
    return model, [{"input_ids": torch.randint(0, 16, (2, 6))} for _ in range(3)]


NETWORKS: dict[str, Callable[[], tuple[nn.Module, list[Any]]]] = {
    "sequential": sequential,
    "Llama": lambda: decoder("llama", num_key_value_heads=1),
    "Qwen2, tied, bfloat16": lambda: decoder("qwen2", torch.bfloat16, tie_word_embeddings=True, num_key_value_heads=2),
    "GPT-2": lambda: decoder("gpt2", n_positions=8, bos_token_id=0, eos_token_id=0),
    "OPT": lambda: decoder("opt", ffn_dim=12, max_position_embeddings=8, word_embed_proj_dim=8),
    "Mixtral": lambda: decoder("mixtral", num_local_experts=3, num_key_value_heads=1),
}


def least(model: nn.Module, batch: object, method: str = "gauss_newton") -> mq.RunOptions:
    planned = mq.plan(model, batch, formats=FORMATS, method=method, rates=RATES)
    assert planned.least < planned.peak
    return mq.RunOptions(memory_limit=planned.least)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_table_is_that_of_the_whole_graph_to_the_last_bit(name: str) -> None:
    model, batches = NETWORKS[name]()
    limit = least(model, batches[0])
    assert mq.plan(model, batches[0], formats=FORMATS, rates=RATES, run=limit).blocks == 2
    free = mq.measure(model, batches[:2], formats=FORMATS)
    bound = mq.measure(model, batches[:2], formats=FORMATS, run=limit)
    for found, expected in (
        (bound.loss, free.loss),
        (bound.stderr, free.stderr),
        (bound.contributions, free.contributions),
    ):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    assert bound.layers == free.layers


@pytest.mark.parametrize("method", [mq.sensitivity.GaussNewton(probes=2), mq.sensitivity.GaussNewton(matched=True)])
def test_several_probes_and_matched_means_are_the_same(method: mq.sensitivity.GaussNewton) -> None:
    model, batches = sequential()
    limit = least(model, batches[0])
    free = mq.measure(model, batches, formats=FORMATS, method=method)
    np.testing.assert_array_equal(mq.measure(model, batches, formats=FORMATS, method=method, run=limit).loss, free.loss)


@pytest.mark.parametrize("method", ["empirical_fisher", "first_order"])
def test_methods_with_targets_and_formats_of_inputs_are_the_same(method: str) -> None:
    model, batches = sequential()
    pairs = [(batch, torch.arange(len(batch)) % 3) for batch in batches]
    limit = least(model, pairs[0], method)
    formats = "w2a8,w4" if method == "empirical_fisher" else FORMATS
    free = mq.measure(model, pairs, formats=formats, method=method)
    np.testing.assert_array_equal(mq.measure(model, pairs, formats=formats, method=method, run=limit).loss, free.loss)


def test_a_run_that_stops_between_blocks_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batches = sequential()
    limit = least(model, batches[0]).memory_limit
    whole = mq.measure(model, batches, formats=FORMATS)
    run = mq.RunOptions(memory_limit=limit, checkpoint=tmp_path / "run.json")
    runs, last = [], [0]
    forward = Residual.forward

    def stopping(self: Residual, x: Tensor) -> Tensor:
        runs.append(len(x))
        if len(runs) == last[0]:
            raise KeyboardInterrupt
        return forward(self, x)

    monkeypatch.setattr(Residual, "forward", stopping)
    stops = 0
    for last[0] in range(12, 60, 5):
        runs.clear()
        try:
            found = mq.measure(model, batches, formats=FORMATS, run=run)
        except KeyboardInterrupt:
            stops += 1
            continue
        np.testing.assert_array_equal(found.loss, whole.loss)
        np.testing.assert_array_equal(found.stderr, whole.stderr)
        break
    assert stops >= 2
    assert len(json.loads((tmp_path / "run.json").read_text())["samples"]) == 3


def test_a_method_that_needs_the_whole_graph_says_so() -> None:
    model, batches = sequential()
    with pytest.raises(InvalidInput, match="block by block: method='measured_kl' needs the whole graph"):
        mq.measure(model, batches, formats=FORMATS, method="measured_kl", run=mq.RunOptions(memory_limit=100))
