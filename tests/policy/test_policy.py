from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Policy, Request, SensitivityTable, allocate
from mckp_quant.costs.costs import RESOURCES
from mckp_quant.policy.prediction import predict, totals
from mckp_quant.policy.repricing import predicted_by, price

from ..drawn_tables import OWN, make_table, tables

if TYPE_CHECKING:
    from pathlib import Path

W2, W4 = Format.named("w2"), Format.named("w4")


def any_formats(table: SensitivityTable, seed: int) -> list[Format]:
    """Formats that the table allows, drawn at random."""
    rng = np.random.default_rng(seed)
    return [table.formats[rng.choice(np.flatnonzero(~np.isnan(losses)))] for losses in table.loss]


def fields(policy: Policy) -> dict[str, Any]:
    """All that a policy says, with nan made comparable and callables left out."""
    found = {each.name: getattr(policy, each.name) for each in dataclasses.fields(policy)}
    found["formats"] = [(entry.name, entry.weight_bits, entry.activation_bits) for entry in policy.formats]
    return {name: "nan" if entry != entry else entry for name, entry in found.items()}


@settings(max_examples=50)
@given(table=tables(), share=st.integers(60, 100), tie=st.booleans())
def test_file_keeps_every_field(table: SensitivityTable, share: int, tie: bool, tmp_path_factory: Any) -> None:
    tied = [table.layer_names[:2]] if tie and len(table.layers) > 1 and not np.isnan(table.loss[:2]).any() else []
    budgets: dict[str, int | str] = {"weight_bytes": "100%", "bits_per_weight": 1000, "bops": f"{share + 40}%"}
    policy = allocate(table, Request(budgets, tied=tied)).policy
    path = tmp_path_factory.mktemp("policy") / "policy.json"
    policy.save(path)
    loaded = Policy.load(path)
    assert fields(loaded) == fields(policy)
    assert loaded == policy
    assert hash(loaded) == hash(policy)
    again = path.with_name("again.json")
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()


@given(tables(), st.integers(0, 2**32 - 1))
def test_prediction_and_costs_are_sums_over_the_layers(table: SensitivityTable, seed: int) -> None:
    formats = any_formats(table, seed)
    policy = Policy.on_table(table, formats)
    cells = [(row, table.formats.index(entry)) for row, entry in enumerate(formats)]
    assert policy.predicted == math.fsum(table.loss[cell] for cell in cells)
    assert policy.n_weights == sum(math.prod(layer.shape) for layer in table.layers)
    assert policy.layer_bits == tuple(
        entry.storage_bits(layer) for entry, layer in zip(formats, table.layers, strict=True)
    )
    assert policy.costs["stored_bits"] == sum(policy.layer_bits)
    assert policy.costs["weight_bytes"] == sum(math.ceil(bits / 8) for bits in policy.layer_bits)
    assert policy.bits_per_weight == sum(policy.layer_bits) / policy.n_weights
    assert policy.costs.keys() == {kind.counts for kind in RESOURCES.values()}
    assert policy.table == table.digest


@given(tables(), st.integers(0, 2**32 - 1))
def test_standard_error_takes_the_cells_of_a_batch_together(table: SensitivityTable, seed: int) -> None:
    formats = any_formats(table, seed)
    columns = [table.formats.index(entry) for entry in formats]
    assert table.contributions is not None
    assert table.batch_sizes is not None
    sums = np.array([sum(batch[row, column] for row, column in enumerate(columns)) for batch in table.contributions])
    n, weights = len(sums), table.batch_sizes
    mean = np.average(sums, weights=weights)
    variance = n / (n - 1) * np.sum(weights**2 * (sums - mean) ** 2) / weights.sum() ** 2
    assert math.isclose(predict(table, formats).stderr, math.sqrt(variance), rel_tol=1e-9)


