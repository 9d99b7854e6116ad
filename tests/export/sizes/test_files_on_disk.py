"""Budgets of `file_bytes` against the files on disk."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from mckp_quant import InvalidInput, Policy, RunOptions, allocate, measure
from mckp_quant.cli import main
from mckp_quant.cli.exporting import with_file_sizes
from mckp_quant.costs.files import file_bytes
from mckp_quant.export import FileTooLarge, Gguf, audit, export, read_policy, with_file_size
from mckp_quant.export.exporting import EXPORTERS
from mckp_quant.formats import TARGETS, Format
from mckp_quant.pipeline.steps.exporting import why_not

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mckp_quant import SensitivityTable

# What is exported to each target, and the formats of its table.
CASES = {
    "torchao": "w4,w8,w4g32,w8a8sd,float",
    "compressed_tensors": "w2,w3,w4g32,w5,w8,w8a8sd,fp8_e4m3,fp8_e4m3a8d,float",
    "vllm": "w4g32z,w4z,w6,w8,float",
    "gguf_tensors": "w4g32,w5g32,w8g32,float",
}

NET = """
import torch
from torch import nn


def model():
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10)).eval()
"""


class Small(nn.Module):
    """Layers of some kinds, norms, a buffer of whole numbers, and a parameter of the network itself."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.shift = nn.Parameter(torch.zeros(64))
        self.first = nn.Linear(64, 96)
        self.inner = nn.Sequential(nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 64, bias=False))
        self.last = nn.Linear(64, 10)
        self.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.inner(self.first(x + self.shift)))
        return out


