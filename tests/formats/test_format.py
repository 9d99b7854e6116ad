from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Layer
from mckp_quant.formats.format import BUILT_IN, as_formats, format_document, format_from
from mckp_quant.formats.schemes import GROUP_SIZES

from ..drawn_tables import OWN


@given(st.integers(1, 8), st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 64))
def test_built_in_formats_store_their_bits_and_one_float_per_channel(
    bits: int, shape: list[int], channels: int
) -> None:
    layer = Layer("layer", "conv2d", tuple(shape), channels, macs=0)
    entry = Format.named(f"w{bits}")
    assert entry.storage_bits(layer) == bits * math.prod(shape) + 32 * channels
    assert entry.storage_bytes(layer) == math.ceil(entry.storage_bits(layer) / 8)
    assert (entry.weight_bits, entry.activation_bits, entry.built_in) == (bits, None, True)


@given(st.integers(0, 10**20))
def test_bytes_are_bits_rounded_up(bits: int) -> None:
    entry = Format("own", 4, stored_bits=lambda layer: bits)
    stored = entry.storage_bytes(Layer("layer", "linear", (1, 1), 1, 0))
    assert 8 * (stored - 1) < bits <= 8 * stored


@pytest.mark.parametrize("name", ["w9", "w0", "w04", "W4", "int4", "w4 ", ""])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"unknown format '{name}'.*known are: w1, w2"):
        Format.named(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("W4", "unknown format 'W4': did you mean 'w4'"),
        ("w44", "weights have 1 to 8 bits; did you mean 'w4'"),
        ("w4g33", r"groups have 16, 32, 64, 128, 256 weights; did you mean 'w4g32'"),
        ("w4g128a12", "activations have 2 to 8 or 16 bits; did you mean 'w4g128a2'"),
        ("w4a3z", "did you mean 'w4z'"),
        ("a1", "activations have 2 to 8 or 16 bits"),
        ("w1z", "one bit leaves no room for a zero point; did you mean 'w1'"),
        ("fp8_e4m3a4", "beside fp8 weights, activations are a8 or a8d, in the same fp8; known"),
        ("mxfp4a8", "beside block formats, activations stay float or are af16 or abf16; known are"),
        ("mxfp6", "did you mean 'mxfp4'"),
    ],
)
def test_names_that_are_nearly_right_get_the_rule_and_the_nearest_name(name: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(words)):
        Format.named(name)


WEIGHTS = {
    **{f"w{bits}": (bits, "integer", "channel", None, True) for bits in range(1, 9)},
    **{f"w{bits}t": (bits, "integer", "tensor", None, True) for bits in range(1, 9)},
    **{f"w{bits}g{n}": (bits, "integer", "group", n, True) for bits in range(1, 9) for n in GROUP_SIZES},
    **{f"w{bits}g{n}z": (bits, "integer", "group", n, False) for bits in range(2, 9) for n in GROUP_SIZES},
    **{f"w{bits}z": (bits, "integer", "channel", None, False) for bits in range(2, 9)},
    **{f"w{bits}tz": (bits, "integer", "tensor", None, False) for bits in range(2, 9)},
    **{f"fp8_{kind}": (8, "float", "channel", None, True) for kind in ("e4m3", "e5m2")},
    **{f"fp8_{kind}t": (8, "float", "tensor", None, True) for kind in ("e4m3", "e5m2")},
    "mxfp4": (4, "block", "group", 32, True),
    "nvfp4": (4, "block", "group", 16, True),
}
ACTIVATIONS = {
    **{
        f"a{bits}{s}{d}": (bits, "int", bool(s), bool(d))
        for bits in (2, 3, 4, 5, 6, 7, 8, 16)
        for s in ("", "s")
        for d in ("", "d")
    },
    "af16": (16, "float16", True, False),
    "abf16": (16, "bfloat16", True, False),
}


