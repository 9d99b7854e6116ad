"""One valid file of each kind of our own that needs no optional package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from mckp_quant import Activation, ActivationRanges, Layer, Policy, Request, SensitivityTable
from mckp_quant.formats.format import as_formats
from mckp_quant.interactions.form import Interactions
from mckp_quant.pipeline.recipes.recipe import Recipe
from mckp_quant.solvers import Pairs, Problem, Rows, read_problem, write_problem
from mckp_quant.tables import read_activations, read_costs, read_table, read_traces, write_table

from .kind import Kind, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECIPE = """
seed = 3
[network]
model = "net.py:model"
[outputs]
heads = ["classes=categorical", "boxes=gaussian,weight=0.5"]
[data.calibration]
batches = "data.npz"
batch_size = 8
[held_out]
share = 0.25
[round]
formats = "w2,w4"
rounder = "gptq"
[measure]
precision = 0.1
[refine]
evaluations = 12
[export]
to = ["torchao", "json"]
[request]
budgets = {weight_bytes = "90kB", bops = 5}
pinned = {"a.b" = "w4"}
choices = {"kind:linear" = ["w4"]}
"""
TEXTS = {
    "costs.json": '{"layers": ["a"], "formats": ["w2", "w4"], "cost": [[1, 2]], "name": "t", "unit": "ns"}',
    "costs.csv": "layer,w2,w4\na,1,2\nb,3,4\n",
    "activations.json": '[{"elements": 4, "first": 0, "last": 1, "readers": ["a"]}]',
    "traces.json": json.dumps(
        {
            "layers": ["a", "b"],
            "ties": [["a", "b"]],
            "Hutchinson_trace": [1.5, 2],
            "delta_weights_4bit_square": [0.5, 1e-3],
            "delta_weights_8bit_square": [0.25, 1e-4],
            "parameters": [4, 4],
            "bops": [1, 2],
            "latency_int4": [0.5, 1],
            "latency_int8": [0.75, 2],
        }
    ),
    "request.toml": 'target = "onnxruntime"\ntied = [["a", "b"]]\n[budgets]\nweight_bytes = "20B"\n[constraints]\n'
    "max_formats = 2\n",
    "recipe.toml": RECIPE,
    "even.txt": "2 2 1\n9\n5 3\n4 2\n6 5\n1 1\n",
    "numbered.txt": "2 2 1\n9\n1\n5 3\n4 2\n2\n6 5\n1 1\n",
    "uneven.txt": "2 2\n9 8\n2\n5 3 1\n4 2 2\n1\n6.5 5 3\n",
}


def documents(folder: Path) -> list[Kind]:
    """Write one file of each kind into a folder.

    Parameters
    ----------
    folder
        An empty folder.

    Returns
    -------
    kinds
        The files with their readers.
    """
    layers = (Layer("a", "linear", (4, 4), 4, 1, ("c",)), Layer("b", "linear", (4, 4), 4, 1))
    table = SensitivityTable(
        layers,
        as_formats("w2,w4"),
        np.array([[2.0, 1.0], [2.0, 1.0]]),
        np.full((2, 2), 0.1),
        contributions=np.array([[[2.0, 1.0], [2.0, 1.0]]]),
        batch_sizes=np.array([4.0]),
        activations=(Activation(4, 0, 1, ("a",)),),
        ranges=ActivationRanges("minmax", 4, {("a", "a8"): (-1.0, 1.0)}),
    )
    table.save(folder / "table.json")
    assert table.ranges is not None
    table.ranges.save(folder / "ranges.json")
    write_table(table, folder / "table.csv")
    write_table(table, folder / "long.csv", long=True)
    write_table(table, folder / "table.npz")
    Policy.uniform(table, "w4").save(folder / "policy.json")
    Request({"weight_bytes": 20}, pinned={"a": "w4"}, choices={"b": ("w2", "w4")}).save(folder / "request.json")
    Interactions(("a", "b"), ("w4",), np.ones((1, 2, 2)), np.array([2.0])).save(folder / "terms.npz")
    write_problem(_problem(), folder / "problem.json")
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    readers: dict[str, Callable[[Path], object]] = {
        "table.json": read_table,
        "table.csv": read_table,
        "long.csv": read_table,
        "table.npz": read_table,
        "ranges.json": ActivationRanges.load,
        "policy.json": Policy.load,
        "request.json": Request.load,
        "request.toml": Request.from_toml,
        "recipe.toml": Recipe.load,
        "terms.npz": Interactions.load,
        "problem.json": read_problem,
        "even.txt": read_problem,
        "numbered.txt": read_problem,
        "uneven.txt": read_problem,
        "costs.json": read_costs,
        "costs.csv": read_costs,
        "activations.json": read_activations,
        "traces.json": read_traces,
    }
    return written(folder, readers)


def _problem() -> Problem:
    return Problem(
        np.array([2.0, 1.0, 2.0, 1.0]),
        np.array([[1, 2, 1, 2]]),
        np.array([3]),
        np.array([0, 2, 4]),
        np.array([0, 1, 0, 1]),
        rows=Rows(np.array([0, 2]), np.array([0, 2]), np.array([1, 1]), np.array([0]), np.array([1]), 0),
        pairs=Pairs(np.array([0]), np.array([2]), np.array([0.5])),
    )
