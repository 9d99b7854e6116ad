from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Layer, Request, SensitivityTable, allocate, build, find_ties
from mckp_quant.allocation.choices import RUNTIME_TIES, allowed
from mckp_quant.formats.capabilities import TARGETS
from mckp_quant.formats.format import FLOAT, as_formats

from ..drawn_tables import make_table, tables


def named(*names: str, kinds: dict[str, str] | None = None, formats: str = "w2,w4,w8") -> SensitivityTable:
    layers = tuple(Layer(name, (kinds or {}).get(name, "linear"), (2, 8), 2, 16) for name in names)
    shape = (len(layers), len(as_formats(formats)))
    return SensitivityTable(layers, as_formats(formats), np.ones(shape), np.ones(shape))


def chosen(table: SensitivityTable, choices: Any = None, target: str | None = None) -> dict[str, str]:
    mask = allowed(table, choices, target)
    return {
        layer.name: " ".join(entry.name for entry, has in zip(table.formats, row, strict=True) if has)
        for layer, row in zip(table.layers, mask, strict=True)
    }


def test_rules_by_name_pattern_kind_and_place_and_the_last_one_counts() -> None:
    table = named("stem", "blocks.0.fc", "blocks.1.fc", "head", kinds={"stem": "conv2d"})
    assert chosen(table, {"blocks.*": ["w2", "w4"], "first": ["w8"]}) == {
        "stem": "w8",
        "blocks.0.fc": "w2 w4",
        "blocks.1.fc": "w2 w4",
        "head": "w2 w4 w8",
    }
    rules = {"kind:linear": ["w4"], "blocks.1.fc": ["w2"], "last": ["w8", "w4"]}
    assert list(chosen(table, rules).values()) == ["w2 w4 w8", "w4", "w2", "w4 w8"]
    assert list(chosen(table, {"blocks.1.fc": ["w2"], "kind:linear": ["w4"]}).values()) == ["w2 w4 w8"] + ["w4"] * 3


def test_layer_that_is_called_first_is_itself() -> None:
    table = named("a", "first")
    assert chosen(table, {"first": ["w8"]}) == {"a": "w2 w4 w8", "first": "w8"}