@given(st.sampled_from(["", *WEIGHTS]), st.sampled_from(["", *ACTIVATIONS]))
def test_names_are_a_weight_part_and_an_activation_part(weights: str, activations: str) -> None:
    if not weights + activations or WEIGHTS.get(weights, ("", "integer"))[1] != "integer":
        return
    entry = Format.named(weights + activations)
    assert entry.built_in
    found = (entry.weight_bits, entry.family, entry.granularity, entry.group_size, entry.symmetric)
    assert found == WEIGHTS.get(weights, (32, None, None, None, None))
    inputs = entry.activation_scheme
    assert (entry.activation_bits is None) == (inputs is None) == (not activations)
    if inputs is not None:
        assert (inputs.bits, inputs.element, inputs.symmetric, inputs.dynamic) == ACTIVATIONS[activations]
        assert inputs.calibrated == (inputs.element == "int" and not inputs.dynamic)
        assert entry.activation_bits == inputs.bits
    assert as_formats(entry.name) == (entry,)
    assert format_from(format_document(entry, {}), "the table") == entry


@pytest.mark.parametrize("name", [name for name in WEIGHTS if WEIGHTS[name][1] != "integer"])
def test_float_formats_are_for_weights_or_for_both(name: str) -> None:
    entry = Format.named(name)
    assert (entry.weight_bits, entry.family, entry.granularity, entry.group_size, entry.symmetric) == WEIGHTS[name]
    assert entry.activation_scheme is None
    if entry.family == "float":
        both = Format.named(f"{name}a8d").activation_scheme
        assert entry.weight_scheme is not None
        assert both is not None
        assert (both.bits, both.element, both.dynamic) == (8, entry.weight_scheme.element, True)
    assert Format.named(f"{name}af16").activation_bits == 16


def bits_counted_one_by_one(name: str, channels: int, row: int) -> int:
    """Bits of every weight, scale and zero point, added up while walking along every row."""
    bits, family, granularity, size, symmetric = WEIGHTS[name]
    total = 0
    for channel in range(channels):
        for position in range(row):
            begins = {
                "tensor": channel == position == 0,
                "channel": position == 0,
                "group": size is not None and position % size == 0,
            }
            if begins[granularity]:
                total += (8 if family == "block" else 16 if size else 32) + (0 if symmetric else bits)
            total += bits
    return total + (32 if name == "nvfp4" else 0)


@given(st.sampled_from(list(WEIGHTS)), st.integers(1, 5), st.integers(1, 300), st.sampled_from(["", "af16"]))
def test_stored_bits_are_those_of_every_weight_scale_and_zero_point(
    name: str, channels: int, row: int, activations: str
) -> None:
    layer = Layer("fc", "linear", (channels, row), channels, macs=0)
    stored = Format.named(name + activations).storage_bits(layer)
    assert stored == bits_counted_one_by_one(name, channels, row)


def test_activations_change_nothing_of_what_is_stored() -> None:
    layer = Layer("fc", "linear", (3, 50), 3, macs=7)
    for name in ("a8", "float"):
        assert Format.named(name).storage_bits(layer) == 32 * 150
    assert Format.named("w4g32a4").storage_bits(layer) == Format.named("w4g32").storage_bits(layer)


def test_a_users_own_activation_bits_are_integers_with_a_zero_point() -> None:
    inputs = OWN.activation_scheme
    assert inputs is not None
    assert (inputs.bits, inputs.element, inputs.symmetric, inputs.dynamic) == (8, "int", False, False)
    assert (OWN.weight_scheme, OWN.family, OWN.granularity, OWN.group_size, OWN.symmetric) == (None,) * 5
    assert Format("wide", 16, 32, stored_bits=len).activation_scheme is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "own", "weight_bits": 0, "stored_bits": len}, "weight_bits of format 'own' is 0: it must"),
        (
            {"name": "own", "weight_bits": 33, "stored_bits": len},
            "weight_bits of format 'own' is 33: it must be a whole number from 1 to 32",
        ),
        ({"name": "own", "weight_bits": 4.5, "stored_bits": len}, "is 4.5: it must be a whole number"),
        ({"name": "own", "weight_bits": True, "stored_bits": len}, "is True: it must be a whole number"),
        (
            {"name": "own", "weight_bits": 4, "activation_bits": 0, "stored_bits": len},
            "format 'own' is 0: it must",
        ),
        (
            {"name": "own", "weight_bits": 4, "activation_bits": "8", "stored_bits": len},
            "format 'own' is '8': it",
        ),
        ({"name": "own", "weight_bits": 4}, r"format 'own' is not built in, as w1, .* are: say with stored_bits="),
        ({"name": "w4", "weight_bits": 3}, "format 'w4' is built in, with weight_bits = 4 and activation_bits = None"),
        ({"name": "w4a8", "weight_bits": 4}, "activation_bits = 8, and cannot be changed: use Format.named"),
        ({"name": "w4", "weight_bits": 4, "quantize": len}, "format 'w4' is built in, .* and cannot be changed"),
    ],
)
def test_formats_that_do_not_say_enough_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Format(**arguments)


