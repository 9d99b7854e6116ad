from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.torch import load_file

from mckp_quant import Format, Policy, SensitivityTable, allocate
from mckp_quant.export import Gguf, export, read_policy
from mckp_quant.export.exporting import EXPORTERS

from .conformance import check_artefact, check_outputs, check_refusals
from .networks import NAMES, NETWORKS, Network, bank_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from mckp_quant.export import Exporter, ExportReport

# For each target the networks that are exported to it, and the seeds of their policies.
CASES: list[tuple[str, str, int]] = [
    ("torchao", "mixed", 0),
    ("torchao", "digits", 1),
    ("hf_torchao", "llama", 2),
    ("compressed_tensors", "mixed", 3),
    ("hf", "llama", 4),
    ("onnxruntime", "digits", 5),
    ("onnxruntime", "mixed", 6),
    ("onnxruntime_nbits", "llama", 7),
    ("gguf_tensors", "mixed", 8),
    ("gguf_tensors", "llama", 9),
]


def run(target: str, network: Network, folder: Path) -> np.ndarray[Any, Any]:
    """What the target's own runtime makes of the artefact, as it comes."""
    if target == "torchao":
        from mckp_quant.export.readers.from_torchao import read_state

        model = type(network.model)().eval()
        model.load_state_dict(read_state(folder / "model.safetensors"), assign=True)
        return network.run(model)
    if target in ("hf", "hf_torchao"):
        kind: Any = type(network.model)
        return network.run(kind.from_pretrained(folder))
    if target == "compressed_tensors":
        return network.run(_decompressed(network, folder))
    if target == "gguf_tensors":
        from mckp_quant.export.readers.from_gguf import open_file, weight_of

        tensors = {each.name: weight_of(each) for each in open_file(folder / "model.gguf").tensors}
        model = _copy(network)
        model.load_state_dict(tensors, strict=False)
        return network.run(model)
    runtime = __import__("onnxruntime")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    output: np.ndarray[Any, Any] = session.run(None, {session.get_inputs()[0].name: network.inputs.numpy()})[0]
    return output.astype(np.float64)


def _copy(network: Network) -> torch.nn.Module:
    import copy

    return copy.deepcopy(network.model)


def _decompressed(network: Network, folder: Path) -> torch.nn.Module:
    """The network as compressed-tensors itself builds it from the checkpoint."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    said = json.loads((folder / "config.json").read_text())["quantization_config"]
    model = _copy(network)
    config = QuantizationConfig(**said)
    apply_quantization_config(model, config, run_compressed=False)
    compressor = ModelCompressor(quantization_config=config)
    compressor.compress_model(model)
    left = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not left.unexpected_keys
    assert not left.missing_keys
    return model


def _exporter(target: str) -> str | Exporter:
    return Gguf(tensors_only=True) if target == "gguf_tensors" else target


# Codes of another rounder go the same way: one network of every target with them is enough.
ROUNDED = [
    *((*case, "nearest") for case in CASES),
    *((*case, "gptq") for case in {target: (target, name, seed) for target, name, seed in CASES}.values()),
]


# It takes as long as many others together, and with the codes of `gptq` its way is tested too.
LONG = {("onnxruntime_nbits", "llama", "nearest")}


@pytest.mark.parametrize(
    ("target", "name", "seed", "rounder"),
    [
        pytest.param(
            *each,
            id=f"{each[3]}-{each[0]}-{each[1]}",
            marks=[pytest.mark.slow] if (each[0], each[1], each[3]) in LONG else [],
        )
        for each in ROUNDED
    ],
)
def test_runtime_computes_what_the_simulation_computes_from_the_bytes_that_were_promised(
    target: str, name: str, seed: int, rounder: str, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    network = NETWORKS[name]()
    policy = network.policy(EXPORTERS[target].capability, seed)
    bank = None if rounder == "nearest" else bank_of(network, policy, rounder)
    report = check_artefact(_exporter(target), network, policy, tmp_path / "made", bank)
    check_outputs(network, policy, run(target, network, tmp_path / "made"), bank)
    assert read_policy(tmp_path / "made") == _as_stored(policy, report)


@pytest.mark.parametrize("target", [target for target, name, _ in CASES if name == "mixed"])
def test_targets_refuse_what_their_row_of_capabilities_does_not_take(
    target: str, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    check_refusals(EXPORTERS[target], NETWORKS["mixed"](), tmp_path)


@pytest.mark.parametrize("target", ["torchao", "compressed_tensors", "vllm", "sglang", "gguf_tensors"])
def test_policies_that_were_solved_for_a_target_export_to_it_with_the_bytes_that_were_budgeted(
    target: str, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    network = NETWORKS["llama"]()
    formats = tuple(map(Format.named, NAMES))
    rng = np.random.default_rng(0)
    bits = np.array([entry.weight_bits for entry in formats])
    loss = rng.random((len(network.layers), 1)) * 4.0**-bits * rng.uniform(0.5, 1, (len(network.layers), len(formats)))
    table = SensitivityTable(network.layers, formats, loss, np.full(loss.shape, np.nan))
    policy = allocate(table, {"weight_bytes": "40%"}, target=EXPORTERS[target].capability).policy
    assert len({entry.name for entry in policy.formats}) > 1
    if target in ("vllm", "sglang"):
        assert any("q_proj" in name for names in policy.ties for name in names)
    policy = network.with_ranges(policy)
    to, folder = _exporter(target), tmp_path / "made"
    report = export(policy, to, model=network.model, output=folder, batches=network.batches)
    assert report.stored_bytes == policy.costs["weight_bytes"] <= policy.budgets[0].limit


def _as_stored(policy: Policy, report: ExportReport) -> Policy:
    """The policy with the names that layers have in the artefact."""
    places = {each.layer: each.place for each in report.layers}
    if report.target == "gguf":
        return Policy(tuple(places[layer].removesuffix(".weight") for layer in policy.layer_names), policy.formats)
    return policy
