"""One valid artefact of each toolchain whose package is installed, and what each reader takes of it."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mckp_quant.export import read_policy

from .kind import Kind, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPRESSED = {
    "quant_method": "compressed-tensors",
    "config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "symmetric": True}}},
    "ignore": ["b"],
}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": False}
PACKAGES = ("onnx", "gguf", "safetensors")


def missing() -> list[str]:
    """The packages that are needed and not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def artefacts(folder: Path) -> list[Kind]:
    """Write one file of each kind into a folder.

    Parameters
    ----------
    folder
        An empty folder.

    Returns
    -------
    kinds
        The files with their readers.
    """
    import safetensors.numpy

    weight = np.ones((32, 32), np.float32)
    _onnx(folder / "model.onnx", weight)
    _gguf(folder / "model.gguf", weight)
    readers: dict[str, Callable[[Path], object]] = {"model.onnx": read_policy, "model.gguf": read_policy}
    for place, said in (("compressed", COMPRESSED), ("gptq", GPTQ)):
        (folder / place).mkdir()
        (folder / place / "config.json").write_text(json.dumps({"quantization_config": said}), encoding="utf-8")
        held = {"a.weight": weight, "b.weight": weight} if said is COMPRESSED else {"a.qweight": weight[:4]}
        safetensors.numpy.save_file(held, folder / place / "model.safetensors")
        readers |= {f"{place}/{name}": _read_folder for name in ("config.json", "model.safetensors")}
    return written(folder, readers)


def _onnx(path: Path, weight: Any) -> None:
    import onnx

    helper = onnx.helper
    whole = np.ones((32, 32), np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["b.weight"], axis=1),
        helper.make_node("MatMul", ["x", "a.weight"], ["h"]),
        helper.make_node("MatMul", ["h", "b.weight"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 32]) for name in "xy"]
    held = {"a.weight": weight, "q": whole, "scale": np.ones(32, np.float32), "zero": np.zeros(32, np.int8)}
    initial = [onnx.numpy_helper.from_array(each, name) for name, each in held.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], initial)), path)


def _gguf(path: Path, weight: Any) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("a.weight", weight)
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((32, 34), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read_folder(path: Path) -> object:
    return read_policy(path.parent)
