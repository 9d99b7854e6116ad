"""Searches and methods on the rounded network of a bank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.network.batches import as_batches
from mckp_quant.rounding import Weights
from mckp_quant.search import SEARCHES, Found, MethodResult, run_method, search
from mckp_quant.search.interpolation import Interpolated
from mckp_quant.search.space import Space

from ..evaluation import banks
from . import small

if TYPE_CHECKING:
    from pathlib import Path

    from mckp_quant.rounding import WeightBank

BUDGET = {"weight_bytes": "45%"}
PAIRS = pytest.mark.parametrize(
    ("with_bank", "without", "rounder"),
    [(banks.table("nearest"), small.table(), "nearest"), (banks.table(), banks.own_table(), "truncation")],
    ids=["nearest", "toy"],
)
OTHER = "the table is about weights rounded by truncation, but these are rounded by nearest: give the bank"


def found_by(name: str, table: mq.SensitivityTable, bank: WeightBank | Weights | None = None, **run: object) -> Found:
    options = mq.RunOptions(**run)  # type: ignore[arg-type]
    arguments = small.network(), table, BUDGET, small.data()
    return search(*arguments, method=name, fitness="kl", evaluations=20, bank=bank, run=options)


@pytest.mark.slow
@PAIRS
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_goes_as_with_formats_that_round_so(
    name: str, with_bank: mq.SensitivityTable, without: mq.SensitivityTable, rounder: str
) -> None:
    first, second = found_by(name, with_bank, banks.bank(rounder)), found_by(name, without)
    assert first.policy == second.policy
    assert (first.fitness, first.history, first.evaluations) == (second.fitness, second.history, second.evaluations)
    measured = Evaluator(small.network(), small.data(), bank=banks.bank(rounder)).evaluate(first.policy)
    assert first.fitness == pytest.approx(measured.kl, rel=1e-5)


def test_the_relaxation_at_whole_ranks_is_the_network_of_the_bank() -> None:
    table, bank = banks.table(), banks.bank()
    space = Space(table, *mq.build(table, BUDGET))
    network = Interpolated(small.network(), table, space, bank)
    batch = next(iter(as_batches(small.data())))
    for genome in ((0, 0, 0, 0), (3, 3, 3, 3), (0, 1, 2, 3)):
        own = network(torch.tensor(genome, dtype=torch.float64), batch)
        assert torch.equal(own, mq.apply(small.network(), space.policy(genome), bank=bank)(batch.inputs))


def test_a_search_on_a_table_of_another_rounder_is_refused_unless_it_is_wanted() -> None:
    with pytest.raises(mq.InvalidInput, match=OTHER):
        found_by("random", banks.table())
    with pytest.raises(mq.InvalidInput, match="the table is about weights rounded by nearest, but these are rounded"):
        found_by("random", small.table(), banks.bank())
    mixed = found_by("random", small.table(), Weights(banks.bank(), other_rounder=True))
    assert mixed.policy == found_by("random", banks.table(), banks.bank()).policy
    assert mixed.policy.rounder == "nearest"  # whose table predicts it


def test_a_checkpoint_of_another_bank_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    first = found_by("evoq", banks.table(), banks.bank(), checkpoint=path)
    assert found_by("evoq", banks.table(), banks.bank(), checkpoint=path).history == first.history
    for bank in (banks.bank("nearest"), None):
        with pytest.raises(mq.InvalidInput, match="is of another search"):
            found_by("evoq", banks.table(), Weights(bank, other_rounder=True), checkpoint=path)


def test_what_the_bank_does_not_hold_is_refused() -> None:
    for name in ("random", "differentiable"):
        with pytest.raises(mq.InvalidInput, match="the bank holds no weights in 'w"):
            found_by(name, banks.table(), banks.bank(formats="w8"))


def chosen(
    name: str, table: mq.SensitivityTable, bank: WeightBank | Weights | None = None, budget: str = "45%"
) -> MethodResult:
    asked = {"weight_bytes": budget}
    return run_method(name, small.network(), table, asked, small.data(), evaluations=20, bank=bank)


@PAIRS
@pytest.mark.parametrize("name", ["exact", "mpqco", "measured_kl", "refined", "level_switch"])
def test_a_method_chooses_as_with_formats_that_round_so(
    name: str, with_bank: mq.SensitivityTable, without: mq.SensitivityTable, rounder: str
) -> None:
    first, second = chosen(name, with_bank, banks.bank(rounder)), chosen(name, without)
    assert first.policy is not None
    assert second.policy is not None
    assert first.policy == second.policy
    assert first.policy.rounder == rounder
    assert (first.policy.predicted, first.evaluations) == (second.policy.predicted, second.evaluations)


def test_uniform_is_the_best_measured_format_of_the_bank_within_the_budgets() -> None:
    menu = "w2,w2z,w3,w3z,w3g32,w4"
    bank = banks.bank("nearest", menu)
    table = mq.measure(small.network(), small.data(), formats=menu, bank=bank)
    result = chosen("uniform", table, bank, "90%")
    space = Space(table, *mq.build(table, {"weight_bytes": "90%"}))
    judge = Evaluator(small.network(), small.data(), bank=bank)
    kls = {policy: judge.evaluate(policy).kl for policy in map(space.policy, space.uniform())}
    assert len(kls) > 2
    assert result.policy == min(kls, key=kls.__getitem__)
    assert result.evaluations == len(kls)
    assert chosen("uniform", mq.measure(small.network(), small.data(), formats=menu), None, "90%").evaluations == 0


def test_a_method_refuses_tables_of_another_rounder() -> None:
    for name in ("exact", "uniform", "evoq", "refined"):
        with pytest.raises(mq.InvalidInput, match=OTHER):
            chosen(name, banks.table())
    with pytest.raises(mq.InvalidInput, match=OTHER):
        run_method(
            "mpqco",
            small.network(),
            small.table(),
            BUDGET,
            small.data(),
            tables={"empirical_fisher": banks.table()},
        )
    assert chosen("uniform", banks.table(), Weights(None, other_rounder=True)).policy is not None
