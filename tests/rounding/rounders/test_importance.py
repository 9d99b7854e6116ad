from __future__ import annotations

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.errors import InvalidInput
from mckp_quant.layers import Layer
from mckp_quant.rounding import Gptq, Importance, ImportanceMatrix, Nearest, decode_weight
from mckp_quant.rounding.encoded import BlockWeight
from mckp_quant.rounding.rounder import InputStatistics

LAYER = Layer("up", "linear", (6, 256), 6, None)
FORMATS = tuple(map(mq.Format.named, ("q4_k", "q4_0", "w4")))
WEIGHT = torch.randn(LAYER.shape, generator=torch.Generator().manual_seed(0))
STRENGTHS = torch.logspace(-1, 1, 256)[torch.randperm(256, generator=torch.Generator().manual_seed(2))]
INPUTS = torch.randn(400, 256, generator=torch.Generator().manual_seed(1)) * STRENGTHS


def statistics(inputs: torch.Tensor) -> InputStatistics:
    wide = inputs.double()
    return InputStatistics((wide.T @ wide)[None], torch.tensor([float(len(wide))], dtype=torch.float64))


def blocks(rounder: Gptq | Importance | Nearest, given: InputStatistics | None) -> list[torch.Tensor]:
    found = rounder.encode(WEIGHT, LAYER, FORMATS, given)[:2]
    return [each.data for each in found if isinstance(each, BlockWeight)]


def test_inputs_and_a_file_of_the_same_strengths_give_the_same_blocks_as_gptq() -> None:
    given = statistics(INPUTS)
    squares = (INPUTS.double() ** 2).mean(dim=0).numpy().astype(np.float32)[None]
    own, file = blocks(Importance(), given), blocks(Importance(ImportanceMatrix({"up.weight": squares})), None)
    assert len(own) == 2
    assert all(map(torch.equal, own, blocks(Gptq(), given)))
    # The file holds float32.
    assert all(float((a != b).float().mean()) < 0.01 for a, b in zip(own, file, strict=True))
    plain = blocks(Nearest(), None)
    assert all(map(torch.equal, plain, blocks(Importance(), None)))
    assert not any(map(torch.equal, own, plain))


def test_the_output_error_falls_and_other_formats_stay_nearest() -> None:
    given = statistics(INPUTS)
    for entry, own, plain in zip(
        FORMATS,
        Importance().encode(WEIGHT, LAYER, FORMATS, given),
        Nearest().encode(WEIGHT, LAYER, FORMATS, None),
        strict=True,
    ):
        errors = [
            float((((decode_weight(each, entry, LAYER) - WEIGHT) @ INPUTS.T) ** 2).sum()) for each in (own, plain)
        ]
        assert errors[0] == errors[1] if entry.name == "w4" else errors[0] < 0.8 * errors[1]


def test_the_statistics_of_another_layer_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"Gram matrix of shape \(1, 8, 8\), but its weight has 6 rows of 256"):
        Importance().encode(WEIGHT, LAYER, FORMATS, statistics(INPUTS[:, :8]))
