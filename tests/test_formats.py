from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Layer
from mckp_quant.formats import BUILT_IN, as_formats, format_document, format_from

from .tables import OWN


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


def test_nearest_name_is_suggested() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'w4'"):
        Format.named("w44")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "own", "weight_bits": 0, "stored_bits": len}, "format 'own' has weight_bits = 0"),
        ({"name": "own", "weight_bits": 33, "stored_bits": len}, "weight_bits = 33: it must lie between 1 and 32"),
        ({"name": "own", "weight_bits": 4}, r"format 'own' is not built in \(w1 to w8\): say with stored_bits="),
    ],
)
def test_formats_that_do_not_say_enough_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Format(**arguments)


@pytest.mark.parametrize("bits", [-1, 2.5, "8", None])
def test_own_bits_must_be_whole_numbers(bits: Any) -> None:
    entry = Format("own", 4, stored_bits=lambda layer: bits)
    with pytest.raises(
        InvalidInput, match=r"stored_bits of format 'own' gave .* for layer 'fc': it must be a whole number"
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
    with pytest.raises(InvalidInput, match="unknown format 'w10'"):
        format_from({"name": "w10"}, "the table")
