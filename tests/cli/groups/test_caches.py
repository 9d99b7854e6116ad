"""Keys and values beside the weights, measured and solved on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mckp_quant.cli import main

pytest.importorskip("torch")

NET = """
import torch


def model():
    return Tiny().eval()


def data():
    torch.manual_seed(0)
    return [torch.randint(0, 11, (4, 9)) for _ in range(2)]
"""
MEASURE = ["measure", "net.py:model", "--data", "net.py:data", "--formats", "w4,w8"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(__file__).parents[2] / "sensitivity" / "caches" / "test_kv_cache.py"
    text = source.read_text(encoding="utf-8")
    classes = text[text.index("class Attention(") : text.index("NAMES = [")]
    head = "import torch\nfrom torch import Tensor, nn\nfrom torch.nn import functional as F\n\n\n"
    (tmp_path / "net.py").write_text(f"{NET}\n\n{head}{classes}")


def test_a_joint_table_is_measured_and_solved(capsys: pytest.CaptureFixture[str]) -> None:
    kv = ["--kv-cache", "kv8,kv4", "--kv-tokens", "50", "--kv-sequences", "2"]
    assert main([*MEASURE, *kv, "-o", "t.json"]) == 0
    assert "blocks.1.values" in capsys.readouterr().out
    assert main(["solve", "t.json", "--budget", "memory_bytes=80%", "-o", "p.json"]) == 0
    policy = json.loads(Path("p.json").read_text())
    assert policy["status"] == "proved optimal"
    assert policy["costs"]["memory_bytes"] > policy["costs"]["weight_bytes"]
    assert main(["validate", "p.json", "--model", "net.py:model", "--data", "net.py:data"]) in {0, 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--kv-tokens", "5"], "--kv-tokens is given without --kv-cache"),
        (["--kv-cache", "kv8"], "--kv-cache needs --kv-tokens"),
        (["--kv-cache", "w4", "--kv-tokens", "5"], "unknown format of a KV cache 'w4'"),
        (["--kv-cache", "kv8", "--kv-tokens", "0"], "--kv-tokens is 0: it must be a whole number"),
        (["--kv-cache", "kv8", "--kv-tokens", "5", "--kv-sequences", "0"], "--kv-sequences is 0"),
        (["--kv-cache", "kv8", "--kv-tokens", "5", "--part", "1/2"], "--kv-cache cannot be measured in parts"),
    ],
)
def test_what_cannot_be_used_is_refused(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*MEASURE, *options, "-o", "t.json"]) == 2
    assert words in capsys.readouterr().err
