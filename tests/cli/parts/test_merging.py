"""Parts and ranks on the command line: the table of one process, bit for bit, and words where something is missing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mckp_quant import SensitivityTable
from mckp_quant.cli import main

pytest.importorskip("torch")

NET = """
import os
import signal

import torch


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def dying():
    for at in range(4):
        if at == 1 and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        yield torch.full((4, 6), float(at))
"""
MEASURE = ["measure", "net.py:model", "--data", "data.npz", "--batch-size", "12", "--formats", "w2,w4"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    (tmp_path / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", inputs=rng.normal(size=(64, 6)), targets=rng.integers(0, 3, 64))
    return tmp_path


def document(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text())
    del found["made_from"]
    return found


def test_parts_are_merged_into_the_table_of_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*MEASURE, "-o", "whole.json"]) == 0
    said = capsys.readouterr().out
    for part in (1, 2, 3):
        assert main([*MEASURE, "--part", f"{part}/3", "-o", f"part{part}.json"]) == 0
    assert "2/3: merge it with the others" in repr(SensitivityTable.load("part2.json"))
    capsys.readouterr()
    assert main(["merge", "part3.json", "part1.json", "part2.json", "-o", "table.json"]) == 0
    assert capsys.readouterr().out == said
    assert document("table.json") == document("whole.json")
    assert main(["merge", "part3.json", "part1.json", "part2.json", "-o", "table.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == document("whole.json")["loss"]


def test_what_cannot_be_merged_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    main([*MEASURE, "-o", "whole.json"])
    main([*MEASURE, "--part", "1/2", "-o", "part1.json"])
    capsys.readouterr()
    assert main(["merge", "part1.json", "-o", "table.json"]) == 2
    assert capsys.readouterr().err == "mckp-quant: missing parts: 2/2; measure them with --part, and give all 2\n"
    assert main(["merge", "part1.json", "whole.json", "-o", "table.json"]) == 2
    assert "'whole.json' is no part, it was measured on all its batches" in capsys.readouterr().err
    assert main([*MEASURE, "--part", "3", "-o", "part3.json"]) == 2
    assert capsys.readouterr().err == "mckp-quant: --part is '3': write which part of how many, such as '2/8'\n"


def ranked(count: int, *command: str) -> list[tuple[int, str, str]]:
    """What every rank returned, printed and said, as `torchrun` starts them."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "mckp_quant", *command],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        ended = [each.communicate(timeout=240) for each in started]
    finally:
        for each in started:
            each.kill()
    return [(each.returncode, *words) for each, words in zip(started, ended, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_ranks_measure_the_table_of_one_process_and_the_first_alone_writes(
    count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*MEASURE, "-o", "whole.json"]) == 0
    said = capsys.readouterr().out
    first, *others = ranked(count, *MEASURE, "-o", "table.json", "--checkpoint", "state.json")
    assert first[:2] == (0, said)
    assert first[2].endswith("wrote table.json\n")
    assert others == [(0, "", "")] * (count - 1)
    assert document("table.json") == document("whole.json")
    assert sorted(each.name for each in Path().glob("state.json*")) == [
        f"state.json.{rank}-of-{count}" for rank in range(1, count + 1)
    ]


@pytest.mark.slow
def test_a_dead_rank_ends_the_others_with_words() -> None:
    command = ["measure", "net.py:model", "--data", "net.py:dying", "--formats", "w4", "-o", "table.json"]
    first, dead = ranked(2, *command)
    assert dead[0] == -9
    assert first[0] == 2
    assert "rank 0 of 2 waited for the others, and one of them has ended" in first[2]
    assert not Path("table.json").exists()


@pytest.mark.slow
def test_a_part_by_hand_is_refused_under_torchrun() -> None:
    for code, _, said in ranked(2, *MEASURE, "--part", "1/2", "-o", "table.json"):
        assert code == 2
        assert "--part 1/2 is given to 2 processes of torchrun, which share the batches" in said
