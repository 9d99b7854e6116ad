"""Artefacts that the toolchains themselves made."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from mckp_quant import Format, InvalidInput, Layer
from mckp_quant.export import read_policy
from mckp_quant.export.codes import codes_of
from mckp_quant.export.readers.from_compressed_tensors import format_of, group_of
from mckp_quant.export.readers.from_compressed_tensors import read_config as read_compressed
from mckp_quant.export.readers.from_torchao import formats_of, read_config, read_state
from mckp_quant.rounding import EncodedWeight

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def names(path: Path) -> dict[str, str]:
    policy = read_policy(path)
    return {layer: policy[layer].name for layer in policy.layer_names}


def float_graph(path: Path) -> None:
    """A convolution, a Gemm and a MatMul, as exporters of other frameworks write them."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    shapes = {"conv.weight": (4, 1, 3, 3), "fc.weight": (64, 64), "up.weight": (64, 32)}
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in shapes.items()]
    mean = numpy_helper.from_array(np.array([1, 4], dtype=np.int64), "axes")
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["c"], ["m"], axes=[1], keepdims=0),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "fc.weight"], ["g"], transB=1),
        helper.make_node("MatMul", ["g", "up.weight"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [*weights, mean][:3])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_graphs_of_onnxruntimes_own_quantiser_are_read(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("onnxruntime")
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [{"x": np.random.default_rng(1).normal(size=(4, 1, 8, 8)).astype(np.float32)}]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    float_graph(tmp_path / "float.onnx")
    assert names(tmp_path / "float.onnx") == {"conv": "float", "fc": "float", "up": "float"}
    extra = {"TensorQuantOverrides": {"fc.weight": [{"quant_type": QuantType.QInt4, "axis": 0, "symmetric": True}]}}
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "made.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options=extra,
    )
    assert names(tmp_path / "made.onnx") == {"conv": "w8a8", "fc": "w4a8", "up": "w8a8"}


def test_graphs_of_the_nbits_quantiser_are_read(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("onnxruntime_nbits")
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    float_graph(tmp_path / "float.onnx")
    for symmetric, name in ((True, "w4g32"), (False, "w4g32z")):
        quantizer = MatMulNBitsQuantizer(onnx.load(tmp_path / "float.onnx"), block_size=32, is_symmetric=symmetric)
        quantizer.process()
        quantizer.model.save_model_to_file(str(tmp_path / "made.onnx"))
        assert names(tmp_path / "made.onnx") == {"conv": "float", "fc": "float", "up": name}


def test_states_and_configurations_of_torchao_itself_are_read(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("torchao")
    from safetensors.torch import save_file
    from torchao.core.config import config_to_dict
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import (
        FqnToConfig,
        Int8DynamicActivationInt8WeightConfig,
        IntxWeightOnlyConfig,
        MappingType,
        PerAxis,
        PerGroup,
        quantize_,
    )

    torch.manual_seed(0)
    int3, int4 = (getattr(torch, name) for name in ("int3", "int4"))
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(5)))
    asymmetric = MappingType.ASYMMETRIC
    config = FqnToConfig(
        {
            "0": IntxWeightOnlyConfig(weight_dtype=int4, granularity=PerGroup(32)),
            "1": IntxWeightOnlyConfig(weight_dtype=int3, granularity=PerAxis(0), mapping_type=asymmetric),
            "re:[23]": Int8DynamicActivationInt8WeightConfig(),
        }
    )
    quantize_(model, config, filter_fn=None)
    tensors, metadata = flatten_tensor_state_dict(model.state_dict())
    save_file(tensors, tmp_path / "model.safetensors", metadata=metadata)
    (tmp_path / "torchao_config.json").write_text(json.dumps(config_to_dict(config)))
    wanted = {"0": "w4g32", "1": "w3z", "2": "w8a8sd", "3": "w8a8sd", "4": "float"}
    assert names(tmp_path) == wanted
    found = formats_of(config_to_dict(config), wanted)
    assert {layer: entry.name for layer, entry in found.items()} == wanted
    document = {"quantization_config": {"quant_method": "torchao", "quant_type": {"default": config_to_dict(config)}}}
    (tmp_path / "torchao_config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(document))
    assert names(tmp_path) == wanted


def test_rules_of_torchao_count_in_its_order() -> None:
    def rule(bits: int) -> dict[str, Any]:
        data = {"weight_dtype": {"_data": f"int{bits}"}, "granularity": {"_data": {"axis": 0}}}
        return {"_type": "IntxWeightOnlyConfig", "_data": {**data, "mapping_type": {"_data": "SYMMETRIC"}}}

    rules = {"re:a.*": rule(2), "a": rule(3), "b.weight": rule(4), "b": rule(5), "_default": rule(6), "re:c": None}
    config = {"_type": "FqnToConfig", "_data": {"fqn_to_config": rules}}
    found = formats_of(config, ["a", "ab", "b", "c", "d"])
    assert [entry.name for entry in found.values()] == ["w3", "w2", "w4", "float", "w6"]
    plain = {"_type": "FqnToConfig", "_data": {"fqn_to_config": {"a": {"_type": "Int8WeightOnlyConfig", "_data": {}}}}}
    assert formats_of(plain, ["a"])["a"].name == "w8"


def test_configurations_of_torchao_that_say_something_else_are_refused(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    with pytest.raises(InvalidInput, match="the torchao configuration is a 'AWQConfig': expected a FqnToConfig"):
        formats_of({"_type": "AWQConfig"}, ["a"])
    odd = {"_type": "FqnToConfig", "_data": {"fqn_to_config": {"a": {"_type": "Float8Config", "_data": {}}}}}
    with pytest.raises(InvalidInput, match="layer 'a' has the torchao configuration 'Float8Config', which stands for"):
        formats_of(odd, ["a"])
    with pytest.raises(InvalidInput, match="cannot read the torchao configuration"):
        read_config(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InvalidInput, match="is no torchao configuration: expected a JSON object"):
        read_config(tmp_path / "list.json")
    needs("torchao")
    from safetensors.torch import save_file

    with pytest.raises(InvalidInput, match=r"the torchao state '.*list.json' cannot be read \(SafetensorError"):
        read_state(tmp_path / "list.json")
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(InvalidInput, match="holds no torchao tensors: its metadata lack 'tensor_names'"):
        read_state(tmp_path / "plain.safetensors")


def test_groups_of_compressed_tensors_are_found_by_name_then_pattern_then_class() -> None:
    def group(bits: int, *targets: str, **more: Any) -> dict[str, Any]:
        return {"targets": targets, "weights": {"num_bits": bits, "symmetric": True, "strategy": "channel", **more}}

    config = {
        "ignore": ["head", "re:.*gate$"],
        "config_groups": {
            "all": group(8, "Linear"),
            "pattern": group(4, "re:.*up$", strategy="group", group_size=64),
            "name": group(3, "a.up", symmetric=False),
        },
    }
    found = {name: format_of(group_of(config, name)).name for name in ("a.up", "b.up", "a.down", "head", "a.gate")}
    assert found == {"a.up": "w3z", "b.up": "w4g64", "a.down": "w8", "head": "float", "a.gate": "float"}
    static = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "tensor", "dynamic": False}
    assert format_of({**group(8), "input_activations": static}).name == "w8a8s"
    fp8 = group(8, type="float", strategy="tensor")
    assert format_of(fp8).name == "fp8_e4m3t"
    assert format_of({**fp8, "input_activations": {"dynamic": True}}).name == "fp8_e4m3ta8d"
    with pytest.raises(InvalidInput, match=r"the compressed-tensors weights .* stand for no built-in format"):
        format_of(group(4, type="float"))
    with pytest.raises(InvalidInput, match=r"the compressed-tensors activations .* stand for no built-in format"):
        format_of({**group(8), "input_activations": {**static, "strategy": "group"}})


def test_checkpoints_that_are_no_compressed_tensors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}')
    with pytest.raises(InvalidInput, match="has no quantization_config of the method 'compressed-tensors'"):
        read_compressed(tmp_path / "config.json")
    with pytest.raises(InvalidInput, match="cannot read the configuration"):
        read_compressed(tmp_path / "none.json")


def test_formats_without_integers_have_no_codes() -> None:
    layer = Layer("a", "linear", (4, 4), 4, 0)
    for name in ("fp8_e4m3", "w1", "float"):
        with pytest.raises(InvalidInput, match=f"layer 'a' in format '{name}' has no integers of two to eight bits"):
            codes_of(EncodedWeight(torch.zeros(4, 4), torch.ones(4, 1)), Format.named(name), layer)


def test_reading_onnx_needs_no_onnxruntime(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("onnxruntime")
    float_graph(tmp_path / "float.onnx")
    before = sys.modules.get("onnxruntime")
    sys.modules["onnxruntime"] = None  # type: ignore[assignment]
    try:
        assert names(tmp_path / "float.onnx")["fc"] == "float"
    finally:
        if before is None:
            del sys.modules["onnxruntime"]
        else:
            sys.modules["onnxruntime"] = before
