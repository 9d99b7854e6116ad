from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from mckp_quant import Format, InvalidInput, Policy
from mckp_quant.common.packages import PackageMissing
from mckp_quant.export import ExportMismatch, Gguf, HuggingFace, Json, available, export
from mckp_quant.export.comparing import compare
from mckp_quant.export.contract import Stored
from mckp_quant.export.exporting import EXPORTERS
from mckp_quant.export.sources import module_job

from .networks import llama, mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mckp_quant.export.contract import Job


def with_formats(**changes: str) -> Policy:
    """The mixed network in float but for the layers named (dots as two underscores)."""
    names = {layer.name: "float" for layer in mixed().layers}
    names |= {layer.replace("__", "."): entry for layer, entry in changes.items()}
    return Policy(tuple(names), tuple(map(Format.named, names.values())))


REFUSED = [
    ("torchao", with_formats(fc2="w4"), r"unknown layer 'fc2': did you mean 'fc'\?"),
    ("torchao", with_formats(fc="w1"), r"torchao cannot take layer 'fc' in format 'w1': no 1-bit weights; allocate"),
    ("torchao", with_formats(conv="w4g16"), r"layer 'conv' in format 'w4g16': no groups in conv2d layers"),
    ("torchao", with_formats(fc="w4a8d"), r"'w4a8d': quantised activations only as in w8a8d and w8a8sd"),
    ("torchao", with_formats(inner__fc_1="w4g32"), r"layer 'inner.fc_1' .*: rows of 80 weights are no multiple of 32"),
    ("compressed_tensors", with_formats(fc="w4z"), r"layer 'fc' in format 'w4z': no zero points of weights"),
    ("compressed_tensors", with_formats(conv="w4"), r"layer 'conv' .*: conv2d layers stay in floating point"),
    ("compressed_tensors", with_formats(inner__fc_1="w4g64"), r"rows of 80 weights are no multiple of 64"),
    ("onnxruntime", with_formats(fc="w3"), r"onnxruntime cannot take layer 'fc' in format 'w3': no 3-bit weights"),
    ("onnxruntime", with_formats(fc="w4g32"), r"layer 'fc' in format 'w4g32': no scale for each group"),
    ("onnxruntime_nbits", with_formats(fc="w4"), r"layer 'fc' in format 'w4': no scale for each channel"),
    ("gguf_tensors", with_formats(fc="w4g64"), r"gguf cannot take layer 'fc' in format 'w4g64': no groups of 64"),
    ("gguf_tensors", with_formats(inner__fc_1="w4g32"), r"rows of 80 weights are no multiple of 32"),
]


@pytest.mark.parametrize(("target", "policy", "message"), REFUSED)
def test_what_a_target_cannot_take_is_refused_before_anything_is_written(
    target: str, policy: Policy, message: str, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    network = mixed()
    with pytest.raises(InvalidInput, match=message):
        export(policy, target, model=network.model, output=tmp_path / "made", batches=network.batches)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["vllm", "sglang"])
