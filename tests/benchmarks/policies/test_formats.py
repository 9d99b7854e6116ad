from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from benchmarks.policies import formats
from mckp_quant import Format

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def study() -> SimpleNamespace:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
        data = [(torch.randn(32, 6), torch.randint(0, 3, (32,))) for _ in range(4)]
    return SimpleNamespace(model=model, calibration=data[:2], held_out=data[2:])


def test_more_stored_bits_lose_less_within_a_family_of_formats() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d.]+) \| ([\d.]+) \|$", formats.formats_table(), re.MULTILINE)
    found = {name: (float(bits), float(ratio)) for name, bits, ratio in rows}
    assert tuple(found) == formats.SHOWN
    for fewer, more in (("w2", "w3"), ("w3", "w4"), ("w4", "w8"), ("w4t", "w4"), ("w4", "w4g128"), ("w4g128", "w4g32")):
        assert found[fewer] < found[more]
        assert found[fewer][1] < found[more][1]


def test_tables_of_joint_formats_have_a_row_for_each(study: SimpleNamespace) -> None:
    joint = formats.joint_table(study)
    assert all(f"| {name} |" in joint for name in formats.TIMED)
    assert all(f"| `{name}` |" in joint for name in formats.RANKED.split(","))
    mixed = formats.mixed_table(study)
    for name in ("w4a8", "w4a4", "w3a4"):
        (row,) = [line for line in mixed.splitlines() if line.startswith(f"| `{name}` |")]
        assert row.endswith("| proved optimal |")
        operations = sum(layer.weight.numel() for layer in study.model if isinstance(layer, nn.Linear))
        entry = Format.named(name)
        assert f"| {operations * entry.weight_bits * (entry.activation_bits or 32) / 1e9:.3f} |" in row


def test_tables_go_between_their_markers_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "SHOWN", ("w1",))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- formats: begin -->\nold\n<!-- formats: end -->\nafter\n", encoding="utf-8")
    assert formats.main(["--output", str(page)]) == 0
    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n<!-- formats: begin -->\n\n| format |")
    assert written.endswith("<!-- formats: end -->\nafter\n")
    assert "old" not in written
    other = tmp_path / "other.md"
    other.write_text("no markers here\n", encoding="utf-8")
    assert formats.main(["--output", str(other)]) == 0
    assert other.read_text(encoding="utf-8") == "no markers here\n"


def test_a_folder_without_the_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert formats.main(["--data", str(tmp_path)]) == 2
    assert "lacks networks.py, resnet20_cifar10.safetensors, cifar10_exact.npz" in capsys.readouterr().err
