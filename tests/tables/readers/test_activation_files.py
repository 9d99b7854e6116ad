from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mckp_quant import InvalidInput
from mckp_quant.tables import read_activations

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "line 1, column 2: Expecting value"),
        ("{}", "must hold a list of activation tensors"),
        ("[3]", "row 0: 3 must hold elements, first, last"),
        ('[{"elements": 1, "first": 0}]', "must hold elements, first, last"),
        (
            '[{"elements": 1.5, "first": 0, "last": 0}]',
            "row 0: elements of an activation is 1.5: it must be",
        ),
        (
            '[{"elements": 1, "first": 2, "last": 0}]',
            "whose first is 2 is 0: it must be a whole number, at least 2",
        ),
        ('[{"elements": 1, "first": 0, "last": 0, "readers": "a"}]', "readers = 'a' must be a list of names"),
    ],
)
def test_activation_files_that_cannot_be_read_say_where(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "tensors.json").write_text(content)
    with pytest.raises(InvalidInput, match=re.escape(words)):
        read_activations(tmp_path / "tensors.json")
    with pytest.raises(InvalidInput, match="cannot read the activations"):
        read_activations(tmp_path / "none.json")