def test_fused_layers_with_different_formats_are_refused(
    target: str, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    network = llama()
    names = [layer.name for layer in network.layers if layer.kind == "linear"]
    formats = ["w8" if "k_proj" in name else "w4" for name in names]
    policy = Policy(tuple(names), tuple(map(Format.named, formats)))
    with pytest.raises(
        InvalidInput, match=rf"{target} fuses the layers .*q_proj, .*k_proj, .*v_proj, but .*'w4' and .*'w8'"
    ):
        export(policy, target, model=network.model, output=tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_a_fused_layer_that_the_policy_leaves_out_stays_in_float_and_is_refused(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("vllm")
    network = llama()
    names = [layer.name for layer in network.layers if layer.kind == "linear" and "up_proj" not in layer.name]
    policy = Policy(tuple(names), (Format.named("w8"),) * len(names))
    with pytest.raises(InvalidInput, match=r"gate_proj' has the format 'w8' and .*up_proj' is not in the policy and"):
        export(policy, "vllm", model=network.model, output=tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_formats_of_a_users_own_are_refused(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("torchao")
    own = Format("mine", 4, quantize=lambda weight: weight, stored_bits=lambda layer: 4 * layer.elements)
    policy = Policy(("fc",), (own,))
    with pytest.raises(InvalidInput, match="in format 'mine': it is a user's own, and how it stores numbers"):
        export(policy, "torchao", model=mixed().model, output=tmp_path / "made")


def test_weights_that_are_shared_are_named_once(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("torchao")
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = model[0].weight
    both = Policy(("0", "1"), (Format.named("w4"), Format.named("w4")))
    with pytest.raises(InvalidInput, match="layers '0' and '1' share one weight: name one of them"):
        export(both, "torchao", model=model, output=tmp_path / "made")
    one = Policy(("0",), (Format.named("w4"),))
    with pytest.raises(InvalidInput, match="layer '0' in format 'w4': it shares its weight with 1, which would be"):
        export(one, "compressed_tensors", model=model, output=tmp_path / "made")
    with pytest.raises(InvalidInput, match="torchao cannot take layer '0' in format 'w4': it shares its weight with 1"):
        export(one, "torchao", model=model, output=tmp_path / "made")


def test_shared_weights_are_written_to_gguf_once_whichever_module_the_policy_names(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("gguf")
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32))
    model[1].weight = model[0].weight
    for name in ("0", "1"):
        policy = Policy((name,), (Format.named("w4g32"),))
        (record,) = export(policy, "gguf_tensors", model=model, output=tmp_path / name).layers
        assert (record.place, record.found, record.stored_bytes) == ("0.weight", "w4g32", 32 * 18)


def test_networks_that_are_a_layer_themselves_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"the network itself, a Linear, is the layer .* put it into a torch\.nn\.Seq"
    ):
        export(Policy(("",), (Format.named("w4"),)), "json", model=nn.Linear(8, 8), output=tmp_path / "made")


def test_shared_weights_may_stand_under_the_name_of_either_module() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = model[0].weight
    job = Json().prepare(Policy(("0",), (Format.named("w4"),)), model, ())
    (record,) = compare(Json(), job, {"1": Stored(Format.named("w4"), 64, "1.weight")})
    assert (record.layer, record.place) == ("0", "1.weight")
    with pytest.raises(ExportMismatch, match="json: layer '0' is not in the artefact"):
        list(compare(Json(), job, {"2": Stored(Format.named("w4"), 64, "2.weight")}))


def test_targets_outputs_and_models_that_are_none_are_refused(tmp_path: Path) -> None:
    policy = with_formats()
    with pytest.raises(InvalidInput, match=r"unknown export target 'torch_ao': did you mean 'torchao'\?"):
        export(policy, "torch_ao", model=mixed().model, output=tmp_path / "made")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(InvalidInput, match="exists already: name a new or an empty folder"):
        export(policy, "json", output=tmp_path / "full")
    with pytest.raises(InvalidInput, match=r"model is missing: give the float network .* \(--model\)"):
        module_job(Policy(("0",), (Format.named("w8"),)), None, ())
    with pytest.raises(InvalidInput, match=r"model is a list: this target takes a torch\.nn\.Module"):
        export(policy, "json", model=[], output=tmp_path / "made")
    with pytest.raises(InvalidInput, match="unknown form of Hugging Face checkpoints 'gptq'"):
        HuggingFace("gptq")
    with pytest.raises(InvalidInput, match="model is a Mixed: the target 'hf' takes a model of transformers"):
        HuggingFace().prepare(policy, mixed().model, [])


@pytest.mark.parametrize("target", ["onnxruntime", "onnxruntime_nbits"])
def test_targets_that_trace_want_an_example(target: str, tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs(target)
    with pytest.raises(InvalidInput, match=f"{target} traces the network: give batches="):
        export(with_formats(), target, model=mixed().model, output=tmp_path / "made")


def test_names_that_ggml_cannot_hold_are_refused(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    for name, message in (("x" * 60, "has a name of more than 63 bytes"), ("Up", "has capitals, spaces or '='")):
        model = nn.Sequential()
        model.add_module(name, nn.Linear(32, 4))
        with pytest.raises(InvalidInput, match=message):
            export(Policy((name,), (Format.named("w4g32"),)), "gguf_tensors", model=model, output=tmp_path / "made")
    with pytest.raises(InvalidInput, match=r"unknown architecture of llama.cpp 'lama': did you mean 'llama'\?"):
        export(with_formats(), Gguf("lama", tensors_only=True), model=mixed().model, output=tmp_path / "made")


def test_missing_packages_are_named_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(PackageMissing, match=r"'gguf' cannot be imported .*pip install 'mckp-quant\[gguf\]'"):
        export(with_formats(), "gguf_tensors", model=mixed().model, output=tmp_path / "made")
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torchao" else real(name))
    reason = available()["torchao"]
    assert reason == "the package 'torchao' is not installed; install it with: pip install 'mckp-quant[torchao]'"
    assert available()["json"] is None


@dataclass(frozen=True)
class Liar(Json):
    """An exporter that reads back something else than it wrote."""

    said: Mapping[str, Stored]
    capability: ClassVar[str] = "torchao"  # type: ignore[assignment]

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        return {**{layer.name: self._true(job, layer.name) for layer in job.layers}, **self.said}

    def _true(self, job: Job, name: str) -> Stored:
        return Stored(Format.named("float"), 0, name, job.weight(name))


def lies() -> list[tuple[dict[str, Any], str]]:
    own = next(layer for layer in mixed().layers if layer.name == "fc")
    good = Stored(Format.named("w4"), own.elements + 5 * own.known_channels, "fc.weight")
    other = torch.zeros(own.shape)
    return [
        ({}, "layer 'fc' was asked in 'w4', but the artefact has it in 'float'"),
        ({"fc": replace(good, format=Format.named("w3"))}, r"asked in 'w4', but .* in 'w3' \(at 'fc.weight'\)"),
        ({"fc": replace(good, nbytes=7)}, r"layer 'fc' in 'w4' should take 6,624 bytes, but takes 7"),
        (
            {"fc": replace(good, weight=other)},
            r"the weight of layer 'fc' in 'w4' differs in .* of 6,144 entries, by up to",
        ),
        ({"fc": replace(good, weight=other[0])}, r"has the shape \(64,\) in the artefact, not \(96, 64\)"),
    ]


@pytest.mark.parametrize(("said", "message"), lies())
def test_artefacts_that_do_not_say_what_was_asked_are_errors_and_not_kept(
    said: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportMismatch, match=message):
        export(with_formats(fc="w4"), Liar(said), model=mixed().model, output=tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_layers_that_the_artefact_lacks_are_errors(tmp_path: Path) -> None:
    class Forgetful(Liar):
        def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
            return {}

    with pytest.raises(ExportMismatch, match="json: layer 'conv' is not in the artefact"):
        export(with_formats(fc="w4"), Forgetful({}), model=mixed().model, output=tmp_path / "made")


def test_weights_in_half_precision_are_exported_as_they_are_simulated(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("torchao")
    model = nn.Sequential(nn.Linear(64, 8)).to(torch.bfloat16)
    report = export(Policy(("0",), (Format.named("w4g32"),)), "torchao", model=model, output=tmp_path / "made")
    assert report.layers[0].found == "w4g32"
    assert np.isfinite(report.stored_bytes)


@pytest.mark.parametrize("target", ["torchao", "compressed_tensors"])
def test_bias_or_norm_that_was_changed_or_lost_is_seen(tmp_path: Path, target: str) -> None:
    pytest.importorskip(target)
    model = nn.Sequential(nn.Linear(64, 96), nn.BatchNorm1d(96), nn.Linear(96, 32))
    policy = Policy(("0", "2"), (Format.named("w8"), Format.named("float")))
    export(policy, target, model=model, output=tmp_path / "made")
    safetensors = pytest.importorskip("safetensors")
    path = tmp_path / "made" / "model.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        metadata, state = file.metadata(), {name: file.get_tensor(name) for name in sorted(file.keys())}
    exporter = EXPORTERS[target]
    job = exporter.prepare(policy, model, ())
    for name in ("0.bias", "1.weight", "1.running_var", "1.num_batches_tracked"):
        changed = {**state, name: state[name] + 1}
        safetensors.torch.save_file(changed, path, metadata=metadata)
        with pytest.raises(ExportMismatch, match=f"{target}: the tensor '{name}', which is no weight of the policy's"):
            exporter.read(tmp_path / "made", job)
    lost = {key: tensor for key, tensor in state.items() if key != "1.bias"}
    safetensors.torch.save_file(lost, path, metadata=metadata)
    with pytest.raises(ExportMismatch, match=f"{target}: the tensor '1.bias' of the network is not in the artefact"):
        exporter.read(tmp_path / "made", job)


class Full(Json):
    """Fails to write as the libraries do where a disk is full."""

    def __init__(self, error: Exception) -> None:
        object.__setattr__(self, "error", error)

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        raise self.error  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "number", "words"),
    [
        (OSError(28, "No space left on device"), 28, "No space left on device"),
        (OSError("589824 requested and 19360 written"), 28, r"the disk is full, or files may not be so large \(589824"),
        (RuntimeError("Error while serializing: I/O error: File too large (os error 27)"), 27, "File too large"),
    ],
)
def test_a_full_disk_is_said_with_the_name_of_the_output(
    error: Exception, number: int, words: str, tmp_path: Path
) -> None:
    policy = Policy(("a",), (Format.named("w4"),))
    with pytest.raises(OSError, match=rf"cannot write '.*made': {words}") as raised:
        export(policy, Full(error), output=tmp_path / "made")
    assert raised.value.errno == number
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError, match="odd"):
        export(policy, Full(ZeroDivisionError("odd")), output=tmp_path / "made")
