"""Two hundred broken tables, made by breaking good ones: each is refused with the place, and none with a traceback."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant import InvalidInput, SensitivityTable
from mckp_quant.cli.entry import main
from mckp_quant.tables import read_table, write_table
from mckp_quant.tables.readers.csv_files import as_csv

from ...drawn_tables import OWN, make_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JUNK = ("much", "1,5", "--1", "0x10", "1e", "1_000", "{}", "\x07")
COUNT = 200
PLACE = re.compile(r"broken\.\w+.*\brow \d+.*\bcolumn\b", re.DOTALL)


def good() -> SensitivityTable:
    plain = make_table([[9.0, 4.0, 1.0], [8.0, 3.0, 0.5], [7.0, 2.0, 0.25]])
    loss = np.column_stack([plain.loss, [0.75, 0.25, 0.125]])
    return SensitivityTable(plain.layers, (*plain.formats, OWN), loss, np.ones(loss.shape))


def broken_csv(rng: np.random.Generator, long: bool) -> str:
    lines = as_csv(good(), long=long).splitlines()
    head = next(at for at, line in enumerate(lines) if not line.startswith("#"))
    headings = lines[head].split(",")
    row = int(rng.integers(head + 1, len(lines)))
    cells = lines[row].split(",")
    way = int(rng.integers(8))
    numeric = [at for at, name in enumerate(headings) if name not in ("layer", "kind", "ties", "format")]
    at = int(rng.choice(numeric))
    if way == 0:
        cells.append("1")
    elif way == 1:
        cells.pop()
    elif way == 2:
        lines[head] = ",".join([*headings[:at], headings[at - 1], *headings[at + 1 :]])
    elif way == 3:
        cells[headings.index("layer")] = ""
    elif way == 4:
        lines[head] = ",".join(["who" if name == "layer" else name for name in headings])
    elif way == 5:
        cells[headings.index("shape")] = str(rng.choice(["0x3", "2x-3", "2xthree", "()"]))
    elif way == 6:
        cells[at] = '"' + cells[at]
    else:
        cells[at] = f'"{rng.choice(JUNK)}"'
    lines[row] = ",".join(cells)
    return "\n".join(lines) + "\n"


def broken_json(rng: np.random.Generator, text: str) -> str:
    document = json.loads(text)
    way = int(rng.integers(5))
    row, column = int(rng.integers(3)), int(rng.integers(4))
    name = str(rng.choice(["loss", "stderr"]))
    if way == 0:
        return text[: int(rng.integers(1, len(text) - 3))]
    if way == 1:
        document[name][row][column] = str(rng.choice(JUNK))
    elif way == 2:
        document[name][row].pop()
    elif way == 3:
        document[name][row].append(1.0)
    else:
        document[name][row][column] = [1.0] if rng.random() < 0.5 else True
    return json.dumps(document)


def broken_npz(rng: np.random.Generator, arrays: dict[str, Any]) -> dict[str, Any]:
    way = int(rng.integers(6))
    if way == 0:
        arrays["loss"] = arrays["loss"][: int(rng.integers(3))]
    elif way == 1:
        arrays["loss"] = arrays["loss"].astype(str)
    elif way == 2:
        arrays["layer"] = np.array(["a", "a", "b"])
    elif way == 3:
        arrays["format"] = np.arange(4)
    elif way == 4:
        arrays["channels"] = np.array([2, 0, 2])
    else:
        arrays["loss"] = arrays["loss"].copy()
        arrays["loss"][int(rng.integers(3)), int(rng.integers(4))] = rng.choice([np.nan, np.inf, -1.0])
    return arrays


def broken(folder: Path, count: int) -> Iterator[Path]:
    rng = np.random.default_rng(5)
    write_table(good(), folder / "good.json")
    write_table(good(), folder / "good.npz")
    with np.load(folder / "good.npz") as archive:
        arrays = dict(archive)
    for number in range(count):
        kind = ("wide", "long", "json", "npz")[number % 4]
        if kind == "npz":
            path = folder / "broken.npz"
            np.savez(path, **broken_npz(rng, dict(arrays)))
        elif kind == "json":
            path = folder / "broken.json"
            path.write_text(broken_json(rng, (folder / "good.json").read_text()))
        else:
            path = folder / "broken.csv"
            path.write_text(broken_csv(rng, kind == "long"))
        yield path


def test_two_hundred_malformed_tables_are_refused_by_file_row_and_column(tmp_path: Path) -> None:
    seen = set()
    for path in broken(tmp_path, COUNT):
        try:
            read_table(path)
        except InvalidInput as error:
            words = str(error)
        else:
            pytest.fail(f"{path.name} passed:\n{path.read_bytes()[:2000]!r}")
        assert PLACE.search(words) or re.search(r"broken\.json.*line \d+, column \d+", words), words
        seen.add(re.sub(r"\d+|'[^']*'", "", words))
    assert len(seen) >= 15


def test_command_line_gives_one_line_for_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in broken(tmp_path, 12):
        assert main(["solve", str(path), "--budget", "weight_bytes=50%"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("mckp-quant: ")
        assert path.name in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "row 1, column 1: the heading is missing"),
        ("# unit: nats\n", "row 2, column 1: the heading is missing"),
        ("layer,shape,w4\n", "has no layers: a table needs a row per layer"),
        ("layer,shape\na,2x3\n", "has no formats"),
        ("a\0b", "row 1, column 1: there is a zero byte"),
        ("layer,,w4\n", "row 1, column 2: the heading is empty"),
        ("layer,w4,w4\n", "row 1, column 3: the heading 'w4' stands twice"),
        ("layer,tensor,w4\n", "row 1, column 'tensor': there are two columns for the layer"),
        ("who,shape,w4\n", "row 1, column 1: there is no column for the layer"),
        ("layer,format,w4\n", "row 1: there is a column for the format but none for the loss"),
        ("layer,shape,w4\n ,2x3,1\n", "row 2, column 'layer': '' is no name of a layer"),
        ("layer,shape,w4\na,2x3\n", "row 2, column 'w4': the row has 2 cells, the heading has 3"),
        ('layer,shape,w4\na,2x3,"1\n', "row 2, column 1: unexpected end of data"),
        ("layer,w4\na,1\n", "row 2, column 'shape': nothing says how many weights layer 'a' has"),
        ("layer,elements,w4\na,8,1\n", "row 2, column 'channels': nothing says how many scales layer 'a' stores"),
        ("layer,shape,elements,w4\na,2x3,8,1\n", "row 2, column 'elements': 8 is not what the shape '2x3' holds"),
        ("layer,shape,w4\na,2xx,1\n", "row 2, column 'shape': '' is no whole number"),
        ("layer,shape,macs,w4\na,2x3,-1,1\n", "row 2, column 'macs': -1 must lie between 0 and"),
        ("layer,shape,macs,w4\na,2x3,1.5,1\n", "row 2, column 'macs': '1.5' is no whole number"),
        ("layer,shape,w9\na,2x3,1\n", "unknown format 'w9'"),
        ("layer,shape,w4,w4 bits\na,2x3,1,999\n", "999 stored bits of layer 'a' in column 'w4' are not the 88"),
        ("layer,shape,q,q bits\na,2x3,1,9\nb,2x3,1,\n", "row 3, column 'q': nothing says how many bytes format 'q'"),
        ("layer,shape,w4,w4 stderr\na,2x3,1,-2\n", "a standard error of -2.0 is negative"),
        ("layer,shape,format,loss\na,2x3,w4,1\na,2x4,w2,1\n", "row 3, column 'shape': '2x4' is not what row 2 says"),
        (
            "layer,shape,format,loss,weight_bits\na,2x3,q,1,4\nb,2x3,q,1,5\n",
            "row 3, column 'weight_bits': 5 is not what an earlier row says of format 'q', 4",
        ),
    ],
)
def test_each_way_to_be_wrong_has_its_own_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "broken.csv").write_text(text)
    with pytest.raises(InvalidInput, match=re.escape(words)):
        read_table(tmp_path / "broken.csv")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "lacks the array 'layer': a table needs layer, format and loss"),
        ({"layer": np.array([["a"]])}, "row 0, column 'layer': the array has the type <U1 and the shape"),
        ({"layer": np.array([""])}, "row 0, column 'layer': '' is no name"),
        ({"layer": np.array(["a"]), "format": np.array(["w4"])}, "lacks the array 'loss'"),
        ({"loss": np.ones((1, 2))}, "it must hold numbers in the shape (1, 1), layers by formats"),
        ({"shape": np.array(["2x3", "2x3"])}, "row 0, column 'shape': the array has the shape (2,)"),
        ({"weight_bits": np.array([-4])}, "row 0, column 'weight_bits': the array has the type int64"),
        ({"contributions": np.array([["x"]]), "weights": np.ones(1)}, "row 0, column 'contributions'"),
        ({"contributions": np.ones((2, 1, 3)), "weights": np.ones(2)}, "contributions has the shape (2, 1, 3)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    whole = {"layer": np.array(["a"]), "format": np.array(["w4"]), "loss": np.ones((1, 1)), "shape": np.array(["2x3"])}
    chosen = arrays if not arrays or "layer" in arrays else whole | arrays
    np.savez(tmp_path / "broken.npz", **chosen)
    with pytest.raises(InvalidInput, match=re.escape(words)):
        read_table(tmp_path / "broken.npz")