@given(tables(most_layers=4, forbidden=0.1), st.integers(0, 2**32 - 1))
def test_policy_chooses_only_what_the_rules_allow_and_percentages_stay(table: SensitivityTable, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = (rng.random(table.loss.shape) < 0.6) & ~np.isnan(table.loss)
    assume(mask.any(axis=1).all())
    rules = {
        layer.name: [entry.name for entry, has in zip(table.formats, row, strict=True) if has]
        for layer, row in zip(table.layers, mask, strict=True)
    }
    plain, _ = build(table, {"weight_bytes": "100%"})
    narrowed, _ = build(table, Request({"weight_bytes": "100%"}, choices=rules))
    assert narrowed.budget.tolist() == plain.budget.tolist()
    policy = allocate(table, Request({"weight_bytes": "100%"}, choices=rules)).policy
    best = math.fsum(np.where(mask, table.loss, np.inf).min(axis=1).tolist())
    assert policy.predicted == pytest.approx(best, abs=1e-9)
    assert all(entry.name in rules[layer] for layer, entry in zip(policy.layer_names, policy.formats, strict=True))
    assert policy.table == table.digest


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_targets_narrow_the_choices_to_what_they_take_and_leave_the_rest_in_float(target: str) -> None:
    kinds = {"conv": "conv2d", "embed": "embedding"}
    table = named("conv", "fc", "embed", kinds=kinds, formats="w1,w2,w3,w4,w5,w6,w7,w8").with_float()
    can = TARGETS[target]
    for layer, row in zip(table.layers, allowed(table, target=target), strict=True):
        for entry, has in zip(table.formats, row, strict=True):
            takes = layer.kind in can.kinds and entry.weight_bits in can.weight_bits and None in can.activation_bits
            takes = takes and "channel" in can.granularities
            assert has == (entry == FLOAT or takes)


def test_activation_bits_that_a_target_does_not_compute_with_are_no_choice() -> None:
    joint = [Format(f"x{w}a{a}", w, a, stored_bits=lambda layer: layer.elements) for w in (4, 8) for a in (4, 8)]
    layer = Layer("fc", "linear", (2, 8), 2, 16)
    table = SensitivityTable((layer,), (*joint, FLOAT), np.ones((1, 5)), np.ones((1, 5)))
    assert chosen(table, target="compressed_tensors") == {"fc": "x4a8 x8a8 float"}
    assert chosen(table, target="onnxruntime_qdq") == {"fc": "x4a4 x4a8 x8a4 x8a8 float"}


def test_float_is_a_choice_without_loss_that_costs_32_bits_a_weight() -> None:
    table = make_table([[3.0, 2.0, 1.0], [9.0, 8.0, 7.0]]).with_float()
    assert table.with_float() is table
    assert table.format_names[-1] == "float"
    assert table.loss[:, -1].tolist() == [0, 0]
    found = allocate(table, {"weight_bytes": 4 * 200 + 100 // 4 + 8}).policy
    assert [entry.name for entry in found.formats] == ["w2", "float"]
    assert found.costs["weight_bytes"] == 800 + 33
    assert Format.named("float") == FLOAT
    assert as_formats("w2,float")[1] == FLOAT


@given(tables())
def test_contributions_of_float_are_zero_too(table: SensitivityTable) -> None:
    more = table.with_float()
    assert more.contributions is not None
    assert (more.contributions[..., -1] == 0).all()
    assert np.array_equal(more.contributions[..., :-1], table.contributions, equal_nan=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choices", "target", "words"),
    [
        ({"blocks.*": ["w2"]}, None, "unknown layer or pattern 'blocks.*'"),
        ({"fc": ["w3"]}, None, "unknown format 'w3'"),
        ({"fc": "w2"}, None, "choices of 'fc' are the text 'w2': give a list of formats"),
        ({"kind:conv2": ["w2"]}, None, "unknown kind of layer 'conv2': did you mean 'conv2d'"),
        ({"fc": []}, None, "layer 'fc' .linear.: the rules leave it no format .w2, w4, w8.; measure another"),
        ({}, "coreml", "layer 'embed' .embedding.: the target 'coreml' takes none of its formats"),
        ({}, "torcha", "unknown target 'torcha': did you mean 'torchao'"),
    ],
)
def test_rules_that_make_no_sense_are_refused(choices: Any, target: str | None, words: str) -> None:
    table = named("conv", "fc", "embed", kinds={"conv": "conv2d", "embed": "embedding"})
    with pytest.raises(InvalidInput, match=words):
        allowed(table, choices, target)


def transformer() -> list[Layer]:
    names = []
    for block in range(2):
        names += [f"model.layers.{block}.self_attn.{part}_proj" for part in "qkvo"]
        names += [f"model.layers.{block}.mlp.experts.{e}.{p}_proj" for e in range(2) for p in ("gate", "up", "down")]
    return [Layer(name, "linear", (2, 2), 2, 4) for name in names]


def test_ties_of_a_transformer_are_found_by_the_runtimes_rules() -> None:
    layers = transformer()
    attention = [tuple(f"model.layers.{block}.self_attn.{part}_proj" for part in "qkv") for block in range(2)]
    experts = [tuple(layer.name for layer in layers if f".{block}.mlp.experts." in layer.name) for block in range(2)]
    for runtime in RUNTIME_TIES:
        assert set(find_ties(layers, [runtime])) == {*attention, *experts}
    # A user who asks for one rule gets that one.
    assert ("model.layers.0.mlp.experts.1.gate_proj", "model.layers.0.mlp.experts.1.up_proj") in find_ties(
        layers, ["gate_up"]
    )


def test_the_users_own_pattern_ties_what_differs_in_its_part_only() -> None:
    layers = [Layer(name, "conv2d", (2, 2), 2, 4) for name in ("b1.conv1", "b1.down", "b2.conv1", "b2.down", "fc")]
    assert find_ties(layers, [r"\.(?P<part>conv1|down)$"]) == (("b1.conv1", "b1.down"), ("b2.conv1", "b2.down"))
    # A second rule that shares a layer makes one set of both.
    both = find_ties(layers, [r"\.(?P<part>conv1|down)$", r"^(?P<part>b1|b2)\.down$"])
    assert both == (("b1.conv1", "b1.down", "b2.conv1", "b2.down"),)
    assert find_ties(layers, []) == ()


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (["qvk"], "the tie rule 'qvk' is neither one of qkv, gate_up, experts, residual, vllm"),
        (["(?P<part>"], "the tie rule .* is no regular expression"),
        ("qkv", "the rules are one text, 'qkv': give a list"),
    ],
)
def test_tie_rules_that_make_no_sense_are_refused(rules: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        find_ties(transformer(), rules)
