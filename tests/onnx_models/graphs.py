"""Small ONNX graphs, one for each way in which exporters keep weights."""

from __future__ import annotations

from typing import Any

import numpy as np

onnx = __import__("pytest").importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
FLOAT = onnx.TensorProto.FLOAT


def draw(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def held(name: str, array: np.ndarray[Any, Any]) -> Any:
    return numpy_helper.from_array(array, name)


def constant(name: str, array: np.ndarray[Any, Any]) -> Any:
    return helper.make_node("Constant", [], [name], value=held("", array))


def model(
    nodes: list[Any], inputs: dict[str, list[Any]], outputs: dict[str, list[Any]], held_: list[Any], opset: int = 13
) -> Any:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [info(name, FLOAT, shape) for name, shape in inputs.items()],
        [info(name, FLOAT, shape) for name, shape in outputs.items()],
        held_,
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    )
    made.ir_version = 8
    return made


def classifier(ending: str = "Softmax") -> Any:
    """A convolution, a matrix product from a Constant node, and a Gemm with its rows first; probabilities come out."""
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        constant("hidden", draw(64, 16, seed=1)),
        helper.make_node("MatMul", ["f", "hidden"], ["m"]),
        helper.make_node("Tanh", ["m"], ["t"]),
        helper.make_node("Gemm", ["t", "head.weight", "head.bias"], ["logits"], transB=1),
        helper.make_node(ending, ["logits"], ["y"]),
    ]
    weights = [held("conv.weight", draw(4, 2, 3, 3)), held("head.weight", draw(5, 16, seed=2) / 4)]
    return model(nodes, {"x": ["n", 2, 4, 4]}, {"y": ["n", 5]}, [*weights, held("head.bias", draw(5, seed=3))])


def branches() -> Any:
    """Two branches whose weights have one name, as initializer of the one and as Constant of the other."""

    def body(seed: int, as_node: bool) -> Any:
        array = draw(6, 3, seed=seed)
        nodes = [helper.make_node("MatMul", ["x", "w"], [f"out{seed}"])]
        return helper.make_graph(
            [constant("w", array), *nodes] if as_node else nodes,
            f"body{seed}",
            [],
            [helper.make_tensor_value_info(f"out{seed}", FLOAT, ["n", 3])],
            [] if as_node else [held("w", array)],
        )

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=body(1, True), else_branch=body(2, False)),
    ]
    return model(nodes, {"x": ["n", 6]}, {"y": ["n", 3]}, [held("zero", np.zeros((), np.float32))])


def recurrent() -> Any:
    """An LSTM whose rows are sorted anew in the graph, as PyTorch's exporter leaves them."""

    def gates(name: str, array: np.ndarray[Any, Any]) -> tuple[list[Any], list[Any], str]:
        ends = [held(f"{name}_{at}", np.array([at], dtype=np.int64)) for at in (0, 4, 8, 16)]
        order = [(0, 4), (8, 16), (4, 8)]
        nodes = [
            helper.make_node("Slice", [name, f"{name}_{low}", f"{name}_{high}", f"{name}_0"], [f"{name}_{low}_{high}"])
            for low, high in order
        ]
        nodes.append(helper.make_node("Concat", [f"{name}_{low}_{high}" for low, high in order], [f"{name}_c"], axis=0))
        nodes.append(helper.make_node("Unsqueeze", [f"{name}_c", f"{name}_0"], [f"{name}_u"]))
        return nodes, [held(name, array), *ends], f"{name}_u"

    first, one, w = gates("w_ih", draw(16, 3) / 2)
    second, two, r = gates("w_hh", draw(16, 4, seed=1) / 2)
    nodes = [
        *first,
        *second,
        helper.make_node("LSTM", ["x", w, r], ["y", "h", "c"], hidden_size=4),
    ]
    return model(nodes, {"x": ["t", 1, 3]}, {"y": ["t", 1, 1, 4]}, [*one, *two])


def dynamic() -> Any:
    """A matrix product and a convolution on integers, quantised while the graph runs."""
    whole = np.array([[3, -2], [100, 7], [-128, 127]], dtype=np.int8)
    kernel = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2) * 30
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w_quantized", "z", "w_zero"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["s", "w_scale"], ["scales"]),
        helper.make_node("Mul", ["f", "scales"], ["y"]),
        helper.make_node("DynamicQuantizeLinear", ["p"], ["pq", "ps", "pz"]),
        helper.make_node("ConvInteger", ["pq", "k_quantized", "pz", "k_zero"], ["ki"]),
        helper.make_node("Cast", ["ki"], ["kf"], to=FLOAT),
        helper.make_node("Mul", ["ps", "k_scale"], ["kscales"]),
        helper.make_node("Mul", ["kf", "kscales"], ["k"]),
    ]
    arrays = [
        held("w_quantized", whole),
        held("w_zero", np.zeros((), np.int8)),
        held("w_scale", np.array([0.5, 0.25], np.float32)),
        held("k_quantized", kernel),
        held("k_zero", np.array(100, np.uint8)),
        held("k_scale", np.array(0.1, np.float32)),
    ]
    return model(nodes, {"x": ["n", 3], "p": [1, 1, 4, 4]}, {"y": ["n", 2], "k": [1, 2, 3, 3]}, arrays)
