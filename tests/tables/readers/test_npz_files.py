from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant import Activation, InvalidInput, SensitivityTable
from mckp_quant.tables import read_table, write_table

from ...drawn_tables import make_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("array", "entry", "words"),
    [
        ("macs", 1.5, "row 0, column 'macs': 1.5 is no whole number"),
        ("channels", 2.5, "row 0, column 'channels': 2.5 is no whole number"),
        ("stored_bits", 64.5, "row 0, column 'stored bits of w2': 64.5 is no whole number"),
        ("kind", 1.0, "row 0, column 'kind': the array has the type float64: it must hold text"),
        ("activation_first", 0.5, "row 0, column 'activation_first': 0.5 is no whole number"),
        ("activation_elements", 0.0, "row 0, column 'activation_elements': elements of an activation is 0"),
        ("activation_readers", 3.0, "row 0, column 'activation_readers': the array has the type float64"),
    ],
)
def test_no_fraction_in_an_array_is_cut_off(tmp_path: Path, array: str, entry: float, words: str) -> None:
    table = make_table([[3.0, 2.0, 1.0]])
    write_table(_with_tensors(table), tmp_path / "table.npz")
    with np.load(tmp_path / "table.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays[array] = np.full(arrays[array].shape, entry)
    np.savez(tmp_path / "broken.npz", **arrays)
    with pytest.raises(InvalidInput, match=re.escape(words)):
        read_table(tmp_path / "broken.npz")


def _with_tensors(table: SensitivityTable) -> SensitivityTable:
    tensors = (Activation(8, 0, 1, ("a",)), Activation(3, 1, 1))
    return SensitivityTable(table.layers, table.formats, table.loss, table.stderr, activations=tensors)


@pytest.mark.parametrize("text", ["{", '{"rule": "mse", "samples": 8}'])
def test_ranges_in_an_array_that_are_damaged_are_refused(tmp_path: Path, text: str) -> None:
    write_table(make_table([[3.0, 2.0, 1.0]]), tmp_path / "table.npz")
    with np.load(tmp_path / "table.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(tmp_path / "broken.npz", **arrays, activation_ranges=np.array(text))
    with pytest.raises(
        InvalidInput, match=r"broken\.npz.* (column 'activation_ranges' is not whole JSON|lacks the field 'ran)"
    ):
        read_table(tmp_path / "broken.npz")
