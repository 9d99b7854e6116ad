from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Layer, SensitivityTable
from mckp_quant.costs.costs import RESOURCES, as_budget, cost_matrix
from mckp_quant.formats.format import as_formats

from ..drawn_tables import make_table, tables


@given(tables(own=False))
def test_costs_are_what_the_layers_say_by_hand(table: SensitivityTable) -> None:
    bits = np.array([[int(name[1:]) for name in table.format_names]])
    weights = np.array([[math.prod(layer.shape)] for layer in table.layers])
    scales = np.array([[32 * layer.known_channels] for layer in table.layers])
    macs = np.array([[layer.macs or 0] for layer in table.layers])
    stored = bits * weights + scales
    assert (cost_matrix("bits_per_weight", table) == stored).all()
    assert (cost_matrix("weight_bytes", table) == np.ceil(stored / 8)).all()
    assert (cost_matrix("bops", table) == macs * bits * 32).all()


def test_activation_bits_count_in_bit_operations_and_own_bits_in_storage() -> None:
    own = Format("w3a8", weight_bits=3, activation_bits=8, stored_bits=lambda layer: 3 * layer.elements + 1)
    layer = Layer("fc", "linear", (4, 5), 4, macs=20)
    table = SensitivityTable((layer,), (own, *as_formats("w4")), np.zeros((1, 2)), np.zeros((1, 2)))
    assert cost_matrix("bops", table).tolist() == [[20 * 3 * 8, 20 * 4 * 32]]
    assert cost_matrix("bits_per_weight", table).tolist() == [[61, 4 * 20 + 4 * 32]]
    assert cost_matrix("weight_bytes", table).tolist() == [[8, 26]]


@pytest.mark.parametrize("name", sorted(RESOURCES))
def test_matrices_are_exact_integers_with_a_row_per_layer(name: str) -> None:
    table = make_table([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]])
    cost = cost_matrix(name, table)
    assert cost.dtype == np.int64
    assert cost.shape == (2, 3)
    assert (cost > 0).all()


@given(tables(), st.fractions(0, 40, max_denominator=1000))
def test_average_bits_are_a_budget_on_the_stored_bits(table: SensitivityTable, average: Fraction) -> None:
    weights = sum(layer.elements for layer in table.layers)
    budget = as_budget("bits_per_weight", average, table)
    assert budget.limit <= average * weights < budget.limit + 1


def test_average_bits_do_not_suffer_from_binary_fractions() -> None:
    table = make_table([[0.0, 0.0, 0.0]], elements=[1000])
    assert as_budget("bits_per_weight", 2.3, table).limit == 2300
    assert as_budget("bits_per_weight", "2.3", table).limit == 2300
    assert math.floor(Fraction(2.3) * 1000) == 2299


@given(tables(), st.sampled_from(sorted(RESOURCES)), st.integers(0, 20_000))
def test_percentages_are_of_the_costliest_formats_that_are_allowed(
    table: SensitivityTable, name: str, hundredths: int
) -> None:
    whole = 0
    for layer, losses in zip(table.layers, table.loss, strict=True):
        allowed = [entry for entry, loss in zip(table.formats, losses, strict=True) if not np.isnan(loss)]
        whole += max(RESOURCES[name].cost(layer, entry) for entry in allowed)
    budget = as_budget(name, f"{hundredths / 100}%", table)
    assert budget.limit == hundredths * whole // 10_000


@given(tables(), st.integers(0, 10**6))
def test_shown_average_is_enough_as_a_budget(table: SensitivityTable, bits: int) -> None:
    budget = as_budget("bits_per_weight", 2, table)
    shown = budget.in_units(bits, up=True)
    assert as_budget("bits_per_weight", shown.removesuffix(" bits per weight"), table).limit >= bits


def test_budgets_are_shown_as_they_were_asked() -> None:
    table = make_table([[0.0, 0.0, 0.0]])
    assert str(as_budget("weight_bytes", "90kB", table)) == "weight_bytes = 90kB"
    assert str(as_budget("weight_bytes", "50%", table)) == "weight_bytes = 50% (54 bytes)"
    assert str(as_budget("bits_per_weight", 2.5, table)) == "bits_per_weight = 2.5"
    assert as_budget("bits_per_weight", 2, table).in_units(257) == "2.57 bits per weight"
    assert as_budget("bops", "1.2G", table).in_units(1234567) == "1,234,567 bit operations per sample"


def test_unknown_budget_suggests_the_nearest() -> None:
    table = make_table([[0.0, 0.0, 0.0]])
    with pytest.raises(InvalidInput, match="unknown budget 'weigth_bytes': did you mean 'weight_bytes'"):
        as_budget("weigth_bytes", 1, table)
    with pytest.raises(InvalidInput, match="unknown budget 'bits': did you mean"):
        cost_matrix("bits", table)


def test_amounts_beyond_64_bits_are_refused() -> None:
    table = make_table([[0.0, 0.0, 0.0]])
    with pytest.raises(InvalidInput, match=re.escape("budget bits_per_weight = '1e18' is beyond 2**63")):
        as_budget("bits_per_weight", "1e18", table)
    with pytest.raises(InvalidInput, match="budget weight_bytes = -1 is negative"):
        as_budget("weight_bytes", -1, table)
    huge = Layer("huge", "linear", (1, 1), 1, macs=2**60)
    table = SensitivityTable((huge,), as_formats("w8"), np.zeros((1, 1)), np.zeros((1, 1)))
    with pytest.raises(InvalidInput, match=r"bops of layer 'huge' in format 'w8' is \d+: it must lie from 0 to 2"):
        cost_matrix("bops", table)