def test_standard_error_of_equal_batches_is_that_of_their_mean() -> None:
    table = make_table([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    sums = np.array([3.0, 5.0, 10.0])
    contributions = np.zeros((3, 2, 3))
    contributions[:, 0, 0] = sums
    measured = dataclasses.replace(table, contributions=contributions, batch_sizes=np.full(3, 8.0))
    found = predict(measured, [W2, W2])
    assert found.stderr == pytest.approx(np.std(sums, ddof=1) / math.sqrt(3))
    assert math.isnan(predict(table, [W2, W2]).stderr)


@given(tables())
def test_uniform_policy_has_one_format_and_the_prices_of_the_table(table: SensitivityTable) -> None:
    for column, entry in enumerate(table.formats):
        if np.isnan(table.loss[:, column]).any():
            with pytest.raises(InvalidInput, match=f"the table does not allow format '{entry.name}' for layer"):
                Policy.uniform(table, entry)
            continue
        policy = Policy.uniform(table, entry.name)
        assert set(policy.formats) == {entry}
        assert policy.predicted == math.fsum(table.loss[:, column].tolist())
        bare = Policy.uniform(table.layers, entry)
        assert bare == policy
        assert bare.costs == policy.costs
        assert math.isnan(bare.predicted)


@given(tables(), st.integers(0, 2**32 - 1))
def test_price_depends_on_the_formats_only(table: SensitivityTable, seed: int) -> None:
    wanted = Policy.on_table(table, any_formats(table, seed))
    order = np.random.default_rng(seed).permutation(len(wanted))
    stranger = Policy(
        tuple(wanted.layer_names[at] for at in order), tuple(wanted.formats[at] for at in order), predicted=-1, bound=-2
    )
    assert fields(price(table, stranger)) == fields(wanted)


def test_equality_is_about_layers_and_formats_alone() -> None:
    policy = Policy(("a", "b"), (W2, W4), predicted=1.0)
    assert policy == Policy(("b", "a"), (W4, W2), predicted=2.0, solver="Other()")
    assert policy != Policy(("a", "b"), (W4, W2), predicted=1.0)
    assert policy != Policy(("a",), (W2,))
    assert policy != "policy"
    assert len({policy, Policy(("b", "a"), (W4, W2))}) == 1


def test_formats_are_found_by_layer() -> None:
    policy = Policy(("conv1", "conv2"), (W2, W4))
    assert policy["conv2"] is W4
    assert len(policy) == 2
    with pytest.raises(InvalidInput, match="unknown layer 'conv3': did you mean 'conv"):
        policy["conv3"]


def test_gap_is_prediction_less_bound() -> None:
    assert Policy(("a",), (W2,), predicted=3.0, bound=2.5).gap == 0.5
    assert math.isnan(Policy(("a",), (W2,), predicted=3.0).gap)
    assert math.isnan(Policy(("a",), (W2,)).bits_per_weight)


def test_policy_does_not_follow_changes_of_what_it_was_made_from() -> None:
    costs = {"weight_bytes": 1}
    policy = Policy(("a",), (W2,), costs=costs)
    costs["weight_bytes"] = 2
    assert policy.costs == {"weight_bytes": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((), ()), "a policy without layers says nothing"),
        ((("a", "b"), (W2,)), "the policy has 2 layers and 1 formats: give one each"),
        ((("a", "a"), (W2, W2)), "layer 'a' stands twice in the policy"),
    ],
)
def test_policies_that_do_not_fit_together_are_refused(arguments: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Policy(*arguments)


def test_every_layer_needs_its_bits_or_none() -> None:
    with pytest.raises(InvalidInput, match="the policy has 2 layers and 1 layer_bits"):
        Policy(("a", "b"), (W2, W2), layer_bits=(7,))


def test_own_format_without_bits_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="format 'own' is a user's own and the policy does not know its stored bits"):
        Policy(("a",), (OWN,)).save(tmp_path / "policy.json")
    assert not list(tmp_path.iterdir())


