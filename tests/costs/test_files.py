"""The budget `file_bytes` on a table alone: what a target's file takes beside the layers, and refusals in words."""

from __future__ import annotations

import dataclasses
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant import InvalidInput, Layer, Request, SensitivityTable, allocate
from mckp_quant.cli import main
from mckp_quant.costs.files import file_bytes, file_costs, targets_of
from mckp_quant.formats import as_formats
from mckp_quant.formats.file_facts import FileFacts
from mckp_quant.solvers import NoSolution
from mckp_quant.tables import read_table, write_table

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = tuple(Layer(name, "linear", (64, 64), 64, 4096) for name in ("a", "b", "c"))
FLOATS = (16_500,) * 3
FILES = (
    FileFacts("torchao", 3_000, ("a.weight", "b.weight", "c.weight"), FLOATS, 6),
    FileFacts("gguf", 500, ("blk.a", "blk.b", "blk.c"), (16_384,) * 3),
)


def table(files: tuple[FileFacts, ...] = FILES) -> SensitivityTable:
    loss = np.array([[4.0, 1.0, 0.0], [2.0, 0.5, 0.0], [8.0, 2.0, 0.0]])
    return SensitivityTable(LAYERS, as_formats("w4g32,w8g32,float"), loss, 0 * loss, files=files)


@pytest.mark.parametrize("target", ["torchao", "gguf"])
def test_the_best_policy_within_the_file(target: str) -> None:
    known = table()
    sizes = {pick: file_bytes(known, pick, target) for pick in product(known.formats, repeat=3)}
    for budget in sorted(set(sizes.values())):
        policy = allocate(known, {"file_bytes": budget}, target=target).policy
        within = [pick for pick, size in sizes.items() if size <= budget]
        best = min(sum(known.loss[row, known.column(e.name)] for row, e in enumerate(pick)) for pick in within)
        assert policy.predicted == best
        assert policy.costs["file_bytes"] == sizes[policy.formats] <= budget


def test_amounts_in_percent_are_of_the_float_file() -> None:
    known = table()
    policy = allocate(known, {"file_bytes": "100%"}, target="torchao").policy
    assert {entry.name for entry in policy.formats} == {"float"}
    assert policy.costs["file_bytes"] == policy.budgets[0].limit == 3_000 + 3 * 16_500
    least = allocate(known, {"weight_bytes": "100%"}, target="torchao")
    assert "file_bytes" not in least.policy.costs
    minimum = allocate(known, Request({"file_bytes": "60%"}, at_least={"file_bytes": "40%"}, target="torchao")).policy
    assert 0.4 * 52_500 <= minimum.costs["file_bytes"] <= 0.6 * 52_500


def test_what_does_not_fit_is_told_with_the_fixed_part() -> None:
    with pytest.raises(NoSolution, match=r"everything beside the layers' weights takes 3,000 bytes of the file"):
        allocate(table(), {"file_bytes": 2_999}, target="torchao")
    fixed, cost = file_costs(table(), "torchao")
    least = fixed + int(cost.min(axis=1).sum())
    with pytest.raises(NoSolution, match=rf"even the cheapest formats take {least:,} bytes"):
        allocate(table(), {"file_bytes": least - 1}, target="torchao")
    assert allocate(table(), {"file_bytes": least}, target="torchao").policy.costs["file_bytes"] == least


@pytest.mark.parametrize(
    ("target", "files", "told"),
    [
        (None, FILES, r"file_bytes is the size of the file that a target writes: say which"),
        ("openvino", FILES, r"nothing is known of the files of target 'openvino'"),
        ("onnxruntime", FILES, r"does not know what the file of target 'onnxruntime' takes .*--target onnxruntime"),
        ("gguf", (), r"measure it again with a float \.gguf file .*--target gguf=FILE"),
        ("torchao", (), r"measure it again with measure, or add it with mckp_quant\.export\.with_file_size"),
        ("torchoa", FILES, r"unknown target 'torchoa': did you mean 'torchao'"),
    ],
)
def test_what_the_table_does_not_know_is_refused(target: str | None, files: tuple[FileFacts, ...], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        allocate(table(files), {"file_bytes": "50%"}, target=target)


def test_facts_that_are_none_are_refused() -> None:
    good = FILES[0].document()
    for change, told in (
        ({"form": "zip"}, "form 'zip' of a file is unknown"),
        ({"fixed": -1}, "fixed of the file 'torchao' is -1"),
        ({"floats": [1, 2]}, "has 3 names and 2 sizes"),
        ({"floats": [1, 2, -3]}, "bytes of a layer in the file 'torchao' is -3"),
        ({"names": "abc"}, "names = 'abc' must be a list of text"),
        ({"floats": 3}, "floats = 3 must be a list of whole numbers"),
        ({"nodes": {"w4": 0.5}}, "must hold a whole number for each format"),
        ({"more": 1}, "must hold form, fixed, names, floats, digits, nodes"),
    ):
        with pytest.raises(InvalidInput, match=told):
            FileFacts.from_document({**good, **change}, "here")
    with pytest.raises(InvalidInput, match="the file 'torchao' has 3 layers, but the table has 2"):
        dataclasses.replace(table(), layers=LAYERS[:2], loss=table().loss[:2], stderr=table().stderr[:2])


@pytest.mark.parametrize("kind", ["json", "npz"])
def test_files_of_tables_keep_what_is_known(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"table.{kind}"
    write_table(table(), path)
    assert read_table(path).table.files == FILES


def test_npz_files_that_say_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    write_table(table(), path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, "files": np.array("{}")})
    with pytest.raises(InvalidInput, match=r"column 'files': \{\} must be a list"):
        read_table(path)


def test_without_a_target_the_common_ones_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = table()
    sentences = targets_of(known, as_formats("w4g32,w8g32,float"))
    size = file_bytes(known, as_formats("w4g32,w8g32,float"), "torchao")
    assert sentences[0] == f"torchao would write a file of {size:,} bytes"
    assert "compressed_tensors would write" in sentences[1]
    assert "onnxruntime cannot take 2 of 3 layers, such as 'a' in w4g32: no scale for each group" in sentences
    known.save(tmp_path / "table.json")
    assert main(["solve", str(tmp_path / "table.json"), "--budget", "weight_bytes=50%"]) == 0
    assert "torchao would write a file of" in capsys.readouterr().err
    asked = ["solve", str(tmp_path / "table.json"), "--budget", "file_bytes=30kB", "--target", "torchao"]
    assert main(asked) == 0
    printed = capsys.readouterr()
    assert "would write" not in printed.err
    assert "file_bytes" in printed.out
