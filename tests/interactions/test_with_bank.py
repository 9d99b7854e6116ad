"""Terms between layers, of the weights of a bank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.interactions.measuring import measure_interactions

from ..evaluation import banks
from ..search import small

if TYPE_CHECKING:
    from pathlib import Path


def test_they_are_those_of_formats_that_round_so() -> None:
    measured = {}
    for rounder, formats in (("nearest", small.FORMATS), ("truncation", banks.OWN)):
        terms = measure_interactions(small.network(), small.data(), formats=small.FORMATS, bank=banks.bank(rounder))
        plain = measure_interactions(small.network(), small.data(), formats=formats)
        assert np.array_equal(terms.parts, plain.parts)
        assert (terms.rounder, plain.rounder) == (rounder, "nearest")
        measured[rounder] = terms
    assert np.allclose(measured["truncation"].loss, banks.table().loss)
    assert not np.allclose(measured["truncation"].parts, measured["nearest"].parts)


def test_a_file_keeps_the_rounder_and_older_ones_have_none(tmp_path: Path) -> None:
    path = tmp_path / "terms.npz"
    terms = measure_interactions(small.network(), small.data(), formats="w2,w4", bank=banks.bank())
    terms.save(path)
    assert mq.Interactions.load(path).rounder == "truncation"
    mq.Interactions(("a",), ("w4",), np.ones((2, 1, 1)), np.ones(2)).save(path)
    assert mq.Interactions.load(path).rounder == ""


def test_solving_with_a_table_of_another_rounder_is_refused() -> None:
    terms = measure_interactions(small.network(), small.data(), formats=small.FORMATS, bank=banks.bank())
    table = small.table()
    allocation = mq.allocate(table, {"weight_bytes": "45%"})
    with pytest.raises(
        mq.InvalidInput,
        match="the interactions are of weights rounded by truncation, the table of weights rounded by nearest: measure",
    ):
        mq.allocate_with_interactions(table, allocation, terms)
    own = banks.table()
    solved = mq.allocate_with_interactions(own, mq.allocate(own, {"weight_bytes": "45%"}), terms)
    assert solved.policy.rounder == "truncation"


def test_a_bank_of_other_weights_or_formats_or_beside_a_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mq.InvalidInput, match="the bank holds no weights in 'w5'"):
        measure_interactions(small.network(), small.data(), formats="w4,w5", bank=banks.bank())
    other = small.network()
    with torch.no_grad():
        other.get_parameter("3.weight").add_(0.1)
    with pytest.raises(mq.InvalidInput, match="the weight of layer '3' is not the one that the bank was rounded from"):
        measure_interactions(other, small.data(), formats="w4", bank=banks.bank())
    with pytest.raises(mq.InvalidInput, match="which keeps weights that are rounded to nearest, and bank= holds"):
        measure_interactions(
            small.network(), small.data(), formats="w4", bank=banks.bank(), run=mq.RunOptions(cache=tmp_path)
        )
    with pytest.raises(mq.InvalidInput, match=r"bank is a str: give what round_weights\(\) returned"):
        measure_interactions(small.network(), small.data(), formats="w4", bank="folder")  # type: ignore[arg-type]
