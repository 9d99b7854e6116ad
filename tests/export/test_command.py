from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mckp_quant import Format, Policy
from mckp_quant.cli import main
from mckp_quant.export import read_policy

from .networks import digits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def saved(folder: Path, name: str) -> Path:
    layers = digits().layers
    Policy.uniform(layers, name).save(folder / "policy.json")
    return folder / "policy.json"


def test_command_exports_and_reports_what_it_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], needs: Callable[[str], None]
) -> None:
    needs("torchao")
    made = tmp_path / "made"
    arguments = ["export", str(saved(tmp_path, "w4")), "--to", "torchao", "--model", "mckp_quant.demo:model"]
    assert main([*arguments, "-o", str(made)]) == 0
    out, messages = capsys.readouterr()
    assert "torchao: model.safetensors, torchao_config.json in " in out
    assert "bytes, as read back" in out
    assert "codes and zero points take a byte each" in out
    assert "blocks.0.conv1" in out
    assert f"wrote {made}" in messages
    assert read_policy(made) == Policy.load(tmp_path / "policy.json")
    assert main([*arguments, "-o", str(tmp_path / "again"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mckp-quant/export/1"
    assert document["stored_bytes"] > document["asked_bytes"] > 0


def test_command_refuses_what_the_target_cannot_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], needs: Callable[[str], None]
) -> None:
    needs("torchao")
    arguments = ["export", str(saved(tmp_path, "w1")), "--to", "torchao", "--model", "mckp_quant.demo:model"]
    assert main([*arguments, "-o", str(tmp_path / "made")]) == 2
    assert "torchao cannot take layer 'stem' in format 'w1'" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
    assert main([*arguments, "-o", str(tmp_path / "made"), "--architecture", "llama"]) == 2
    assert "--architecture is for the target 'gguf_tensors', not for 'torchao'" in capsys.readouterr().err


def test_command_needs_neither_network_nor_torch_for_plain_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = Policy(("a",), (Format.named("w4g128"),))
    policy.save(tmp_path / "policy.json")
    assert main(["export", str(tmp_path / "policy.json"), "--to", "json", "-o", str(tmp_path / "made")]) == 0
    assert "json: quantization.json in " in capsys.readouterr().out
    assert read_policy(tmp_path / "made") == policy


def test_a_configuration_is_exported_and_audited_with_the_names_of_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").write_text("layer,kind,shape,w4,w8\na,linear,8x16,4,1\nb,linear,8x16,2,1\n")
    rules = {"quant_method": "gptq", "bits": 4, "group_size": -1, "sym": True, "dynamic": {"+:b": {"bits": 8}}}
    (tmp_path / "quantize_config.json").write_text(json.dumps(rules))
    (tmp_path / "shapes.json").write_text(json.dumps({"a": [8, 16], "b": [8, 16]}))
    command = ["audit", str(tmp_path / "quantize_config.json"), "--table", str(tmp_path / "table.csv"), "--json"]
    assert main(command) == 2
    assert "give the names of the network's layers (layers, or --shapes FILE)" in capsys.readouterr().err
    assert main([*command, "--shapes", str(tmp_path / "shapes.json")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [found[key]["predicted"] for key in ("policy", "best")] == [5.0, 3.0]
    arguments = ["export", str(saved(tmp_path, "w4")), "--to", "coreml", "--model", "mckp_quant.demo:model"]
    assert main([*arguments, "-o", str(tmp_path / "made")]) == 0
    assert "no weights are written" in capsys.readouterr().err
    assert read_policy(tmp_path / "made")["stem"].name == "w4"


def test_a_configuration_needs_the_names_of_the_network_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = Policy(("h.0.q_proj", "h.0.up"), (Format.named("w4g64"), Format.named("w8")))
    policy.save(tmp_path / "policy.json")
    sizes = {"h.0.q_proj": [64, 64], "h.0.k_proj": [64, 64], "h.0.up": [128, 64], "norm": [64]}
    (tmp_path / "shapes.json").write_text(json.dumps(sizes))
    command = ["export", str(tmp_path / "policy.json"), "--shapes", str(tmp_path / "shapes.json"), "--to"]
    assert main([*command, "gptqmodel", "-o", str(tmp_path / "made")]) == 0
    rules = json.loads((tmp_path / "made" / "quantize_config.json").read_text())["dynamic"]
    assert set(rules) == {r"-:^h\.0\.k_proj$", r"+:^h\.0\.q_proj$", r"+:^h\.0\.up$"}
    assert read_policy(tmp_path / "made")["h.0.up"].name == "w8"
    capsys.readouterr()
    for to, more, words in (
        ("tensorrt_llm", (), "tensorrt_llm fuses the layers"),
        ("aimet", (), "there are no weights to take them from: export with the network"),
        ("json", (), "--shapes is for configurations without weights, and 'json' writes weights: give --model"),
        ("mlx", ("--model", "a:b"), "--model 'a:b' and --shapes"),
    ):
        assert main([*command, to, *more, "-o", str(tmp_path / "other")]) == 2
        assert words in capsys.readouterr().err
    Policy(("h.0.qproj",), (Format.named("w4g64"),)).save(tmp_path / "policy.json")
    assert main([*command, "gptqmodel", "-o", str(tmp_path / "other")]) == 2
    assert "unknown layer 'h.0.qproj': did you mean 'h.0.q_proj'?" in capsys.readouterr().err
