from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant import InvalidInput
from mckp_quant.pipeline.recipes.toml_values import toml_key, toml_value

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PLAIN = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(TEXT, PLAIN)
def test_what_is_written_is_read_as_the_same(name: str, value: Any) -> None:
    assert tomllib.loads(f"{toml_key(name)} = {toml_value(value)}\n") == {name: value}


def test_types_stay_what_they_are() -> None:
    read = tomllib.loads(f"a = {toml_value([1, 1.0, True, '1'])}\nb = {toml_value(math.inf)}\n")
    assert [type(each) for each in read["a"]] == [int, float, bool, str]
    assert read["b"] == math.inf


@pytest.mark.parametrize("value", [None, [1, None], {"a": {"b": None}}, object()])
def test_what_toml_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="which TOML cannot say: leave it out, or name a file that holds it"):
        toml_value(value, "costs")
