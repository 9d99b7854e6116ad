from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mckp_quant as mq

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.sensitivity")


def test_without_data_it_says_what_is_missing(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--network", "resnet20"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "resnet20_cifar10.safetensors, cifar10_exact.npz missing" in printed.err


def test_files_that_the_folder_lacks_are_named(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "networks.py").touch()
    assert script.main(["--data", str(tmp_path), "--network", "chargpt"]) == 2
    assert "chargpt_shakespeare.safetensors, tinyshakespeare.txt missing" in capsys.readouterr().err


def test_policies_have_equal_size_and_differ(script: Any) -> None:
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(9)])
    table = mq.measure(model, [torch.zeros(1, 8)], formats=script.FORMATS, method="weight_mse")
    bits = np.array([entry.weight_bits for entry in table.formats])
    policies = script.equal_size_policies(table, 0)
    assert len({tuple(picks) for picks in policies}) > 1
    for picks in policies:
        assert abs(bits[picks].mean() - script.AVERAGE_BITS) <= 0.01 * script.AVERAGE_BITS
        assert bits[picks].max() < 8


def test_the_order_of_tasks_does_not_change_how_often_they_run(script: Any) -> None:
    calls = {"one": 0, "two": 0}

    def count(name: str) -> None:
        calls[name] += 1

    seconds = script.timed({"one": lambda: count("one"), "two": lambda: count("two")}, 3)
    assert calls == {"one": 4, "two": 4}
    assert set(seconds) == {"one", "two"}
