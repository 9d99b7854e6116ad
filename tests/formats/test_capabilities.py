from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import Format, Layer, Request, SensitivityTable, allocate, build
from mckp_quant.costs.costs import cost_matrix
from mckp_quant.formats.blocks import GGUF_BLOCKS
from mckp_quant.formats.capabilities import TARGETS
from mckp_quant.formats.format import as_formats

LINEAR = Layer("fc", "linear", (8, 256), 8, 2048)
CONV = Layer("conv", "conv2d", (8, 4, 3, 3), 8, 2048)
SHARED = Layer("fc", "linear", (8, 256), 8, 2048, ("twin",))
OWN = {name: Format(name, 4, stored_bits=lambda layer: 4 * layer.elements) for name in GGUF_BLOCKS}


@pytest.mark.parametrize(
    ("target", "layer", "name", "why"),
    [
        ("torchao", LINEAR, "w3g64", ""),
        ("torchao", LINEAR, "w1", "no 1-bit weights"),
        ("torchao", CONV, "w4", ""),
        ("torchao", CONV, "w4g16", "no groups in conv2d layers"),
        ("torchao", Layer("odd", "linear", (8, 100), 8, 800), "w4g64", "rows of 100 weights are no multiple of 64"),
        ("torchao", LINEAR, "w8a8d", ""),
        ("torchao", LINEAR, "w8a8", "quantised activations only as in w8a8d and w8a8sd"),
        ("torchao", LINEAR, "w4t", "no scale for each tensor"),
        ("onnxruntime", LINEAR, "w8a8", ""),
        ("onnxruntime", LINEAR, "w8a8d", "no dynamic ranges of activations"),
        ("onnxruntime", CONV, "w4a16", ""),
        ("openvino", LINEAR, "w8a8", "no 8-bit activations"),
        ("coreml", LINEAR, "w4a16", "no 16-bit activations"),
        ("onnxruntime", LINEAR, "w8a6", "no 6-bit activations"),
        ("onnxruntime_nbits", LINEAR, "w4g128", ""),
        ("onnxruntime_nbits", LINEAR, "w3g128", "no 3-bit weights"),
        ("onnxruntime_nbits", LINEAR, "w4", "no scale for each channel"),
        ("openvino", LINEAR, "w8", ""),
        ("openvino", LINEAR, "w2z", "no zero points of 2-bit weights"),
        ("openvino", LINEAR, "w3", "no 3-bit weights"),
        ("mlx", LINEAR, "w4g64", "every scale of weights has a zero point there"),
        ("modelopt", LINEAR, "w8a8", "no zero points of activations"),
        ("openvino", LINEAR, "w8g64", "no groups of 8-bit weights"),
        ("compressed_tensors", LINEAR, "fp8_e4m3", ""),
        ("compressed_tensors", LINEAR, "fp8_e5m2", "no e5m2 weights"),
        ("compressed_tensors", CONV, "w4", "conv2d layers stay in floating point"),
        ("gguf", LINEAR, "w4g32", ""),
        ("gguf", LINEAR, "w4g32z", "no zero points of weights"),
        ("gguf", LINEAR, "w4g64", "no groups of 64"),
        ("coreml", LINEAR, "float", ""),
        ("onnxruntime", LINEAR, "w8af16", "no float16 activations"),
        ("onnxruntime", SHARED, "w8", ""),
        (
            "onnxruntime",
            SHARED,
            "w8a8",
            "no fixed ranges of activations where modules share a weight, as each has a range of its own",
        ),
        ("torchao", SHARED, "w8a8d", "it shares its weight with twin, which would be stored twice"),
        ("torchao", SHARED, "float", ""),
        ("onnxruntime_nbits", SHARED, "w4g32", "it shares its weight with twin, which would be stored twice"),
        ("vllm", LINEAR, "w4g32z", ""),
        ("vllm", LINEAR, "w3g128", ""),
        ("vllm", LINEAR, "w3z", "no zero points of 3-bit weights"),
        ("vllm", LINEAR, "w4g16", "no groups of 16"),
        ("vllm", LINEAR, "w4g256", "no groups of 256"),
        ("vllm", LINEAR, "w8a8sd", ""),
        ("vllm", LINEAR, "w4a8sd", "quantised activations only as in w8a8d and w8a8sd and fp8_e4m3a8d"),
        ("sglang", LINEAR, "w3", "no 3-bit weights"),
        ("sglang", LINEAR, "w4g16", "no groups of 16"),
        ("sglang", LINEAR, "w4g32", ""),
        ("sglang", LINEAR, "w4g32z", "no zero points of weights"),
        ("vllm", SHARED, "w4", "it shares its weight with twin, which would be stored twice"),
    ],
)
def test_targets_say_what_they_cannot_take(target: str, layer: Layer, name: str, why: str) -> None:
    entry = as_formats([name])[0]
    assert TARGETS[target].refuses(layer, entry) == why
    assert TARGETS[target].takes(layer, entry) == (not why)


