from __future__ import annotations

import ast
import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import mckp_quant.export
from mckp_quant import Format, InvalidInput, Policy, SensitivityTable, apply, demo, round_weights
from mckp_quant.cli import main
from mckp_quant.export import ExportMismatch, Gguf, audit, export, read_policy
from mckp_quant.export.codes import as_encoded, codes_of, difference_of_codes
from mckp_quant.export.exporting import EXPORTERS
from mckp_quant.export.writers import to_onnxruntime as target_module
from mckp_quant.rounding import EncodedWeight, WeightBank
from mckp_quant.rounding.encoded import OpaqueWeight

from .conformance import check_artefact
from .networks import Done, Drawn, Network, bank_of, digits, finished, llama, mixed
from .test_round_trip import traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from mckp_quant.layers import Layer
    from mckp_quant.rounding.encoded import StoredWeight
    from mckp_quant.rounding.rounder import InputStatistics

CODED = ("torchao", "compressed_tensors", "vllm", "gguf_tensors", "onnxruntime")


def of(**formats: str) -> Policy:
    return Policy(tuple(formats), tuple(map(Format.named, formats.values())))


def without_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = traced()
    monkeypatch.setattr(target_module, "float_graph", lambda model, batches: copy.deepcopy(graph))


@pytest.mark.parametrize("target", CODED)
@pytest.mark.parametrize("rounder", ["gptq", Drawn()], ids=["gptq", "drawn"])
def test_codes_that_are_read_back_are_the_banks_to_the_last_bit(
    target: str, rounder: Any, tmp_path: Path, needs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(target)
    without_tracing(monkeypatch)
    network, exporter = mixed(), EXPORTERS[target]
    policy = network.policy(exporter.capability, 11)
    bank = bank_of(network, policy, rounder)
    check_artefact(target, network, policy, tmp_path / "made", bank)
    job = exporter.prepare(policy, network.model, network.batches)
    found = exporter.read(tmp_path / "made", job)
    coded = [(layer, entry) for layer, entry in job.coded if entry.family == "integer"]
    others = 0
    for layer, entry in coded:
        codes, own = found[layer.name].codes, bank.encoded(layer.name, entry)
        assert isinstance(codes, EncodedWeight)
        assert isinstance(own, EncodedWeight)
        assert torch.equal(codes.elements.double(), own.elements.double())
        assert torch.equal(codes.scales.double(), own.scales.double())
        assert (codes.zero_points is None) == (own.zero_points is None)
        if codes.zero_points is not None and own.zero_points is not None:
            assert torch.equal(codes.zero_points.double(), own.zero_points.double())
        nearest = job.encoded(layer)
        assert isinstance(nearest, EncodedWeight)
        others += int((nearest.elements != own.elements).sum())
    assert others  # or nothing would tell the bank's codes from nearest ones


@pytest.mark.parametrize("target", CODED)
def test_a_bank_of_nearest_codes_gives_the_bytes_of_none(
    target: str, tmp_path: Path, needs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(target)
    without_tracing(monkeypatch)
    network = mixed()
    policy = network.policy(EXPORTERS[target].capability, 12)
    for name, bank in (("without", None), ("with", bank_of(network, policy, "nearest"))):
        export(policy, target, model=network.model, output=tmp_path / name, batches=network.batches, bank=bank)
    files = [path.name for path in (tmp_path / "without").iterdir() if path.name != "export.json"]
    assert files
    for name in files:
        assert content(tmp_path / "with" / name) == content(tmp_path / "without" / name)


def content(path: Path) -> Any:
    """The bytes of a file; of safetensors, whose metadata have no order, those of everything in it."""
    if path.suffix != ".safetensors":
        return path.read_bytes()
    with __import__("safetensors").safe_open(path, framework="pt") as file:  # NumPy has no eight-bit floats
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        content = {name: each.flatten().view(torch.uint8).tolist() for name, each in tensors.items()}
        return dict(file.metadata()), content


def graph_outputs(folder: Path, images: Tensor) -> np.ndarray[Any, Any]:
    runtime = __import__("onnxruntime")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    made: np.ndarray[Any, Any] = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    return made.astype(np.float64)


def half_and_half() -> tuple[Network, Policy, WeightBank, Tensor]:
    """The demo network in turn in 4 and 8 bits, rounded by GPTQ, and images that it was not rounded on."""
    network = digits()
    names = ["w8" if at % 2 else "w4" for at in range(len(network.layers))]
    policy = Policy(tuple(layer.name for layer in network.layers), tuple(map(Format.named, names)))
    bank = round_weights(network.model, demo.calibration()[:4], "w4,w8", rounder="gptq")
    return network, policy, bank, torch.cat([images for images, _ in demo.held_out()])


def same_outputs(wanted: nn.Module, folder: Path, images: Tensor) -> None:
    with torch.no_grad():
        own = wanted(images).double().numpy()
    got = graph_outputs(folder, images)
    assert np.abs(got - own).max() <= 64 * np.finfo(np.float32).eps * np.abs(own).max()  # sums in another order


@pytest.mark.slow
def test_onnxruntime_gives_the_held_out_outputs_of_the_simulated_bank(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("onnxruntime")
    network, policy, bank, images = half_and_half()
    export(policy, "onnxruntime", model=network.model, output=tmp_path / "made", batches=network.batches, bank=bank)
    same_outputs(apply(network.model, policy, bank=bank), tmp_path / "made", images)


@pytest.mark.slow
def test_onnxruntime_gives_the_held_out_outputs_of_a_finished_network(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("onnxruntime")
    network, policy, bank, images = half_and_half()
    done = finished(network, policy, bank, gains="blocks.1.conv2")
    export(policy, "onnxruntime", output=tmp_path / "made", batches=network.batches, finished=done)
    same_outputs(done.model, tmp_path / "made", images)
    with torch.no_grad():
        assert not torch.allclose(done.model(images), apply(network.model, policy, bank=bank)(images), atol=0.01)


@pytest.mark.parametrize("target", ["torchao", "compressed_tensors", "gguf_tensors"])
def test_biases_of_a_finished_network_are_written(target: str, tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs(target)
    network, policy = mixed(), of(fc="w4g32", fc1="w8g32")
    done = finished(network, policy, bank_of(network, policy, "gptq"), gains="fc1")
    report = export(policy, target, model=network.model, output=tmp_path / "made", finished=done)
    assert report.rounder == done.bank.rounder
    if target == "gguf_tensors":
        reader = __import__("gguf").GGUFReader(tmp_path / "made" / "model.gguf")
        state = {each.name: torch.from_numpy(each.data.copy()) for each in reader.tensors}
    else:
        (note,) = [each for each in report.notes if "fc1.bias" in each]
        assert note == (
            "the network that loads model.safetensors must have fc1.bias: build those layers with bias=True"
        )
        state = __import__("safetensors.torch").torch.load_file(tmp_path / "made" / "model.safetensors")
    for name, own in done.model.state_dict().items():
        if own.ndim == 1:
            assert torch.equal(state[name], own), name


@pytest.mark.slow
def test_hooks_that_round_inputs_are_not_traced_and_stay_with_the_finished_network(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("onnxruntime")
    network = mixed()
    policy = network.with_ranges(of(fc="w8a8", fc1="w4"))
    done = finished(network, policy, bank_of(network, policy, "gptq"))
    export(
        replace(policy, ranges=None), "onnxruntime", output=tmp_path / "made", batches=[network.inputs], finished=done
    )
    assert Policy.load(tmp_path / "made" / "policy.json").ranges == policy.ranges
    graph = __import__("onnx").load(tmp_path / "made" / "model.onnx").graph
    assert [node.op_type for node in graph.node].count("QuantizeLinear") == 1
    assert not {"Round", "Clip"} & {node.op_type for node in graph.node}
    assert len(done.model.get_submodule("fc")._forward_pre_hooks) == 1


def test_finished_networks_that_do_not_fit_are_refused(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("torchao")
    network, policy = mixed(), of(fc="w4", fc1="w8")
    bank = bank_of(network, policy, "gptq")
    done = finished(network, policy, bank)

    def refused(message: str, **arguments: Any) -> None:
        with pytest.raises(InvalidInput, match=message):
            export(**{"policy": policy, "to": "torchao", "output": tmp_path / "made", "finished": done, **arguments})
        assert list(tmp_path.iterdir()) == []

    refused("bank and finished are both given: a finished network has a bank of its own", bank=bank)
    refused("the network was finished for another policy: give its own", policy=of(fc="w8", fc1="w8"))
    refused(r"model is the file 'float.gguf', in which norms .* or give bank=finished.bank", model="float.gguf")
    changed = Done(copy.deepcopy(done.model), bank, policy)
    with torch.no_grad():
        changed.model.get_parameter("fc.weight")[0, 0] += 1
    refused("the weight of layer 'fc' of the finished network differs from its bank in 1 entries", finished=changed)


def test_biases_without_a_place_are_refused(tmp_path: Path, needs: Callable[[str], None]) -> None:
    network = llama()
    gains = "model.layers.0.mlp.down_proj"
    policy = Policy((gains,), (Format.named("w4g32"),))
    done = finished(network, policy, bank_of(network, policy, "nearest"), gains=gains)
    words = rf"finished network has {gains}.bias, which LlamaForCausalLM does not have .* with bank=finished\.bank"
    for target in ("hf", "hf_torchao", "compressed_tensors", "torchao"):
        needs(target)
        with pytest.raises(InvalidInput, match=words):
            export(policy, target, output=tmp_path / "made", finished=done)
    needs("gguf")
    with pytest.raises(InvalidInput, match=rf"{gains}.bias, which llama.cpp's architecture 'llama' need not load"):
        export(policy, Gguf("llama", tensors_only=True), output=tmp_path / "made", finished=done)
    assert list(tmp_path.iterdir()) == []
    norms = finished(network, policy, done.bank)
    assert export(policy, "hf", output=tmp_path / "made", finished=norms).notes == ()


def test_banks_that_do_not_fit_are_refused(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("torchao")
    network, policy = mixed(), of(fc="w4", fc1="w8")
    bank = bank_of(network, policy, "gptq")

    def refused(message: str, chosen: Policy = policy, model: nn.Module = network.model, **arguments: Any) -> None:
        with pytest.raises(InvalidInput, match=message):
            export(chosen, "torchao", model=model, output=tmp_path / "made", **{"bank": bank, **arguments})
        assert list(tmp_path.iterdir()) == []

    refused("the bank holds no weights in 'w3', but in w4, w8: round the network to this format", of(fc="w3"))
    other = copy.deepcopy(network.model)
    with torch.no_grad():
        other.get_parameter("fc1.weight").mul_(2)
    refused("the weight of layer 'fc1' is not the one that the bank was rounded from", model=other)
    by_nearest = replace(policy, rounder="nearest")
    refused(r"the policy is about weights rounded by nearest, but these are rounded by gptq\(", by_nearest)
    refused(r"weights rounded by gptq, but these are rounded by nearest", replace(policy, rounder="gptq"), bank=None)
    again = export(by_nearest, "torchao", model=network.model, output=tmp_path / "made", bank=bank, other_rounder=True)
    assert again.rounder == bank.rounder
    document = json.loads((tmp_path / "made" / "export.json").read_text())
    assert (document["rounder"], document["bank"]) == (bank.rounder, bank.digest)


def test_tools_that_round_by_themselves_are_named_and_refuse_no_rounder(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    predicted = replace(of(fc="w4g32", fc1="w8"), rounder="gptq(damping=0.01)")
    report = export(predicted, "json", output=tmp_path / "json")
    assert report.rounder == ""
    assert report.notes == (
        "json: the tool that reads this rounds fc, fc1 by itself; the prediction is about weights rounded by "
        "gptq(damping=0.01), and does not hold there",
    )
    assert export(replace(predicted, rounder="nearest"), "json", output=tmp_path / "nearest").notes == ()
    needs("gguf")
    model = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 256))
    bank = round_weights(model, [torch.randn(300, 256)], "w4g32", rounder="gptq")
    from mckp_quant.export.readers.from_gguf import block_format

    own = Policy(("0", "1"), (Format.named("w4g32"),) * 2, rounder=bank.rounder)
    (ours,) = export(own, "gguf_tensors", model=model, output=tmp_path / "own", bank=bank).notes
    assert ours.startswith(f"model.gguf holds the weights of {bank.rounder}; llama-quantize with tensor_types.txt")
    only_ggml = Policy(("0", "1"), (Format.named("w4g32"), block_format("IQ2_S")), rounder=bank.rounder)
    first, second = export(only_ggml, "gguf_tensors", model=model, output=tmp_path / "types").notes
    assert first == "IQ2_S can only be made by llama-quantize, in its own way: no model.gguf is written"
    assert second.startswith("gguf: the tool that reads this rounds 0, 1 by itself")


def test_codes_go_into_a_float_gguf_file_and_those_of_other_weights_do_not(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("gguf")
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    export(of(**{"0": "float"}), "gguf_tensors", model=model, output=tmp_path / "float")
    policy = of(**{"0": "w4g32", "1": "w8g32"})
    bank = round_weights(model, [torch.randn(80, 64)], "w4g32,w8g32", rounder="gptq")
    source = tmp_path / "float" / "model.gguf"
    export(policy, "gguf", model=source, output=tmp_path / "file", bank=bank)
    export(policy, "gguf_tensors", model=model, output=tmp_path / "network", bank=bank)
    assert (tmp_path / "file" / "model.gguf").read_bytes() == (tmp_path / "network" / "model.gguf").read_bytes()
    foreign = round_weights(nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)), [torch.randn(80, 64)], "w4g32,w8g32")
    with pytest.raises(InvalidInput, match="the weight of layer '0' is not the one that the bank was rounded from"):
        export(policy, "gguf", model=source, output=tmp_path / "foreign", bank=foreign)


@pytest.mark.parametrize(("target", "file"), [("gguf_tensors", "model.gguf"), ("onnxruntime", "model.onnx")])
def test_norms_and_biases_that_are_not_the_networks_are_seen(
    target: str, file: str, tmp_path: Path, needs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(target)
    without_tracing(monkeypatch)
    network, exporter = mixed(), EXPORTERS[target]
    policy = of(fc="w8g32" if target == "gguf_tensors" else "w8")
    export(policy, target, model=network.model, output=tmp_path / "made", batches=network.batches)
    assert (tmp_path / "made" / file).is_file()
    other = copy.deepcopy(network.model)
    with torch.no_grad():
        other.get_parameter("fc.bias")[0] += 1
    job = exporter.prepare(policy, other, network.batches)
    with pytest.raises(
        ExportMismatch, match=r"(gguf|onnxruntime): the tensor 'fc.bias', which is no weight of the policy's, is"
    ):
        exporter.read(tmp_path / "made", job)


def test_codes_that_differ_are_said_in_words() -> None:
    own = EncodedWeight(torch.tensor([[1, 2], [3, 4]]), torch.ones(2, 1), torch.zeros(2, 1))
    assert difference_of_codes(own, own) == ""
    words = {
        "has no zero points in the artefact": replace(own, zero_points=None),
        "has other codes in the artefact: 1 of 4 elements differ": replace(own, elements=own.elements.clone().tril()),
        "has other codes in the artefact: 2 of 2 scales differ": replace(own, scales=own.scales * 2),
        "has other codes in the artefact: 2 of 2 zero points differ": replace(own, zero_points=own.scales),
        "has scales of the shape (2, 2) in the artefact, not (2, 1)": replace(own, scales=torch.ones(2, 2)),
    }
    for message, found in words.items():
        assert difference_of_codes(own, found) == message
    assert difference_of_codes(replace(own, zero_points=None), own) == "has zero points in the artefact"
    assert difference_of_codes(OpaqueWeight(torch.ones(2, 2)), own) == ""


@pytest.mark.parametrize("name", ["w2", "w8", "w4z", "w8z", "w3g16z", "w5g32"])
def test_signed_codes_are_undone_for_every_code_of_a_format(name: str) -> None:
    entry = Format.named(name)
    layer = next(each for each in mixed().layers if each.name == "fc")
    scheme = entry.weight_scheme
    assert scheme is not None
    count = 64 // (scheme.group_size or 64)
    low, high = (-(2 ** (scheme.bits - 1)) + 1, 2 ** (scheme.bits - 1)) if scheme.symmetric else (0, 2**scheme.bits)
    dtype = torch.int8 if scheme.symmetric else torch.uint8
    elements = torch.arange(96 * 64).remainder(high - low).add(low).reshape(96, 64).to(dtype)
    scales = torch.ones(96, count, dtype=torch.float16 if scheme.scale == "float16" else torch.float32)
    zeros = None if scheme.symmetric else torch.arange(96 * count).remainder(high).reshape(96, count).to(torch.uint8)
    own = EncodedWeight(elements, scales, zeros)
    codes = codes_of(own, entry, layer)
    shifts = None if scheme.symmetric else codes.zero_points
    assert difference_of_codes(own, as_encoded(codes.integers, codes.scales, shifts, scheme.bits)) == ""


def test_weights_without_codes_and_scales_of_another_type_are_refused() -> None:
    layer = next(each for each in mixed().layers if each.name == "fc")
    with pytest.raises(InvalidInput, match="layer 'fc' has values in 'w4', and no codes that could be written"):
        codes_of(OpaqueWeight(torch.ones(96, 64)), Format.named("w4"), layer)
    wide = EncodedWeight(torch.ones(96, 64), torch.full((96, 2), 1 / 3, dtype=torch.float64))
    with pytest.raises(InvalidInput, match="the scales of layer 'fc' in 'w4g32' are no numbers of float16"):
        codes_of(wide, Format.named("w4g32"), layer)
    with pytest.raises(InvalidInput, match="layer 'fc' in format 'w1' has no integers of two to eight bits"):
        codes_of(wide, Format.named("w1"), layer)


@dataclass(frozen=True)
class Valued:
    """A rounder that gives values and no codes."""

    name: ClassVar[str] = "valued"
    reference: ClassVar[str] = "none"
    needs: ClassVar[str] = "nothing"

    def encode(
        self, weight: Tensor, layer: Layer, formats: Sequence[Format], inputs: InputStatistics | None
    ) -> list[StoredWeight]:
        return [OpaqueWeight(weight.detach().reshape(layer.known_channels, -1)) for _ in formats]


def test_rounders_without_codes_cannot_be_exported(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("torchao")
    network, policy = mixed(), of(fc="w4")
    bank = bank_of(network, policy, Valued())
    with pytest.raises(InvalidInput, match="'fc' has values in 'w4', and no codes that could be written: its rounder"):
        export(policy, "torchao", model=network.model, output=tmp_path / "made", bank=bank)
    assert list(tmp_path.iterdir()) == []


def test_export_imports_nothing_that_rounds() -> None:
    root = Path(mckp_quant.export.__file__).parent
    banned = {"weights", "arithmetic", "rounders"}
    names = {"quantize", "encode_weight", "encode", "perturbations", "Nearest", "Gptq", "round_weights"}
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and "rounding" in (node.module or "").split("."):
                taken = {each.name for each in node.names}
                parts = set((node.module or "").split("."))
                allowed = "nearest_bank" in taken and len(taken) == 1
                assert allowed or not (banned & parts or names & taken), f"{path.name}: {ast.unparse(node)}"


def test_artefacts_of_a_bank_are_audited_on_a_table_of_its_rounder_only(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("torchao")
    network, policy = mixed(), of(fc="w4", fc1="w8")
    bank = bank_of(network, policy, "gptq")
    export(policy, "torchao", model=network.model, output=tmp_path / "made", bank=bank)
    found = read_policy(tmp_path / "made")
    assert found.rounder == bank.rounder
    layers = tuple(layer for layer in network.layers if layer.name in ("fc", "fc1"))
    formats = tuple(map(Format.named, ("w4", "w8")))
    loss = np.array([[2.0, 1.0]] * 2)
    table = SensitivityTable(layers, formats, loss, np.full(loss.shape, np.nan), rounder=bank.rounder)
    assert audit(found, table).policy.predicted == 3.0
    nearest = replace(table, rounder="nearest")
    with pytest.raises(InvalidInput, match=r"the table is about weights rounded by nearest, but those of the policy"):
        audit(found, nearest)
    assert audit(found, nearest, other_rounder=True).policy.predicted == 3.0


def test_command_takes_the_codes_of_a_bank(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    needs: Callable[[str], None],
) -> None:
    needs("torchao")
    network = digits()
    policy = replace(Policy.uniform(network.layers, "w4"), rounder="nearest")
    policy.save(tmp_path / "policy.json")
    bank = round_weights(network.model, network.batches, "w4", rounder="gptq", output=tmp_path / "bank")
    arguments = ["export", str(tmp_path / "policy.json"), "--to", "torchao", "--model", "mckp_quant.demo:model"]
    arguments += ["--bank", str(tmp_path / "bank"), "-o", str(tmp_path / "made")]
    assert main(arguments) == 2
    assert "the policy is about weights rounded by nearest" in capsys.readouterr().err
    assert main([*arguments, "--other-rounder"]) == 0
    assert f"weights rounded by        {bank.rounder}, bank {bank.digest[:12]}" in capsys.readouterr().out
