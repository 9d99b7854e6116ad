from __future__ import annotations

from typing import Any

import pytest

from mckp_quant import Format, InvalidInput
from mckp_quant.pipeline import Settings


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"formats": "w99"}, "w99"),
        ({"evaluations": -1}, "evaluations is -1: it must be a number, at least 0"),
        ({"seconds": 0}, "seconds is 0: give a number of seconds above 0"),
        ({"refine_held_back": 1}, "refine_held_back is 1: it must be a number between 0 and 1"),
        ({"finish_held_back": 0}, "finish_held_back is 0: it must be a number between 0 and 1"),
        ({"finish_steps": 1.5}, r"finish_steps is 1\.5: it must be a whole number, at least 0"),
        ({"exports": "torchao"}, r"exports is 'torchao': give a list of targets, such as \['torchao'\]"),
        ({"exports": ["torcho"]}, "unknown export target 'torcho': did you mean 'torchao'"),
    ],
)
def test_what_a_later_step_would_refuse_is_refused_at_once(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Settings(**changed)


def test_formats_are_names_or_formats() -> None:
    assert Settings(formats=["w2", Format.named("w4")], exports=["json"]).exports == ("json",)
