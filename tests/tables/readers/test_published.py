from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mckp_quant import InvalidInput, Request, allocate
from mckp_quant.solvers import Status
from mckp_quant.tables import Published, read_traces

if TYPE_CHECKING:
    from pathlib import Path

NINE = [(constraint, share) for constraint in ("modelsize", "bops", "latency") for share in (0.75, 0.5, 0.25)]
BUDGET = {"modelsize": "weight_bytes", "bops": "bops", "latency": "latency"}
SMALL: dict[str, Any] = {
    "layers": ["a", "b"],
    "ties": [["a", "b"]],
    "Hutchinson_trace": [0.5, 0.25],
    "delta_weights_4bit_square": [4.0, 2.0],
    "delta_weights_8bit_square": [0.5, 0.25],
    "parameters": [8, 16],
    "bops": [80, 160],
    "latency_int4": [0.125, 1],
    "latency_int8": [0.5, 2.0],
}


@pytest.fixture(scope="module")
def instance(instances: Path) -> Path:
    path = instances / "hawqv3_resnet18.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the folder of published problems")
    return path


@pytest.fixture(scope="module")
def hawq(instance: Path) -> Published:
    return read_traces(instance)


@pytest.mark.parametrize(("constraint", "share"), NINE)
def test_all_nine_problems_of_hawq_v3_are_as_good_as_published_with_their_ties(
    instance: Path, hawq: Published, constraint: str, share: float
) -> None:
    record = json.loads(instance.read_text())
    published = next(p for p in record["problems"] if (p["constraint"], p["fraction"]) == (constraint, share))
    name = BUDGET[constraint]
    # The limit lies a share of the way from the total at 4 bits to the total at 8 bits, in exact integers.
    totals = [
        allocate(
            hawq.table,
            Request({name: "100%"}, pinned=dict.fromkeys(hawq.table.layer_names, kind), costs=[*hawq.costs.values()]),
        )
        for kind in ("int4", "int8")
    ]
    low, high = (found.policy.costs[name] for found in totals)
    found = allocate(
        hawq.table,
        Request({name: low + int(share * 4) * (high - low) // 4}, tied=hawq.tied, costs=[*hawq.costs.values()]),
    )
    assert found.solution.status is Status.OPTIMAL
    assert found.policy.predicted <= published["published_objective"] * (1 + 1e-12)
    assert found.policy.predicted == pytest.approx(published["optimal_objective"], rel=1e-12)
    assert [entry.weight_bits for entry in found.policy.formats] == published["optimal_bits"]
    assert len(hawq.tied) == 3
    for tied in hawq.tied:
        assert len({found.policy[layer].name for layer in tied}) == 1


def write(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**SMALL, **changes}))
    return path


def test_traces_times_squared_errors_are_the_losses_and_costs_are_exact(tmp_path: Path) -> None:
    published = read_traces(write(tmp_path / "traces.json"))
    assert published.table.loss.tolist() == [[2.0, 0.25], [0.5, 0.0625]]
    policy = allocate(published.table, {"weight_bytes": "100%"}, pinned={"a": "int4", "b": "int8"}).policy
    assert policy.costs == {"weight_bytes": 4 + 16, "stored_bits": 8 * 20, "bops": 80 * 16 + 160 * 64}
    assert published.costs["latency"].cost.tolist() == [[125, 500], [1000, 2000]]
    assert published.costs["latency"].unit == "1e-3 of the file's unit"
    assert published.tied == (("a", "b"),)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": 3}, "lacks the list 'layers'"),
        ({"raw": 3}, "has raw = 3: it must hold lists by name"),
        ({"raw": {}}, "lacks a list 'delta_weights_4bit_square'"),
        ({"Hutchinson_trace": None}, "traces.json, row 0, column 'Hutchinson_trace': nothing, but there are 2 layers"),
        ({"Hutchinson_trace": [1]}, "row 0, column 'Hutchinson_trace': 1 entries, but there are 2 layers"),
        ({"delta_weights_4bit_square": [1, "x"]}, "row 1, column 'delta_weights_4bit_square': 'x' is no number"),
        ({"Hutchinson_trace": [1, float("nan")]}, "row 1, column 'Hutchinson_trace': .* is no number"),
        ({"parameters": [8, 0]}, "row 1, column 'parameters': 0 is no whole number that is at least 1"),
        ({"bops": [8, 1.5]}, "row 1, column 'bops': 1.5 is no whole number"),
        ({"latency_int4": [1e-30, 1]}, "row 0, column 'latency_int4': more than 18 decimals"),
        ({"ties": [["a", "z"]]}, r"row 0, column 'ties': \['a', 'z'\] must name layers"),
    ],
)
def test_damaged_traces_are_named_by_row_and_column(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_traces(write(tmp_path / "traces.json", **changes))


def test_files_that_are_no_json_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"layers": [')
    with pytest.raises(InvalidInput, match=r"cut.json' is not whole JSON \(line 1, column \d+: "):
        read_traces(tmp_path / "cut.json")
    with pytest.raises(InvalidInput, match="cannot read the table"):
        read_traces(tmp_path / "nothing.json")
