from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import InvalidInput, Layer


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_elements_are_the_product_of_the_shape(shape: list[int]) -> None:
    assert Layer("layer", "linear", tuple(shape), 1, 0).elements == math.prod(shape)


@pytest.mark.parametrize(
    ("shape", "channels", "macs", "words"),
    [
        ((), 1, 0, r"the shape of layer 'fc' is \(\): it must have a dimension or more"),
        ((3, 0), 1, 0, r"shape\[1\] of layer 'fc' is 0: it must be a whole number, at least 1"),
        ((3, -2), 1, 0, r"shape\[1\] of layer 'fc' is -2: it must"),
        ((3, 2), 0, 0, "channels of layer 'fc' is 0: it must be a whole number, at least 1"),
        ((3, 2), 3, -1, "macs of layer 'fc' is -1: it must be a whole number, at least 0"),
    ],
)
def test_sizes_that_no_tensor_has_are_refused(shape: Any, channels: int, macs: int, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Layer("fc", "linear", shape, channels, macs)


@pytest.mark.parametrize("fields", [{"name": ["fc"]}, {"kind": 5}, {"ties": ("a", None)}])
def test_names_that_are_no_text_are_refused(fields: dict[str, Any]) -> None:
    given: dict[str, Any] = {"name": "fc", "kind": "linear", "shape": (2, 3), "channels": 2, "macs": 0, **fields}
    with pytest.raises(InvalidInput, match=r"has name, kind and ties .*: give text"):
        Layer(**given)
