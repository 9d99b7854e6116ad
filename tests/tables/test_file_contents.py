from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

import pytest

from mckp_quant import Activation, InvalidInput, SensitivityTable
from mckp_quant.formats.ranges import ActivationRanges
from mckp_quant.tables import read_table, write_table

from ..drawn_tables import make_table

if TYPE_CHECKING:
    from pathlib import Path


def _with_tensors(table: SensitivityTable) -> SensitivityTable:
    tensors = (Activation(8, 0, 1, ("a",)), Activation(3, 1, 1))
    return SensitivityTable(table.layers, table.formats, table.loss, table.stderr, activations=tensors)


@pytest.mark.parametrize("kind", ["json", "npz"])
def test_ranges_of_activations_survive_a_file(tmp_path: Path, kind: str) -> None:
    ranges = ActivationRanges("mse", 8, {("a", "a8"): (-0.1, 1 / 3)})
    table = dataclasses.replace(make_table([[3.0, 2.0, 1.0]]), ranges=ranges)
    write_table(table, tmp_path / f"table.{kind}")
    assert read_table(tmp_path / f"table.{kind}").table.ranges == ranges
    assert (tmp_path / f"table.{kind}").stat().st_mode & 0o444 == 0o666 & ~_umask() & 0o444


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@pytest.mark.parametrize("kind", ["json", "npz"])
def test_activation_tensors_survive_a_file(tmp_path: Path, kind: str) -> None:
    table = _with_tensors(make_table([[3.0, 2.0, 1.0]]))
    write_table(table, tmp_path / f"table.{kind}")
    assert read_table(tmp_path / f"table.{kind}").table.activations == table.activations


@pytest.mark.parametrize(
    ("field", "entry"), [("shape", [2, 50.5]), ("macs", 1.5), ("channels", 2.5), ("seed", 0.5), ("samples", 1.5)]
)
def test_no_fraction_in_a_document_is_cut_off(tmp_path: Path, field: str, entry: object) -> None:
    path = tmp_path / "table.json"
    make_table([[3.0, 2.0, 1.0]]).save(path)
    document = json.loads(path.read_text())
    (document if field in document else document["layers"][0])[field] = entry
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match=rf"table.json.*{field}.*whole number"):
        read_table(path)
