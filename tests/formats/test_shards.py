"""Layers that runtimes spread over devices: groups and packed words must not be cut."""

from __future__ import annotations

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.formats.capabilities import capability
from mckp_quant.formats.shards import refuses_shards
from mckp_quant.solvers import NoSolution
from mckp_quant.tables import table_from_arrays

NAMES = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj", "lm_head")


def layer(name: str, rows: int, columns: int) -> mq.Layer:
    return mq.Layer(name, "linear", (rows, columns), rows, None)


@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("columns", [96, 128, 256, 512])
@pytest.mark.parametrize("name", ["w4g32", "w4g64", "w8", "w3", "w8a8d", "fp8_e4m3"])
def test_a_row_parallel_layer_can_be_spread_exactly_where_its_parts_are_layers_of_whole_groups_and_words(
    name: str, columns: int, devices: int
) -> None:
    entry = mq.Format.named(name)
    whole = columns % devices == 0
    if whole and devices > 1:  # the parts of a row, cut by hand
        row = np.arange(columns)
        groups = row // (entry.group_size or columns)
        bits = 0 if entry.activation_scheme or entry.family == "float" else entry.weight_bits
        for part in np.split(row, devices):
            beside = np.setdiff1d(row, part)
            whole &= entry.group_size is None or not np.isin(groups[part], groups[beside]).any()
            whole &= len(part) * bits % 32 == 0
    found = refuses_shards(layer(NAMES[1], 64, columns), entry, devices)
    assert (found == "") == (whole or devices == 1), found


def test_a_column_parallel_layer_needs_as_many_outputs_and_its_groups_stay() -> None:
    entry = mq.Format.named("w4g128")
    assert refuses_shards(layer(NAMES[0], 64, 128), entry, 8) == ""
    assert refuses_shards(layer(NAMES[0], 60, 128), entry, 8) == "60 outputs cannot be spread over 8 devices"
    assert refuses_shards(layer(NAMES[2], 61, 128), entry, 8) == ""  # held whole


@pytest.mark.parametrize("attention", ["attention", "self_attention", "self_attn"])  # of GPT-NeoX, Falcon and Phi
def test_what_closes_an_attention_is_cut_along_its_inputs_whatever_it_is_called(attention: str) -> None:
    closing = layer(f"model.layers.0.{attention}.dense", 64, 128)
    assert refuses_shards(closing, mq.Format.named("w4g64"), 4).startswith("groups of 64 do not divide the 32 inputs")
    assert refuses_shards(layer("model.pooler.dense", 64, 128), mq.Format.named("w4g64"), 4) == ""


def test_allocating_for_devices_leaves_out_what_they_cannot_hold() -> None:
    layers = [layer(NAMES[0], 256, 256), layer(NAMES[1], 256, 512)]
    losses = [[0.30, 0.03, 0.002], [0.012, 0.011, 0.001]]
    table = table_from_arrays(losses, layers, ["w4g128", "w4g64", "w8"], unit="nats").table
    alone = mq.allocate(table, {"bits_per_weight": 4.21}, target="vllm").policy
    spread = mq.allocate(table, {"bits_per_weight": 4.21}, target="vllm:tp8").policy
    assert alone[NAMES[1]].name == "w4g128"
    assert spread[NAMES[1]].name == "w4g64"
    with pytest.raises(NoSolution, match="groups of 64 do not divide the 32 inputs that each of 16 devices holds"):
        mq.allocate(table, {"bits_per_weight": 4.21}, target="vllm:tp16")
    with pytest.raises(mq.InvalidInput, match="256 outputs cannot be spread over 3 devices"):
        mq.allocate(table, {"bits_per_weight": 4.21}, target="sglang:tp3")


@pytest.mark.parametrize("name", ["torchao:tp2", "vllm:tp0", "vllm:tpx", "vllm:tp2048"])
def test_targets_that_do_not_spread_are_refused(name: str) -> None:
    with pytest.raises(
        mq.InvalidInput, match="vllm and sglang spread layers over 1 to 1024 devices, written as vllm:tp8"
    ):
        capability(name)
    assert capability("vllm:tp1") == capability("vllm")
