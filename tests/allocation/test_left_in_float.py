"""Layers that a target cannot take, or that a pin leaves as they are, stay in float though the table has no float."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mckp_quant import Layer, Request, SensitivityTable, allocate, check_stability
from mckp_quant.allocation.builder import build
from mckp_quant.errors import InvalidInput
from mckp_quant.formats import TARGETS, as_formats


def decoder(formats: str = "w4g32,w8") -> SensitivityTable:
    """An embedding and two linear layers, measured without ``float``."""
    layers = tuple(
        Layer(name, kind, (64, 64), 64, 4096)
        for name, kind in (("embed", "embedding"), ("q", "linear"), ("o", "linear"))
    )
    loss = np.array([[3.0, 1.0], [2.0, 0.5], [4.0, 0.25]])
    contributions = loss * np.array([1.0, 1.5, 0.5, 1.0])[:, None, None]
    return SensitivityTable(
        layers, as_formats(formats), loss, 0.1 * loss, contributions=contributions, batch_sizes=np.full(4, 8.0)
    )


@pytest.mark.parametrize("target", ["compressed_tensors", "vllm", "sglang", "onnxruntime", "torchao"])
def test_a_target_leaves_in_float_what_it_cannot_take(target: str) -> None:
    table = decoder("w4,w8" if target == "onnxruntime" else "w4g32,w8")
    policy = allocate(table, {"weight_bytes": 30_000}, target=target).policy
    stored = TARGETS[target].stored_bytes
    assert policy["embed"].name == "float"
    assert policy.costs["weight_bytes"] == sum(stored(layer, policy[layer.name]) for layer in table.layers)
    assert policy.costs["weight_bytes"] >= 4 * 64 * 64  # the embedding's float numbers count
    assert policy.predicted == sum(table.loss[row, table.column(policy.formats[row].name)] for row in (1, 2))


def test_rows_that_no_group_divides_stay_in_float() -> None:
    table = decoder("w4g32,w8g32")
    odd = dataclasses.replace(table, layers=(*table.layers[:2], Layer("o", "linear", (64, 40), 64, 4096)))
    policy = allocate(odd, {"weight_bytes": 20_000}, target="gguf").policy
    assert [entry.name for entry in policy.formats] == ["w8g32", "w8g32", "float"]


def test_layers_of_which_too_little_is_known_are_not_left_in_float_in_silence() -> None:
    table = decoder("w4g32,w8")
    for layer, formats, told in (
        (Layer("o", "", (8, 4, 2), 8, 64), "w4g32,w8", "nothing says of which kind the layer is"),
        (Layer("o", "linear", (64, 64), 64, 4096), "w3,w3g32", "no 3-bit weights"),
    ):
        other = dataclasses.replace(table, layers=(*table.layers[:2], layer), formats=as_formats(formats))
        with pytest.raises(InvalidInput, match=rf"the target 'sglang' takes none of its formats \(w.*: {told}"):
            allocate(other, {"weight_bytes": "90%"}, target="sglang")


def test_no_other_layer_gets_the_new_choice() -> None:
    problem, index = build(decoder(), {"weight_bytes": "100%"}, target="torchao")
    assert [entry.name for entry in index.formats] == ["w4g32", "w8", "float"]
    assert problem.label.tolist() == [2, 0, 1, 0, 1]


@pytest.mark.parametrize(
    "asked",
    [
        Request({"weight_bytes": "90%"}, pinned={"embed": "float"}),
        Request({"weight_bytes": "90%"}, choices={"kind:embedding": ["float"]}),
    ],
)
def test_pins_and_choices_may_say_float(asked: Request) -> None:
    assert allocate(decoder(), asked).policy["embed"].name == "float"


def test_a_table_that_forbids_float_is_believed() -> None:
    barred = np.pad(decoder().loss, ((0, 0), (0, 1)), constant_values=np.nan)
    table = dataclasses.replace(decoder().with_float(), loss=barred)
    with pytest.raises(InvalidInput, match="layer 'embed' is pinned to 'float', which the table does not allow"):
        allocate(table, {"weight_bytes": "90%"}, pinned={"embed": "float"})


def test_the_policy_is_still_the_tables() -> None:
    table = decoder()
    found = allocate(table, {"weight_bytes": 30_000}, target="torchao")
    assert found.policy.table == table.digest == table.with_float().digest
    assert found.policy.correction.startswith("cross-fitted")
    stability = check_stability(table, found, draws=8)
    assert stability.nominal.policy["embed"].name == "float"


def test_float_that_loses_something_counts_in_the_digest() -> None:
    table = decoder().with_float()
    lossy = table.loss.copy()
    lossy[0, -1] = 0.5
    assert dataclasses.replace(table, loss=lossy).digest != table.digest