def known(target: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, SensitivityTable]:
    model, batch = Small(dtype).eval(), torch.randn(8, 64, dtype=dtype)
    names = CASES[target]
    table = measure(model, [batch], formats=names, run=RunOptions(max_batches=1))
    return model, with_file_size(table, target, model=model)


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".safetensors", ".gguf"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("target", sorted(CASES))
def test_files_take_what_was_counted_or_a_little_less(
    target: str, dtype: torch.dtype, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    model, table = known(target, dtype)
    goal = EXPORTERS[target].capability
    assert goal is not None
    for entry in table.formats:
        formats = [entry if TARGETS[goal].takes(layer, entry) else Format.named("float") for layer in table.layers]
        policy = dataclasses.replace(Policy.on_table(table, formats), ranges=None)
        report = export(policy, target, model=model, output=tmp_path / entry.name)
        found, counted = on_disk(tmp_path / entry.name), file_bytes(table, formats, goal)
        assert report.file_bytes == found
        assert found <= counted <= 1.02 * found, entry.name
        assert report.size is not None
        assert sum(count for _, count in report.size.parts) == found


@pytest.mark.parametrize("target", sorted(CASES))
def test_the_budget_is_the_size_of_the_file(target: str, tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs(target)
    model, table = known(target)
    goal = EXPORTERS[target].capability
    for share in ("45%", "70%", "95%"):
        policy = allocate(table, {"file_bytes": share}, target=goal).policy
        export(policy, target, model=model, output=tmp_path / share)
        assert on_disk(tmp_path / share) <= policy.costs["file_bytes"] <= policy.budgets[0].limit
    over = dataclasses.replace(policy, budgets=(dataclasses.replace(policy.budgets[0], limit=10_000),))
    with pytest.raises(
        FileTooLarge, match=r"the file takes [\d,]+ bytes, [\d,]+ more than the budget file_bytes = 10,"
    ):
        export(over, target, model=model, output=tmp_path / "over")
    assert not (tmp_path / "over").exists()


def test_the_command_says_the_size_and_refuses_what_is_larger(
    tmp_path: Path, needs: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    needs("torchao")
    (tmp_path / "net.py").write_text(NET)
    namespace: dict[str, Any] = {}
    exec(NET, namespace)
    table = measure(namespace["model"](), [torch.randn(8, 64)], formats="w4,w8,float", method="weight_mse")
    policy = allocate(table, {"file_bytes": "60%"}, target="torchao").policy
    policy.save(tmp_path / "policy.json")
    code = ["export", str(tmp_path / "policy.json"), "--to", "torchao", "--model", f"{tmp_path / 'net.py'}:model"]
    assert main([*code, "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert f"{on_disk(tmp_path / 'out'):,} bytes on disk; the budget is {policy.budgets[0].limit:,}" in shown
    assert "names, shapes and metadata" in shown
    small = dataclasses.replace(policy, budgets=(dataclasses.replace(policy.budgets[0], limit=9_000),))
    small.save(tmp_path / "policy.json")
    assert main([*code, "-o", str(tmp_path / "small")]) == 1
    assert "more than the budget file_bytes = 9,000" in capsys.readouterr().err
    assert not (tmp_path / "small").exists()


def test_float_gguf_files_are_weighed_and_named_for_what_is_in_them(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("gguf")
    gguf = __import__("gguf")
    model, table = known("gguf_tensors")
    plain = Policy.uniform(table, "float")
    export(plain, Gguf(tensors_only=True), model=model, output=tmp_path / "float")
    source = tmp_path / "float" / "model.gguf"
    table = with_file_size(table, "gguf", model=source)
    for name in ("w4g32", "w8g32"):
        policy = allocate(table, {"file_bytes": "100%"}, target="gguf", pinned={"first": name}).policy
        export(policy, "gguf", model=source, output=tmp_path / name)
        assert on_disk(tmp_path / name) <= policy.costs["file_bytes"] <= on_disk(tmp_path / name) + 64
    small = allocate(table, {"file_bytes": "60%"}, target="gguf", pinned={"first": "w4g32", "inner.2": "w4g32"}).policy
    export(small, "gguf", model=source, output=tmp_path / "small")
    for folder, kind in (("float", "ALL_F32"), ("small", "MOSTLY_Q4_0")):
        fields = gguf.GGUFReader(tmp_path / folder / "model.gguf").fields
        assert fields["general.file_type"].contents() == gguf.LlamaFileType[kind]
    with pytest.raises(InvalidInput, match=r"gguf needs the float \.gguf file of the network as model"):
        export(small, "gguf", model=model, output=tmp_path / "network")


def test_audits_compare_files_at_their_real_size(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("torchao")
    model, table = known("torchao")
    policy = Policy.uniform(table, "w8")
    report = export(policy, "torchao", model=model, output=tmp_path / "made")
    read = read_policy(tmp_path / "made")
    assert read.costs == {"file_bytes": report.file_bytes}
    found = audit(read, table, target="torchao")
    assert found.resource == "file_bytes"
    assert found.policy.costs["file_bytes"] == report.file_bytes
    assert found.best.costs["file_bytes"] <= file_bytes(table, policy.formats, "torchao")
    assert found.best.predicted <= found.policy.predicted
    assert f"{report.file_bytes:,} bytes on disk" in str(found)
    assert audit(read, table).resource == "weight_bytes"


def test_targets_without_a_file_are_refused() -> None:
    model, table = known("torchao")
    with pytest.raises(InvalidInput, match="target 'openvino' writes no file here: name one of"):
        with_file_size(table, "openvino", model=model)
    with pytest.raises(InvalidInput, match="unknown target 'torchoa'"):
        with_file_size(table, "torchoa", model=model)
    model.register_buffer("odd", torch.zeros(3, dtype=torch.complex128))
    with pytest.raises(InvalidInput, match="a tensor of a type that files of 'torchao' do not have"):
        with_file_size(table, "torchao", model=model)


def test_the_command_line_names_the_float_file_of_gguf_and_of_nothing_else() -> None:
    model, table = known("torchao")
    assert with_file_sizes(dataclasses.replace(table, files=()), ["torchao"], model, list).files[0].form == "torchao"
    for wrong in ("gguf", "torchao=float.gguf"):
        with pytest.raises(InvalidInput, match=f"--target {wrong}: of gguf, and only of it, name the float file"):
            with_file_sizes(table, [wrong], model, list)


def test_a_run_cannot_export_to_gguf_which_takes_a_float_file() -> None:
    assert "its metadata come from a float .gguf file, which a run does not have" in why_not("gguf", "gguf")