@given(st.sampled_from(sorted(GGUF_BLOCKS)), st.integers(1, 600), st.integers(1, 5))
def test_blocks_must_divide_the_row_and_take_their_bytes(name: str, row: int, channels: int) -> None:
    layer = Layer("fc", "linear", (channels, row), channels, 0)
    block, stored = GGUF_BLOCKS[name]
    assert TARGETS["gguf"].takes(layer, OWN[name]) == (row % block == 0)
    if row % block == 0:
        assert TARGETS["gguf"].stored_bytes(layer, OWN[name]) == channels * (row // block) * stored


def test_blocks_take_the_bits_per_weight_that_gguf_states() -> None:
    stated = {
        "Q4_0": 4.5,
        "Q4_1": 5.0,
        "Q5_0": 5.5,
        "Q5_1": 6.0,
        "Q8_0": 8.5,
        "MXFP4": 4.25,
        "NVFP4": 4.5,
        "Q1_0": 1.125,
    }
    stated |= {"Q2_K": 2.625, "Q3_K": 3.4375, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625, "IQ1_S": 1.5625, "IQ1_M": 1.75}
    stated |= {"IQ2_XXS": 2.0625, "IQ2_XS": 2.3125, "IQ2_S": 2.5625, "IQ3_XXS": 3.0625, "IQ3_S": 3.4375}
    stated |= {"IQ4_XS": 4.25, "TQ1_0": 1.6875, "TQ2_0": 2.0625, "IQ4_NL": 4.5}
    assert {name: 8 * stored / size for name, (size, stored) in GGUF_BLOCKS.items() if name in stated} == stated


def table_of(layers: tuple[Layer, ...], names: str) -> SensitivityTable:
    formats = as_formats(names)
    fall = np.array([[4.0**-entry.weight_bits for entry in formats]] * len(layers))
    return SensitivityTable(layers, formats, fall, np.full(fall.shape, np.nan))


def test_costs_count_what_the_target_stores() -> None:
    table = table_of((LINEAR, CONV), "w4,w8")
    plain, torchao = cost_matrix("weight_bytes", table), cost_matrix("weight_bytes", table, target="torchao")
    assert plain.tolist() == [[1024 + 32, 2048 + 32], [144 + 32, 288 + 32]]
    assert torchao.tolist() == [[2048 + 5 * 8] * 2, [288 + 5 * 8] * 2]
    assert (cost_matrix("bits_per_weight", table, target="torchao") == 8 * torchao).all()
    assert (cost_matrix("bops", table, target="torchao") == cost_matrix("bops", table)).all()
    policy = allocate(table, {"weight_bytes": "100%"}, target="torchao").policy
    assert policy.target == "torchao"
    assert policy.costs["weight_bytes"] == int(torchao[:, 1].sum())


def test_the_target_ties_what_it_fuses_and_joins_the_users_sets() -> None:
    parts = ("q", "k", "v", "o")
    layers = tuple(Layer(f"m.{part}_proj", "linear", (4, 64), 4, 256) for part in parts)
    table = table_of(layers, "w4,w8")
    assert build(table, {"weight_bytes": "90%"}, target="torchao")[1].tied == ()
    fused = ("m.q_proj", "m.k_proj", "m.v_proj")
    assert build(table, {"weight_bytes": "90%"}, target="vllm")[1].tied == (fused,)
    joined = build(table, Request({"weight_bytes": "90%"}, target="vllm", tied=[["m.v_proj", "m.o_proj"]]))[1].tied
    assert joined == ((*fused, "m.o_proj"),)
