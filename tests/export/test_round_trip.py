from __future__ import annotations

import copy
import functools
import json
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mckp_quant import Format, InvalidInput, Policy
from mckp_quant.export import export, read_policy
from mckp_quant.export.exporting import EXPORTERS
from mckp_quant.export.graphs.tracing import float_graph
from mckp_quant.export.writers import to_onnxruntime as target_module
from mckp_quant.rounding.calibration import calibrate_ranges

from .networks import mixed

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = st.integers(0, 2**31)


@functools.cache
def traced() -> Any:
    return float_graph(mixed().model, mixed().batches)


@pytest.mark.parametrize("target", ["torchao", "compressed_tensors", "vllm", "gguf_tensors", "json", "onnxruntime"])
def test_policies_that_the_target_takes_come_back_from_their_artefacts(
    target: str, needs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(target)
    if target == "onnxruntime":  # tracing takes seconds and does not depend on the policy
        graph = traced()
        monkeypatch.setattr(target_module, "float_graph", lambda model, batches: copy.deepcopy(graph))

    @settings(max_examples=8)
    @given(SEEDS)
    def check(seed: int) -> None:
        network = mixed()
        policy = network.policy(EXPORTERS[target].capability or target, seed)
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "made"
            report = export(policy, target, model=network.model, output=output, batches=network.batches)
            assert read_policy(output) == policy
            assert [each.found for each in report.layers] == [entry.name for entry in policy.formats]

    check()


def test_ranges_that_a_policy_lacks_are_calibrated_and_kept(
    tmp_path: Path, needs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("onnxruntime")
    graph, network = traced(), mixed()
    monkeypatch.setattr(target_module, "float_graph", lambda model, batches: copy.deepcopy(graph))
    policy = Policy(("fc", "fc1"), (Format.named("w8a8"), Format.named("w4")))
    export(policy, "onnxruntime", model=network.model, output=tmp_path / "made", batches=network.batches)
    assert read_policy(tmp_path / "made")["fc"].name == "w8a8"
    wanted = calibrate_ranges(network.model, network.batches, "w8a8")
    scheme = Format.named("w8a8").activation_scheme
    assert scheme is not None
    kept = Policy.load(tmp_path / "made" / "policy.json").ranges
    assert kept is not None
    assert kept.of("fc", scheme) == wanted.of("fc", scheme)


def test_policies_of_our_own_json_need_no_network(tmp_path: Path) -> None:
    policy = Policy(("a", "b"), (Format.named("w4g32"), Format.named("fp8_e4m3a8d")))
    report = export(policy, "json", output=tmp_path / "made")
    assert report.files == ("quantization.json",)
    assert read_policy(tmp_path / "made") == policy
    assert read_policy(tmp_path / "made" / "quantization.json") == policy
    assert read_policy(tmp_path / "made" / "policy.json") == policy


def test_the_current_folder_is_an_output_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    policy = Policy(("a",), (Format.named("w4"),))
    assert str(export(policy, "json", output=".").output) == "."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.json", "policy.json", "quantization.json"]


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("quantization.json", {"schema": "mckp-quant/quantization/1", "layers": [{"format": {"name": "w4"}}]}),
        ("config.json", {"quantization_config": {"quant_method": "torchao", "quant_type": {}}}),
        ("config.json", {"quantization_config": 5}),
        ("config.json", {"quantization_config": {"quant_method": "torchao", "quant_type": 7}}),
    ],
)
def test_damaged_artefacts_are_named(name: str, document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match=rf"{name}' cannot be read \(.*\): it is damaged, was edited by hand"):
        read_policy(tmp_path)


def test_gguf_files_that_were_cut_off_are_refused(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    model = nn.Sequential(nn.Linear(32, 16, bias=False))  # 288 bytes, which need no padding at the end
    export(Policy(("0",), (Format.named("w4g32"),)), "gguf_tensors", model=model, output=tmp_path / "made")
    whole = (tmp_path / "made" / "model.gguf").read_bytes()
    for size in (*range(0, len(whole), 13), len(whole) - 1):
        (tmp_path / "cut.gguf").write_bytes(whole[:size])
        with pytest.raises(
            InvalidInput,
            match=r"^the GGUF file '.*cut.gguf' (cannot be read \(.*make|does not fit together: .*get) it again$",
        ):
            read_policy(tmp_path / "cut.gguf")


def gguf_metadata(*values: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(values)) + b"".join(struct.pack("<Q", 1) + b"k" + v for v in values)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (struct.pack("<IIQ", 9, 0, 2**50), f"say that {2**50:,} bytes follow"),
        (struct.pack("<IIQ", 9, 12, 2**61), f"say that {2**64:,} bytes follow"),
        (struct.pack("<IQ", 8, 2**62), f"say that {2**62:,} bytes follow"),
        (struct.pack("<IIQ", 9, 8, 2**50), "cannot be read"),
        (struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 100_000, "hold a value of kind 9 in 8 lists"),
        (struct.pack("<I", 99), "hold a value of kind 99 in 0 lists"),
    ],
)
def test_metadata_that_no_file_could_hold_are_refused_before_they_are_counted_through(
    value: bytes, words: str, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("gguf")
    (tmp_path / "a.gguf").write_bytes(gguf_metadata(value))
    with pytest.raises(InvalidInput, match=rf"the GGUF file '.*a\.gguf' .*{words}"):
        read_policy(tmp_path / "a.gguf")


def test_an_error_in_a_file_of_a_folder_is_said_once(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("compressed_tensors")
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "compressed-tensors"}}')
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 9)
    with pytest.raises(InvalidInput, match=r"^the checkpoint '.*model.safetensors' cannot be read \(SafetensorError"):
        read_policy(tmp_path)


def test_places_without_an_artefact_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'.*nothing' does not exist: name an artefact"):
        read_policy(tmp_path / "nothing")
    with pytest.raises(InvalidInput, match=r"holds no artefact that can be read: one \.onnx, one \.gguf"):
        read_policy(tmp_path)
    (tmp_path / "a.bin").write_text("")
    with pytest.raises(InvalidInput, match=r"is no artefact that can be read: expected \.onnx, \.gguf, a policy"):
        read_policy(tmp_path / "a.bin")
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(InvalidInput, match="holds no JSON object"):
        read_policy(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"'.*a.json' is not whole JSON \(line 1, column 2: Expecting"):
        read_policy(tmp_path / "a.json")


@pytest.mark.parametrize(("suffix", "target"), [("gguf", "gguf_tensors"), ("onnx", "onnxruntime")])
def test_files_of_another_kind_are_refused(
    suffix: str, target: str, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"this is a letter to a friend, and no network at all")
    with pytest.raises(InvalidInput, match=rf"^the (GGUF file|ONNX graph) '.*a.{suffix}' cannot be read"):
        read_policy(path)
