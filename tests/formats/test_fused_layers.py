from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mckp_quant import InvalidInput, Layer, SensitivityTable, allocate, find_ties
from mckp_quant.formats.capabilities import TARGETS
from mckp_quant.formats.format import as_formats
from mckp_quant.formats.fused_layers import FUSED_LAYERS, VERSIONS, FusedLayers

P = "model.layers.0."


def layers(*names: str) -> list[Layer]:
    return [Layer(P + name, "linear", (64, 64), 64, 1) for name in names]


@pytest.mark.parametrize("runtime", VERSIONS)
@pytest.mark.parametrize(
    "names",
    [
        ("linear_attn.in_proj_qkv", "linear_attn.in_proj_z"),
        ("linear_attn.in_proj_b", "linear_attn.in_proj_a"),
        ("self_attn.q_a_proj", "self_attn.kv_a_proj_with_mqa"),
        ("mlp.experts.0.down_proj", "mlp.experts.1.down_proj"),
        ("mlp.experts.0.gate_proj", "mlp.experts.0.down_proj"),
        ("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
    ],
)
def test_the_sets_of_large_language_models_are_found(runtime: str, names: tuple[str, str]) -> None:
    assert find_ties(layers(*names), [runtime]) == (tuple(P + name for name in names),)


@pytest.mark.parametrize("row", FUSED_LAYERS, ids=lambda row: "+".join(row.parts))
def test_every_row_ties_its_parts_and_only_under_one_parent(row: FusedLayers) -> None:
    for runtime in row.runtimes:
        whole = layers(*(f"block.{part}" for part in row.parts))
        assert find_ties(whole, [runtime]) == (tuple(layer.name for layer in whole),)
        apart = layers(*(f"block{at}.{part}" for at, part in enumerate(row.parts)))
        assert find_ties(apart, [runtime]) == ()


def test_layers_that_read_other_tensors_stay_free() -> None:
    free = layers("self_attn.o_proj", "mlp.down_proj", "mlp.gate", "shared_expert.down_proj", "linear_attn.out_proj")
    for runtime in VERSIONS:
        assert find_ties(free, [runtime]) == ()


def test_w1_and_w2_are_fused_only_where_there_is_no_w3() -> None:
    assert find_ties(layers("mlp.w1", "mlp.w2"), ["sglang"]) == ((P + "mlp.w1", P + "mlp.w2"),)
    assert find_ties(layers("mlp.w1", "mlp.w2", "mlp.w3"), ["sglang"]) == ((P + "mlp.w1", P + "mlp.w3"),)


def test_a_policy_for_vllm_gives_one_format_to_a_fused_module() -> None:
    known = layers("linear_attn.in_proj_qkv", "linear_attn.in_proj_z", "linear_attn.out_proj")
    loss = np.array([[9.0, 0.1], [0.1, 0.01], [5.0, 0.1]])
    table = SensitivityTable(tuple(known), as_formats("w4,w8"), loss, np.full(loss.shape, np.nan))
    free = allocate(table, {"weight_bytes": "80%"}).policy
    assert free[known[0].name] != free[known[1].name]
    tied = allocate(table, {"weight_bytes": "80%"}, target="vllm").policy
    assert tied[known[0].name] == tied[known[1].name]


def test_targets_name_rules_that_exist() -> None:
    for target, taken in TARGETS.items():
        find_ties([], taken.ties)
        assert target not in VERSIONS or taken.ties == (target,)
    with pytest.raises(InvalidInput, match=r"neither one of .*vllm, sglang, tensorrt_llm"):
        find_ties([], ["vlm"])


def test_the_page_says_of_every_row_which_runtimes_fuse_it_and_from_which_version() -> None:
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    for runtime, version in VERSIONS.items():
        assert version in page, runtime
    for row in FUSED_LAYERS:
        parts = ", ".join(f"`{part}`" for part in row.parts)
        assert re.search(rf"^\| {re.escape(parts)}.* \| {re.escape(row.architectures)} \|", page, re.MULTILINE), parts