def test_own_format_comes_back_with_its_bits_and_without_its_quantizer(tmp_path: Path) -> None:
    layer = make_table([[0.0, 0.0, 0.0]]).layers[0]
    Policy.uniform([layer], OWN).save(tmp_path / "policy.json")
    entry = Policy.load(tmp_path / "policy.json")["a"]
    assert entry.storage_bits(layer) == OWN.storage_bits(layer)
    assert (entry.weight_bits, entry.activation_bits, entry.quantize) == (3, 8, None)


def test_prices_need_the_layers_and_formats_of_the_table() -> None:
    table = make_table([[1.0, 2.0, math.nan], [1.0, 2.0, 3.0]])
    with pytest.raises(InvalidInput, match="unknown layer 'c'"):
        price(table, Policy(("a", "b", "c"), (W2, W2, W2)))
    with pytest.raises(InvalidInput, match="unknown layer 'b': known are: a"):
        price(table, Policy(("a",), (W2,)))
    other = make_table([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], elements=[64, 64])
    with pytest.raises(InvalidInput, match=r"layer 'a' takes .* bits in w2 in the table, but .* another network"):
        price(table, Policy.uniform(other, "w2"))
    with pytest.raises(InvalidInput, match="unknown format 'w3'"):
        price(table, Policy(("a", "b"), (W2, Format.named("w3"))))
    with pytest.raises(InvalidInput, match="does not allow format 'w8' for layer 'a'"):
        price(table, Policy(("a", "b"), (Format.named("w8"), W2)))
    with pytest.raises(InvalidInput, match="1 formats for 2 layers: give one per layer"):
        predict(table, [W2])
    with pytest.raises(InvalidInput, match="unknown format 'w5': did you mean"):
        Policy.uniform(table, "w5")


def test_totals_of_nothing_are_zero() -> None:
    assert totals([], []) == {"weight_bytes": 0, "stored_bits": 0, "bops": 0}


def spoil(document: dict[str, Any], change: str) -> dict[str, Any]:
    """The document with one thing wrong."""
    if change == "missing":
        del document["costs"]
    elif change == "format":
        document["layers"][0]["format"] = "w7"
    elif change == "layers":
        document["layers"] = {}
    elif change == "entry":
        document["layers"][0] = "conv1"
    elif change == "number":
        document["predicted"] = "much"
    elif change == "bits":
        document["layers"][0]["stored_bits"] = "ten"
    elif change == "twice":
        document["layers"].append(document["layers"][0])
    elif change == "budget":
        document["budgets"] = [{"name": "bops"}]
    return document


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", r"the policy '.*policy.json' lacks the field 'costs'"),
        ("format", "does not fit together: unknown format 'w7'"),
        ("layers", r"has layers = {}: it must be a list"),
        ("entry", "cannot be read"),
        ("number", r"cannot be read \(ValueError: could not convert"),
        ("bits", r"has stored_bits = .ten.: it must be a whole number"),
        ("twice", "does not fit together: layer 'a' stands twice"),
        ("budget", r"cannot be read \(KeyError: 'asked'"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: str, words: str) -> None:
    path = tmp_path / "policy.json"
    Policy.uniform(make_table([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]), "w2").save(path)
    path.write_text(json.dumps(spoil(json.loads(path.read_text()), change)))
    with pytest.raises(InvalidInput, match=words):
        Policy.load(path)


def test_a_prediction_of_another_table_is_about_that_tables_rounder() -> None:
    table = dataclasses.replace(make_table([[3.0, 2.0, 1.0]]), rounder="nearest")
    other = dataclasses.replace(make_table([[6.0, 4.0, 2.0]]), rounder="gptq(damping=0.01)")
    policy = Policy.on_table(table, table.formats[:1])
    assert predicted_by(table, policy) is policy
    found = predicted_by(other, policy)
    assert (found.predicted, found.rounder) == (6.0, other.rounder)
