from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mckp_quant import InvalidInput
from mckp_quant.tables import read_costs

if TYPE_CHECKING:
    from pathlib import Path


def test_files_of_every_shape_give_the_same_costs(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text("layer,w2,w4\na,0.5,1.25\nb,404,2\n")
    (tmp_path / "long.csv").write_text("layer;format;value\na;w2;0.5\na;w4;1.25\nb;w4;2\n")
    whole = {"layers": ["a", "b"], "formats": ["w2", "w4"], "cost": [[0.5, 1.25], [None, 2]]}
    (tmp_path / "costs.json").write_text(json.dumps(whole))
    for name in ("wide.csv", "long.csv", "costs.json"):
        found = read_costs(tmp_path / name, name="time", unit="ps", per_unit=1000)
        assert (found.name, found.unit, found.layer_names, found.formats) == ("time", "ps", ("a", "b"), ("w2", "w4"))
        assert found.cost.tolist() == [[500, 1250], [-1, 2000]]
    (tmp_path / "costs.json").write_text(json.dumps({**whole, "name": "energy", "unit": "pJ"}))
    found = read_costs(tmp_path / "costs.json", per_unit=100)
    assert (found.name, found.unit) == ("energy", "pJ")
    with pytest.raises(InvalidInput, match=r"^per_unit is 2\.5: it must be a whole number, at least 1$"):
        read_costs(tmp_path / "wide.csv", per_unit=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.txt", "", "unknown kind of cost table '.txt'"),
        ("c.csv", "layer,w2\n", "has no layers"),
        ("c.csv", "layer,w2\na,0.5\n", "c.csv, row 2, column 'w2': '0.5' times 1 must be a whole number"),
        ("c.csv", "layer,w2\na,-5\n", "row 2, column 'w2': '-5' times 1 must be a whole number that is at least 0"),
        ("c.csv", "layer,w2\na,5\na,5\n", "row 3, column 'w2': layer 'a' in format 'w2' stands there twice"),
        ("c.csv", "layer,w2\na,5ms\n", "row 2, column 'w2': '5ms' is no number"),
        ("c.csv", "layer,w2\na,1e30\n", "row 2, column 'w2': '1e30' does not fit in 64 bits"),
        ("c.json", "{", r"c.json' is not whole JSON .line 1, column 2: "),
        ("c.json", "[]", "must hold the lists 'layers', 'formats' and 'cost'"),
        ("c.json", '{"layers": ["a"], "formats": ["w2"], "cost": []}', "cost has 0 rows for 1 layers"),
        (
            "c.json",
            '{"layers": ["a"], "formats": ["w2"], "cost": [[1, 2]]}',
            "row 0, column 'cost': .* must hold 1 numb",
        ),
        ("c.json", '{"layers": ["a"], "formats": ["w2"], "cost": [["x"]]}', "row 0, column 'w2': 'x' is no number"),
    ],
)
def test_damaged_cost_files_are_named_by_row_and_column(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=words):
        read_costs(tmp_path / name)
    with pytest.raises(InvalidInput, match="cannot read the costs"):
        read_costs(tmp_path / "nothing.json")
