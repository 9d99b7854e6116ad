"""Artefacts loaded by the runtimes' own documented calls, and run on an input."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

PARSED = "parsed"


def _logits(model: nn.Module, batch: dict[str, Tensor]) -> NDArray[Any]:
    with torch.no_grad():
        made: NDArray[Any] = model(**batch).logits.double().numpy()
    return made


def with_torchao(folder: Path, model: nn.Module, batch: dict[str, Tensor]) -> NDArray[Any]:
    """As torchao's documentation of its safetensors support has it; experts one by one, as the export's note says."""
    from safetensors import safe_open
    from torchao.prototype.safetensors.safetensors_support import unflatten_tensor_state_dict

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        state, others = unflatten_tensor_state_dict(tensors, file.metadata())
    made: Any = copy.deepcopy(model)
    made.load_state_dict({**state, **others}, strict=False, assign=True)
    if hasattr(made, "set_experts_implementation") and "experts" in str(state.keys()):
        made.set_experts_implementation("eager")
    return _logits(made, batch)


def with_transformers(folder: Path, model: nn.Module, batch: dict[str, Tensor]) -> NDArray[Any]:
    """``from_pretrained``."""
    kind: Any = type(model)
    return _logits(kind.from_pretrained(folder, local_files_only=True).eval(), batch)


def with_compressed_tensors(folder: Path, model: nn.Module, batch: dict[str, Tensor]) -> NDArray[Any] | None:
    """A checkpoint for vLLM: its configuration by the classes that vLLM reads it with, then ``from_pretrained``.

    None for networks that read the weight of a layer, which transformers runs unpacked only, and for those whose layers
    transformers calls otherwise than the checkpoints that vLLM knows.
    """
    from compressed_tensors.quantization import QuantizationConfig

    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    QuantizationConfig.model_validate(described["quantization_config"])
    kind: Any = type(model)
    try:
        made, report = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        return None if report["missing_keys"] else _logits(made.eval(), batch)
    except AttributeError as error:
        if "has no attribute 'weight'" not in str(error):
            raise
        return None


def with_onnxruntime(folder: Path, model: nn.Module, batch: dict[str, Tensor]) -> NDArray[Any]:
    """An inference session, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    inputs = zip(session.get_inputs(), batch.values(), strict=True)
    found: NDArray[Any] = session.run(None, {each.name: tensor.numpy() for each, tensor in inputs})[0]
    return found.astype(float)


def with_gguf(folder: Path, model: nn.Module, batch: dict[str, Tensor]) -> NDArray[Any]:
    """The Python package of GGUF, which dequantises tensors; they are loaded into the network."""
    import gguf

    state = {}
    for tensor in gguf.GGUFReader(folder / "model.gguf").tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        state[tensor.name] = torch.from_numpy(values.reshape(tensor.shape[::-1]).copy())
    made = copy.deepcopy(model)
    made.load_state_dict(state, strict=False)
    return _logits(made, batch)


LOADERS: dict[str, Callable[[Path, nn.Module, dict[str, Tensor]], NDArray[Any] | None]] = {
    "torchao": with_torchao,
    "hf": with_transformers,
    "hf_torchao": with_transformers,
    "vllm": with_compressed_tensors,
    "onnxruntime": with_onnxruntime,
    "gguf_tensors": with_gguf,
}
