from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Layer, Policy, SensitivityTable, allocate
from mckp_quant.cli import main
from mckp_quant.export import audit, export
from mckp_quant.formats.format import as_formats

from ..drawn_tables import make_table, tables

if TYPE_CHECKING:
    from pathlib import Path


def table_of(names: tuple[str, ...], formats: str, ties: tuple[str, ...] = ()) -> SensitivityTable:
    """Square layers of 64 channels, the first of them with ties."""
    layers = [Layer(name, "linear", (64, 64), 64, 4096, () if at else ties) for at, name in enumerate(names)]
    loss = [[2.0**-entry.weight_bits for entry in as_formats(formats)]] * len(names)
    return SensitivityTable(tuple(layers), as_formats(formats), np.array(loss), np.full(np.shape(loss), np.nan))


TABLE = make_table([[9.0, 4.0, 1.0], [8.0, 3.0, 0.5], [20.0, 6.0, 0.1]])


@pytest.mark.slow
@given(tables(own=False), st.integers(0, 2**31))
def test_audited_policies_lie_between_the_best_of_their_size_and_the_smallest_of_their_loss(
    table: SensitivityTable, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    columns = [int(rng.choice(np.flatnonzero(~np.isnan(row)))) for row in table.loss]
    policy = Policy.on_table(table, [table.formats[column] for column in columns])
    found = audit(Policy(policy.layer_names, policy.formats), table)
    assert found.policy.predicted == policy.predicted
    assert found.best.predicted <= policy.predicted
    assert found.best.costs["weight_bytes"] <= policy.costs["weight_bytes"]
    assert found.least_bytes <= policy.costs["weight_bytes"]
    again = allocate(table, {"weight_bytes": found.least_bytes}).policy
    assert again.predicted <= np.nextafter(policy.predicted, np.inf)


def test_layers_and_formats_that_the_table_lacks_are_named() -> None:
    w4, w3 = Format.named("w4"), Format.named("w3")
    found = audit(Policy(("a", "b", "c", "embedding"), (w4, w4, w4, w4)), TABLE)
    assert found.left_out == ("embedding",)
    with pytest.raises(InvalidInput, match="unknown layer 'c'"):
        audit(Policy(("a", "b"), (w4, w4)), TABLE)
    with pytest.raises(InvalidInput, match="layer 'b' has the format 'w3', which the table does not have: measure it"):
        audit(Policy(("a", "b", "c"), (w4, w3, w4)), TABLE)


def test_sizes_count_as_the_target_stores_them() -> None:
    table = table_of(("a", "b"), "w4,w8")
    found = audit(Policy.uniform(table, "w4"), table, target="torchao")
    size = 2 * (64 * 64 + 64 * 5)  # a byte per weight and a zero point per scale, at any width
    assert found.policy.costs["weight_bytes"] == found.best.costs["weight_bytes"] == found.least_bytes == size
    assert {found.best[name].name for name in ("a", "b")} == {"w8"}


def test_policies_of_other_networks_are_refused_and_shared_weights_found_under_either_name() -> None:
    table = table_of(("a", "b"), "w4,w8", ties=("twin",))
    w8 = Format.named("w8")
    assert audit(Policy(("twin", "b"), (w8, w8)), table).left_out == ()
    small = Policy.uniform([Layer("a", "linear", (8, 8), 8, 1), Layer("b", "linear", (8, 8), 8, 1)], "w8")
    with pytest.raises(InvalidInput, match="layer 'a' takes 34,816 bits in w8 in the table, but 768 in the policy: it"):
        audit(small, table)


def test_audit_on_the_command_line_says_it_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TABLE.save(tmp_path / "table.json")
    formats = tuple(map(Format.named, ("w8", "w4", "w2")))
    export(Policy(("a", "b", "c"), formats), "json", output=tmp_path / "made")
    assert main(["audit", str(tmp_path / "made"), "--table", str(tmp_path / "table.json")]) == 0
    out = capsys.readouterr().out
    assert (
        "this policy: 299 bytes, predicted loss 24 nats per sample; best at 299 bytes: 18; same loss at 249 bytes"
        in out
    )
    assert "the best is proved optimal" in out
    assert main(["audit", str(tmp_path / "made"), "--table", str(tmp_path / "table.json"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mckp-quant/audit/1"
    assert document["proved"] is True
    assert document["least_bytes"] == 249


def ggml_table(*names: str) -> SensitivityTable:
    """Two layers in ggml's formats, each with fewer bits than the one before."""
    layers = tuple(Layer(name, "linear", (64, 64), 64, 4096) for name in ("a", "b"))
    bits = {"Q8_0": 8, "F16": 16, "BF16": 16}
    blocks = {8: 34 * 8, 16: 16 * 32}  # bits of 32 weights
    formats = tuple(
        Format(name, bits[name], stored_bits=lambda layer, own=blocks[bits[name]]: own * layer.elements // 32)  # type: ignore[misc]
        for name in names
    )
    loss = np.array([[2.0 ** -bits[name] for name in names]] * 2)
    return SensitivityTable(layers, formats, loss, np.full(loss.shape, np.nan))


@pytest.mark.parametrize("half", ["F16", "BF16"])
def test_float_of_an_artefact_is_the_half_that_the_table_has(half: str) -> None:
    policy = Policy(("a", "b"), as_formats("float,w8g32"))
    found = audit(policy, ggml_table("Q8_0", half))
    assert [entry.name for entry in found.policy.formats] == [half, "Q8_0"]


def test_float_of_an_artefact_is_not_guessed_where_the_table_has_both_halves() -> None:
    policy = Policy(("a", "b"), as_formats("float,w8g32"))
    with pytest.raises(InvalidInput, match="layer 'a' has the format 'float', which the table does not have"):
        audit(policy, ggml_table("Q8_0", "F16", "BF16"))
