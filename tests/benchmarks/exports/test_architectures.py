from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.exports import architectures
from benchmarks.exports.architectures import MENUS, Cell, add_cell, cell_of, main, markdown, read_cells
from benchmarks.exports.small_networks import NAMES

if TYPE_CHECKING:
    from pathlib import Path

CELLS = [
    Cell("Llama", "hf", "loaded", "7 of 9", "140"),
    Cell("Llama", "vllm", "parsed", "7 of 9"),
    Cell("gpt-oss", "torchao", "refused", "0 of 5", reason="InvalidInput: no layer is taken"),
]


def test_the_table_has_every_architecture_and_the_rules_below_it() -> None:
    lines = markdown(CELLS).splitlines()
    assert len(NAMES) == 20
    assert len(MENUS) == 6
    assert lines[2] == "| Llama | not run | loaded, 7 of 9, 140 dB | not run | parsed, 7 of 9 | not run | not run |"
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:22]] == list(NAMES)
    assert lines[-1] == "- gpt-oss to `torchao`: no layer is taken"


def test_cells_that_are_there_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in CELLS:
        add_cell(tmp_path / "cells.csv", cell)
    assert read_cells(tmp_path / "cells.csv") == CELLS
    made: list[tuple[str, str]] = []

    def failed(architecture: str, target: str) -> Cell:
        made.append((architecture, target))
        return Cell(architecture, target, "failed", reason="TypeError: no")

    monkeypatch.setattr(architectures, "cell_of", failed)
    command = ["--architecture", "Llama", "--target", "hf,vllm,torchao", "--output", str(tmp_path / "cells.csv")]
    assert main(command) == 1
    assert made == [("Llama", "torchao")]
    assert len(read_cells(tmp_path / "cells.csv")) == 4
    assert "- Llama to `torchao`: TypeError: no" in capsys.readouterr().out
    assert main(["--architecture", "Lama"]) == 2
    assert "--architecture Lama: there is none of this name" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("target", MENUS)
@pytest.mark.parametrize("architecture", ["Llama", "Mixtral", "ViT"])
def test_three_architectures_are_written_and_loaded_or_refused(architecture: str, target: str) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("compressed_tensors")
    assert cell_of(architecture, target).outcome != "failed"