@pytest.mark.parametrize("whole", [np.int64(7), np.uint8(7), 7])
def test_whole_numbers_of_any_type_are_bits(whole: Any) -> None:
    entry = Format("own", whole, whole, stored_bits=lambda layer: whole)
    found = (entry.weight_bits, entry.activation_bits, entry.storage_bits(Layer("fc", "linear", (1, 1), 1, 0)))
    assert found == (7, 7, 7)
    assert {type(bits) for bits in found} == {int}


@pytest.mark.parametrize("bits", [-1, 2.5, "8", None, True])
def test_own_bits_must_be_whole_numbers(bits: Any) -> None:
    entry = Format("own", 4, stored_bits=lambda layer: bits)
    with pytest.raises(
        InvalidInput, match=r"stored_bits of format 'own' for layer 'fc' is .*: it must be a whole number, at least 0"
    ):
        entry.storage_bits(Layer("fc", "linear", (1, 1), 1, 0))


def test_formats_come_from_text_names_and_objects() -> None:
    assert as_formats("w2, w4,") == as_formats(["w2", Format.named("w4")])
    assert as_formats([OWN, "w2"])[0] is OWN
    assert tuple(entry.name for entry in as_formats(BUILT_IN)) == BUILT_IN


@pytest.mark.parametrize(
    ("formats", "words"),
    [
        ("", "no formats given"),
        ([], "no formats given"),
        ("w2,w4,w2", "format 'w2' is given twice"),
        ("w2,w16", "unknown format 'w16'"),
    ],
)
def test_lists_of_formats_are_checked(formats: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        as_formats(formats)


def test_document_holds_what_the_format_is() -> None:
    assert format_document(Format.named("w4"), {"a": 7}) == {"name": "w4"}
    document = format_document(OWN, {"a": 7})
    assert document == {"name": "own", "weight_bits": 3, "activation_bits": 8, "stored_bits": {"a": 7}}
    assert format_from(document, "the table").storage_bits(Layer("a", "linear", (1, 1), 1, 0)) == 7
    assert format_from({"name": "w4"}, "the table") == Format.named("w4")


def test_documents_that_are_no_formats_are_refused() -> None:
    with pytest.raises(InvalidInput, match="the table has a format that cannot be read, None"):
        format_from(None, "the table")
    with pytest.raises(InvalidInput, match="the table: format 'w4' is built in"):
        format_from({**format_document(OWN, {}), "name": "w4"}, "the table")
    with pytest.raises(InvalidInput, match="the table: unknown format 'w10'"):
        format_from({"name": "w10"}, "the table")
    with pytest.raises(InvalidInput, match=r"the table: weight_bits of format 'own' is 4\.5"):
        format_from({**format_document(OWN, {}), "weight_bits": 4.5}, "the table")
    with pytest.raises(InvalidInput, match=r"the table has a format that cannot be read, .*7\.5 is no whole number"):
        format_from(format_document(OWN, {"a": 7.5}), "the table")  # type: ignore[dict-item]


def test_names_that_older_files_gave_to_their_own_formats_stay_their_own() -> None:
    old = {"name": "w4a8", "weight_bits": 4, "activation_bits": 8, "stored_bits": {"a": 123}}
    entry = format_from(old, "the table")
    assert not entry.built_in
    assert entry.storage_bits(Layer("a", "linear", (1, 1), 1, 0)) == 123
    assert format_document(entry, {"a": 123}) == old


def test_table_of_the_page_has_the_stored_bits_of_every_format() -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d+\.\d+) \| \d+\.\d \|$", page, re.MULTILINE)
    layer = Layer("fc", "linear", (1000, 1000), 1000, 0)
    assert len(rows) > 10
    assert {name: f"{Format.named(name).storage_bits(layer) / 10**6:.3f}" for name, _ in rows} == dict(rows)
