from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from mckp_quant import Format

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "policies" / "formats.py"


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("benchmarks_formats_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def study() -> SimpleNamespace:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
        data = [(torch.randn(32, 6), torch.randint(0, 3, (32,))) for _ in range(4)]
    return SimpleNamespace(model=model, calibration=data[:2], held_out=data[2:])


def test_more_stored_bits_lose_less_within_a_family_of_formats(script: Any) -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d.]+) \| ([\d.]+) \|$", script.formats_table(), re.MULTILINE)
    found = {name: (float(bits), float(ratio)) for name, bits, ratio in rows}
    assert tuple(found) == script.SHOWN
    for fewer, more in (("w2", "w3"), ("w3", "w4"), ("w4", "w8"), ("w4t", "w4"), ("w4", "w4g128"), ("w4g128", "w4g32")):
        assert found[fewer] < found[more]
        assert found[fewer][1] < found[more][1]


def test_rank_correlation_is_that_of_the_ranks(script: Any) -> None:
    one = torch.tensor([1.0, 5.0, 2.0, 100.0]).numpy()
    assert script.rank_correlation(one, one**3) == pytest.approx(1)
    assert script.rank_correlation(one, -one) == pytest.approx(-1)


def test_tables_of_joint_formats_have_a_row_for_each(script: Any, study: SimpleNamespace) -> None:
    joint = script.joint_table(study)
    assert all(f"| {name} |" in joint for name in script.TIMED)
    assert all(f"| `{name}` |" in joint for name in script.RANKED.split(","))
    mixed = script.mixed_table(study)
    for name in ("w4a8", "w4a4", "w3a4"):
        (row,) = [line for line in mixed.splitlines() if line.startswith(f"| `{name}` |")]
        assert row.endswith("| proved optimal |")
        operations = sum(layer.weight.numel() for layer in study.model if isinstance(layer, nn.Linear))
        entry = Format.named(name)
        assert f"| {operations * entry.weight_bits * (entry.activation_bits or 32) / 1e9:.3f} |" in row


def test_tables_go_between_their_markers_and_nowhere_else(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "SHOWN", ("w1",))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- formats: begin -->\nold\n<!-- formats: end -->\nafter\n", encoding="utf-8")
    assert script.main(["--output", str(page)]) == 0
    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n<!-- formats: begin -->\n| format |")
    assert written.endswith("<!-- formats: end -->\nafter\n")
    assert "old" not in written
    assert script.between_markers("nothing here", "formats", "table") == "nothing here"
