"""What stays in floating point is said by measure, solve and export, and above 5 % has to be wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mckp_quant.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NET = """
import torch


class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(6, width))
        self.first, self.last = torch.nn.Linear(6, 20), torch.nn.Linear(20, 4)

    def forward(self, x):
        return self.last(self.first(x).tanh()) + (x @ self.table).sum(dim=1, keepdim=True)


def narrow():
    return Net(1)


def wide():
    return Net(2)


def data():
    torch.manual_seed(1)
    return [torch.randn(8, 6) for _ in range(3)]
"""
ASKED = ["--data", "net.py:data", "--formats", "w4,w8", "-o", "t.json"]


def test_a_share_is_said_and_above_five_per_cent_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    assert main(["measure", "net.py:wide", *ASKED]) == 2
    said = capsys.readouterr().err
    assert "5.7% of the weights (12 of 212) are in no layer and would stay in floating point, such as 'table'" in said
    assert "--allow-float" in said
    assert not (tmp_path / "t.json").exists()
    assert main(["measure", "net.py:wide", *ASKED, "--allow-float"]) == 0
    assert main(["measure", "net.py:narrow", *ASKED, "--force"]) == 0
    solved = ["solve", "t.json", "--budget", "bits_per_weight=40", "--pin", "last=float", "-o", "p.json"]
    capsys.readouterr()
    assert main(solved) == 0
    share = "41.7% of the weights stay in floating point: 80 of 206 in layers of the format float, 6 in no layer"
    assert share in capsys.readouterr().err
    assert main(["export", "p.json", "--to", "json", "--model", "net.py:narrow", "-o", "out"]) == 0
    assert share in capsys.readouterr().err
    assert torch.is_grad_enabled()
