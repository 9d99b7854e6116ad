"""Refining on the rounded network of a bank."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.common.run_options import RunOptions
from mckp_quant.refinement.rounds import Rounds
from mckp_quant.rounding import Weights

from ..evaluation import banks
from ..search import small

if TYPE_CHECKING:
    from pathlib import Path

    from mckp_quant.refinement import Refinement
    from mckp_quant.rounding import WeightBank

BUDGET = {"weight_bytes": "45%"}
BATCHES = [inputs for inputs, _ in small.data(seed=4, samples=96)]


def refined(table: mq.SensitivityTable, bank: WeightBank | Weights | None = None, **keywords: object) -> Refinement:
    options = {"evaluations": 30, "rounds": Rounds(patience=40), **keywords}
    budget = options.pop("budget", BUDGET)
    return mq.refine(small.network(), misled(table), budget, BATCHES, bank=bank, **options)  # type: ignore[arg-type]


def misled(table: mq.SensitivityTable) -> mq.SensitivityTable:
    """The table with its entries scaled at random, so that there is something to find."""
    scale = np.exp(np.random.default_rng(0).normal(0, 1.2, table.loss.shape))
    return dataclasses.replace(table, loss=table.loss * scale, contributions=None, batch_sizes=None)


def record(found: Refinement) -> str:
    """All but what a policy was made of: formats of the same name, and tables with other digests."""
    document = found.document()
    for name in ("policy", "start"):
        policy = getattr(found, name)
        document[name] = [[entry.name for entry in policy.formats], policy.predicted]
    return json.dumps(document)


@pytest.mark.parametrize(
    ("with_bank", "without", "rounder"),
    [(banks.table("nearest"), small.table(), "nearest"), (banks.table(), banks.own_table(), "truncation")],
    ids=["nearest", "toy"],
)
def test_the_search_goes_as_with_formats_that_round_so(
    with_bank: mq.SensitivityTable, without: mq.SensitivityTable, rounder: str
) -> None:
    first, second = refined(with_bank, banks.bank(rounder)), refined(without)
    assert record(first) == record(second)
    assert any(step.changes for step in first.steps)
    assert first.policy.rounder == first.corrected.rounder == rounder


def test_its_figures_are_those_of_the_banks_network() -> None:
    found = refined(banks.table(), banks.bank())
    judge = mq.evaluation.Evaluator(small.network(), BATCHES, bank=banks.bank())
    both = [judge.evaluate(policy).kl for policy in (found.policy, found.start)]
    assert both[0] <= both[1]
    searched = np.average([found.kl, found.start_kl])
    assert searched == pytest.approx(np.average(both), rel=0.5)


def test_the_expansion_is_around_the_banks_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bank's moves, every choice's change to itself is 0, and no weight is rounded to nearest on the way."""

    def refuse(*_: object) -> None:
        raise AssertionError("rounded to nearest")

    monkeypatch.setattr("mckp_quant.evaluation.simulation.quantize", refuse)
    assert refined(banks.table(), banks.bank()).steps


def test_formats_of_inputs_take_their_own_weights_from_the_bank() -> None:
    formats = "w3,w4,w3a8d,w4a8d"
    bank = banks.bank("nearest", formats)
    table = mq.measure(small.network(), small.data(), formats=formats, bank=bank)
    plain = mq.measure(small.network(), small.data(), formats=formats)
    roomy = {"weight_bytes": "90%"}
    assert record(refined(table, bank, budget=roomy)) == record(refined(plain, budget=roomy))


def test_another_rounder_is_refused_unless_it_is_wanted() -> None:
    words = "is about weights rounded by truncation, but these are rounded by nearest"
    with pytest.raises(mq.InvalidInput, match=f"the table {words}"):
        refined(banks.table())
    with pytest.raises(mq.InvalidInput, match="the table is about weights rounded by nearest, but these are rounded"):
        refined(small.table(), banks.bank())
    terms = mq.measure_interactions(small.network(), BATCHES, formats=small.FORMATS, bank=banks.bank())
    with pytest.raises(mq.InvalidInput, match=f"the matrix of interactions {words}"):
        refined(small.table(), interactions=terms)
    found = refined(small.table(), Weights(banks.bank(), other_rounder=True))
    assert found.policy.rounder == ("truncation" if found.policy != found.start else "nearest")
    assert found.corrected.rounder == "truncation"
    measured = mq.evaluation.Evaluator(small.network(), BATCHES, bank=banks.bank(), other_rounder=True)
    assert measured.evaluate(found.policy).kl <= measured.evaluate(found.start).kl


def test_what_the_bank_does_not_hold_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="the bank holds no weights in 'w"):
        refined(banks.table(), banks.bank(formats="w8"))


def test_a_checkpoint_of_another_bank_is_refused(tmp_path: Path) -> None:
    run = RunOptions(checkpoint=tmp_path / "refine.json")
    first = refined(banks.table(), banks.bank(), run=run)
    assert record(refined(banks.table(), banks.bank(), run=run)) == record(first)
    with pytest.raises(mq.InvalidInput, match="written with other arguments, another table or other batches"):
        refined(banks.table(), Weights(banks.bank("nearest"), other_rounder=True), run=run)
    with pytest.raises(mq.InvalidInput, match="written with other arguments, another table or other batches"):
        refined(banks.table(), Weights(None, other_rounder=True), run=run)
