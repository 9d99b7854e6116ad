from __future__ import annotations

import inspect

import pytest

from mckp_quant.common.renamed import OUTPUTS, RenamedAttribute, renamed_keywords, run_keywords


class Thing:
    """Has two names of its own, and one that went away."""

    weights = RenamedAttribute("n_weights")

    @renamed_keywords(size="n_weights=...")
    def __init__(self, *, n_weights: int) -> None:
        self.n_weights = n_weights


@renamed_keywords(limit="seconds=...", **OUTPUTS, **run_keywords("seed"))
def solve(problem: int, *, seconds: float = 1) -> tuple[int, float]:
    return problem, seconds


def test_an_old_keyword_is_a_type_error_that_says_the_new_one() -> None:
    with pytest.raises(TypeError, match=r"solve\(\) takes no limit= any more: write seconds="):
        solve(1, limit=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"takes no output= any more: write outputs=Outputs\(take=\.\.\.\)"):
        solve(1, output=None)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"takes no seed= any more: write run=RunOptions\(seed=\.\.\.\)"):
        solve(1, seed=0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Thing\(\) takes no size= any more: write n_weights="):
        Thing(size=3)  # type: ignore[call-arg]


def test_all_else_is_as_it_was() -> None:
    assert solve(1, seconds=2) == (1, 2)
    assert list(inspect.signature(solve).parameters) == ["problem", "seconds"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'sek'"):
        solve(1, sek=2)  # type: ignore[call-arg]


def test_an_old_attribute_says_the_new_one() -> None:
    with pytest.raises(AttributeError, match=r"Thing\.weights is now Thing\.n_weights"):
        _ = Thing(n_weights=3).weights
