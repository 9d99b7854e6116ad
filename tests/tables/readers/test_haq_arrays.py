"""HAQ's arrays of costs: layers by bits of weights by bits of inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.tables import read_costs, table_from_arrays

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], names: str) -> Path:
    np.save(folder / "cycles.npy", array)
    (folder / "cycles.txt").write_text(names)
    return folder / "cycles.npy"


def test_every_cell_is_the_cost_of_its_bits(tmp_path: Path) -> None:
    array = np.arange(2 * 8 * 8).reshape(2, 8, 8) ** 2
    costs = read_costs(written(tmp_path, array, "conv\nfc\n"), name="cycles")
    assert (costs.layer_names, costs.unit) == (("conv", "fc"), "cycles")
    for at, name in enumerate(costs.layer_names):
        layer = mq.Layer(name, "linear", (4, 4), 4, None)
        for weights in range(1, 9):
            for inputs in range(2, 9):
                entry = mq.Format.named(f"w{weights}a{inputs}")
                assert costs.of(layer, entry) == array[at, weights - 1, inputs - 1]


def test_a_budget_of_cycles_is_kept(tmp_path: Path) -> None:
    array = np.full((2, 8, 8), 1000)
    array[:, 3, 7], array[:, 7, 7] = (10, 10), (20, 40)
    costs = read_costs(written(tmp_path, array, "a\nb"), name="cycles")
    layers = [mq.Layer(name, "linear", (4, 4), 4, None) for name in ("a", "b")]
    table = table_from_arrays([[2.0, 1.0], [5.0, 1.0]], layers, ["w4a8", "w8a8"], unit="nats").table
    found = mq.allocate(table, mq.Request({"cycles": 50}, costs=[costs])).policy
    assert [found[name].name for name in ("a", "b")] == ["w4a8", "w8a8"]
    assert found.costs["cycles"] == 50


def test_arrays_without_names_or_of_another_form_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "bare.npy", np.ones((2, 8, 8)))
    with pytest.raises(mq.InvalidInput, match="is an array, which does not name its layers: write their names"):
        read_costs(tmp_path / "bare.npy")
    with pytest.raises(mq.InvalidInput, match=r"of the shape \(2, 8\): it must be numbers, layers by bits of weights"):
        read_costs(written(tmp_path, np.ones((2, 8)), "a\nb"))
    with pytest.raises(mq.InvalidInput, match=r"of the shape \(2, 8, 8\).* names 1 layers"):
        read_costs(written(tmp_path, np.ones((2, 8, 8)), "a"))
    with pytest.raises(mq.InvalidInput, match=r"row 0.*w1a2.*-1"):
        read_costs(written(tmp_path, np.full((1, 8, 8), -1), "a"))
