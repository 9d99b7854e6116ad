from __future__ import annotations

import pytest

from mckp_quant import InvalidInput, Layer
from mckp_quant.formats import TARGETS, menu
from mckp_quant.formats.blocks import GGML_FORMATS
from mckp_quant.formats.format import as_formats
from mckp_quant.formats.menus import BLOCKS, formats_for

LAYERS = (
    Layer("first", "conv2d", (16, 3, 3, 3), 16, None),
    Layer("depthwise", "conv2d", (64, 1, 3, 3), 64, None),
    Layer("wide", "conv2d", (64, 64, 3, 3), 64, None),
    Layer("deep", "linear", (128, 256), 128, None),
    Layer("words", "embedding", (100, 64), 100, None),
)
BY_KIND = {kind: [layer for layer in LAYERS if layer.kind == kind] for kind in ("conv2d", "linear", "embedding")}


def names(*args: object) -> set[str]:
    return {entry.name for entry in menu(*args)}  # type: ignore[arg-type]


def test_without_a_target_it_is_bits_times_groups_times_zero_points() -> None:
    found = menu(LAYERS)
    assert len(found) == len(set(found)) == 36
    assert {entry.weight_bits for entry in found} == {2, 3, 4, 5, 6, 8}
    assert {entry.group_size for entry in found} == {None, 32, 64}
    assert {(entry.group_size, entry.symmetric) for entry in found if entry.weight_bits == 3} == {
        (size, symmetric) for size in (None, 32, 64) for symmetric in (True, False)
    }


@pytest.mark.parametrize("target", TARGETS)
def test_each_format_is_taken_by_a_layer_and_none_that_one_takes_is_missing(target: str) -> None:
    found = menu(LAYERS, target)
    taken = TARGETS[target]
    for entry in found:
        assert any(taken.takes(layer, entry) for layer in LAYERS), entry.name
    for entry in set(menu(LAYERS)) - set(found):
        assert not any(
            taken.takes(layer, entry)
            and layer.row % (entry.group_size or 1) == 0
            and layer.row > (entry.group_size or 0)
            for layer in LAYERS
        ), entry.name


@pytest.mark.parametrize("target", TARGETS)
def test_only_the_layers_there_are_count(target: str) -> None:
    for kind, layers in BY_KIND.items():
        if kind in TARGETS[target].kinds:
            assert names(layers, target) <= names(LAYERS, target)
        else:
            with pytest.raises(InvalidInput, match=rf"target '{target}' takes none of the {len(layers)} layers in w2"):
                menu(layers, target)


def test_gguf_has_the_types_of_llama_cpp_too() -> None:
    deep, words = names(BY_KIND["linear"], "gguf"), names(BY_KIND["embedding"], "gguf")
    assert {"q2_k", "q6_k", "iq4_xs", "iq4_nl", "w4g32"} <= deep
    assert words == {"w4g32", "w5g32", "w8g32", "q4_1", "q5_1", "iq4_nl"}  # rows of 64 are no whole blocks of 256
    assert not names(LAYERS) & set(GGML_FORMATS)


def test_groups_that_leave_a_rest_or_are_as_long_as_the_row_are_left_out() -> None:
    assert {entry.group_size for entry in menu(LAYERS[:2])} == {None}
    assert {entry.group_size for entry in menu(LAYERS[4:])} == {None, 32}
    unknown = Layer("flat", "", (4096,), None, None)
    assert {entry.group_size for entry in menu([unknown])} == {None}


def test_some_targets_by_hand() -> None:
    assert names(LAYERS, "onnxruntime") == {"w4", "w8"}
    assert names(LAYERS, "gguf") == {"w4g32", "w5g32", "w8g32", *BLOCKS}
    assert names(LAYERS, "onnxruntime_nbits") == {
        f"w{bits}g{size}{zero}" for bits in (2, 4, 8) for size in (32, 64) for zero in ("", "z")
    }
    with pytest.raises(InvalidInput, match="unknown target 'onxruntime'"):
        menu(LAYERS, "onxruntime")


def test_the_word_auto_stands_for_it_and_names_for_themselves() -> None:
    assert formats_for("auto", LAYERS, "gguf") == menu(LAYERS, "gguf")
    assert formats_for("w2,w4", LAYERS) == as_formats("w2,w4")
    assert formats_for(["w2"], LAYERS) == as_formats("w2")
