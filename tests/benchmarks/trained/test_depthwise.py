"""The network with depthwise convolutions learns, the same weights each time, and is written by its command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.trained import depthwise
from mckp_quant.demo import digits
from mckp_quant.demo.train import accuracy
from mckp_quant.network.weight_uses import uses_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_it_learns_and_its_command_writes_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = depthwise.trained(epochs=1)
    again = depthwise.trained.__wrapped__
    assert accuracy(model, digits.load().calibration) > 0.3
    monkeypatch.setattr(depthwise, "trained", lambda: again(epochs=1))
    assert depthwise.main(["train", "--output", str(tmp_path / "net.safetensors")]) == 0
    kept = load_file(tmp_path / "net.safetensors")
    assert all(torch.equal(kept[name], each) for name, each in model.state_dict().items())
    kinds = {name: use.module for name, use in uses_in(model).items()}
    grouped = [name for name, each in kinds.items() if getattr(each, "groups", 1) > 1]
    assert len(kinds) == 20
    assert len(grouped) == len(depthwise.STAGES)
