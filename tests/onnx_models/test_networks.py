"""ONNX files as networks: the same outputs as the file, the weights as layers, and what is refused."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.onnx_models import OnnxNetwork, judged, load_onnx, read_inputs, without_guesses
from mckp_quant.onnx_models.lifting import graphs_in, lifted
from mckp_quant.onnx_models.weights import layer_name, orient, weights_in

pytest.importorskip("onnxruntime")
from . import graphs

if TYPE_CHECKING:
    from pathlib import Path

SHAPES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "classifier": (graphs.classifier, (3, 2, 4, 4)),
    "branches": (graphs.branches, (3, 6)),
    "recurrent": (graphs.recurrent, (5, 1, 3)),
}


def run(proto: Any, feed: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[np.ndarray[Any, Any]] = session.run(None, feed)
    return found


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", SHAPES)
def test_a_network_gives_what_its_file_gives(name: str, sign: int) -> None:
    make, shape = SHAPES[name]
    x = sign * np.abs(graphs.draw(*shape, seed=9))
    found = OnnxNetwork(make())(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), run(make(), {"x": x})[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_the_graph_with_weights_as_layers_computes_the_same(name: str) -> None:
    make, shape = SHAPES[name]
    x = graphs.draw(*shape, seed=9)
    np.testing.assert_allclose(
        run(OnnxNetwork(make()).float_graph(21), {"x": x})[0], run(make(), {"x": x})[0], rtol=1e-4, atol=1e-6
    )


def test_layers_have_the_names_and_the_rows_of_their_weights() -> None:
    network = OnnxNetwork(graphs.classifier())
    facts = [(each.layer.name, each.layer.kind, each.layer.shape, each.layer.channels) for each in network.weights]
    assert facts == [
        ("conv", "conv2d", (4, 2, 3, 3), 4),
        ("hidden", "linear", (16, 64), 16),
        ("head", "linear", (5, 16), 5),
    ]
    assert torch.equal(network.get_parameter("hidden.weight"), torch.from_numpy(graphs.draw(64, 16, seed=1).T.copy()))


def test_every_weight_counts_and_a_copy_has_its_own() -> None:
    network = OnnxNetwork(graphs.classifier())
    x = torch.from_numpy(graphs.draw(3, 2, 4, 4, seed=9))
    before = network(x)
    for name, weight in network.named_parameters():
        other = copy.deepcopy(network)
        other.get_parameter(name).mul_(0.5)
        assert not torch.equal(other(x), before), name
        assert torch.equal(network(x), before), name
        with torch.no_grad():
            other.get_parameter(name).copy_(weight)
        assert torch.equal(other(x), before), name
    replaced = copy.deepcopy(network)
    zeros = torch.zeros_like(replaced.get_parameter("conv.weight"))
    replaced.get_submodule("conv").weight = torch.nn.Parameter(zeros, requires_grad=False)
    assert not torch.equal(replaced(x), before)


def test_constants_of_branches_are_apart_though_they_have_one_name() -> None:
    network = OnnxNetwork(graphs.branches())
    assert {each.layer.name for each in network.weights} == {"w_2", "w_3"}
    assert all(each.inside for each in network.weights)
    assert not any(each.initializer for each in list(graphs_in(network.proto.graph))[1:])
    found = {tuple(each.flatten().tolist()) for each in network.parameters()}
    assert found == {tuple(graphs.draw(6, 3, seed=seed).T.flatten().tolist()) for seed in (1, 2)}


def test_rows_of_a_recurrent_layer_are_found_behind_what_sorts_them() -> None:
    network = OnnxNetwork(graphs.recurrent())
    assert [(each.layer.name, each.layer.shape, each.gates) for each in network.weights] == [
        ("w_ih", (16, 3), 4),
        ("w_hh", (16, 4), 4),
    ]


def test_lifting_twice_changes_nothing() -> None:
    once = lifted(graphs.branches())
    assert lifted(once).SerializeToString() == once.SerializeToString()


def test_orienting_is_undone_by_the_nodes_it_adds() -> None:
    proto = lifted(graphs.classifier())
    weights = weights_in(proto)
    arrays = {each.name: graphs.numpy_helper.to_array(each) for each in proto.graph.initializer}
    for each in weights:
        np.testing.assert_array_equal(each.as_stored(each.as_layer(arrays[each.place])), arrays[each.place])
    orient(proto, weights, {each.place: each.as_layer(arrays[each.place]) for each in weights})
    again = {each.layer.name: each.layer for each in weights_in(proto)}
    assert again == {each.layer.name: each.layer for each in weights}


@pytest.mark.parametrize(
    ("place", "name"), [("a.weight", "a"), ("a.weight_quantized", "a"), ("b_Q4G32", "b"), ("b_DQ_Q4", "b"), ("w", "w")]
)
def test_names_of_layers_lack_what_quantisers_append(place: str, name: str) -> None:
    assert layer_name(place) == name


def test_measuring_is_the_divergence_of_the_probabilities() -> None:
    network = OnnxNetwork(graphs.classifier())
    x = torch.from_numpy(graphs.draw(6, 2, 4, 4, seed=9))
    outputs = judged(network, mq.Outputs())
    table = without_guesses(
        mq.measure(network, [x], formats="w2,w4,w8", method="measured_kl", outputs=outputs), network
    )
    assert table.layers[0].macs == 6 * 0 + 4 * 16 * 18
    assert table.layers[1].macs == 64 * 16
    assert table.activations == ()
    p = network(x).double()
    for row, layer in enumerate(table.layers):
        policy = mq.Policy((layer.name,), (mq.Format.named("w2"),))
        q = mq.apply(network, policy)(x).double()
        assert table.loss[row, 0] == pytest.approx(float((p * (p / q).log()).sum(dim=1).mean()), rel=1e-3)
    assert (table.loss[:, 0] > table.loss[:, 2]).all()
    chosen = mq.allocate(table, {"bits_per_weight": 7}).policy
    assert mq.evaluate(mq.apply(network, chosen), network, [x], outputs=outputs).kl > 0


def test_sigmoids_are_taken_for_their_logits() -> None:
    network = OnnxNetwork(graphs.classifier("Sigmoid"))
    x = torch.from_numpy(graphs.draw(2, 2, 4, 4, seed=9))
    take = judged(network, mq.Outputs(likelihood="bernoulli")).take
    assert take is not None
    torch.testing.assert_close(torch.as_tensor(take(network(x))).sigmoid(), network(x))
    with pytest.raises(mq.InvalidInput, match="the output 'y' ends in a sigmoid, whose numbers are no classes"):
        judged(network, mq.Outputs())


def test_operations_inside_bodies_are_not_known() -> None:
    network = OnnxNetwork(graphs.branches())
    x = torch.from_numpy(np.abs(graphs.draw(2, 6)))
    table = mq.measure(network, [x], formats="w4", method="sqnr", outputs=mq.Outputs(likelihood="gaussian"))
    assert [each.macs for each in without_guesses(table, network).layers] == [None, None]


def test_what_cannot_be_done_is_refused_in_words(tmp_path: Path) -> None:
    network = OnnxNetwork(graphs.classifier())
    x = torch.from_numpy(graphs.draw(2, 2, 4, 4))
    outputs = judged(network, mq.Outputs())
    with pytest.raises(mq.InvalidInput, match="cannot be differentiated: use a method that runs the network"):
        mq.measure(network, [x], formats="w4", outputs=outputs)
    with pytest.raises(mq.InvalidInput, match="the input of layer 'conv' cannot be rounded"):
        mq.measure(network, [x], formats="w4a8", method="measured_kl", outputs=outputs)
    with pytest.raises(mq.InvalidInput, match="takes the inputs x, and was given z"):
        network(z=x)
    with pytest.raises(mq.InvalidInput, match="ONNX Runtime fails on the ONNX graph"):
        network(x[:, :1])
    with pytest.raises(mq.InvalidInput, match="holds no float weight that a layer multiplies with"):
        OnnxNetwork(graphs.dynamic())
    with pytest.raises(mq.InvalidInput, match="unknown output of the graph 'z'"):
        judged(network, mq.Outputs(heads=(mq.Outputs(name="z"),)))
    broken = graphs.classifier()
    broken.graph.node[0].op_type = "Convolve"
    broken.graph.node[4].op_type = "MatMul"
    with pytest.raises(mq.InvalidInput, match="ONNX Runtime refuses the ONNX graph"):
        OnnxNetwork(broken)
    (tmp_path / "odd.onnx").write_bytes(b"no graph")
    with pytest.raises(mq.InvalidInput, match=r"odd\.onnx"):
        load_onnx(tmp_path / "odd.onnx")
    made = OnnxNetwork(graphs.classifier())
    made.proto.opset_import[0].version = 99
    assert made.float_graph(21).opset_import[0].version == 99


def test_inputs_come_from_files_by_their_names(tmp_path: Path) -> None:
    network = OnnxNetwork(graphs.classifier())
    x = graphs.draw(5, 2, 4, 4)
    np.savez(tmp_path / "x.npz", inputs=x, targets=np.arange(5))
    batches = read_inputs(tmp_path / "x.npz", network, 2)
    assert [len(each[1]) for each in batches if isinstance(each, tuple)] == [2, 2, 1]
    np.savez(tmp_path / "x.npz", x=x[:, None].astype(np.float64))  # a run in each entry
    (alone,) = read_inputs(tmp_path / "x.npz", network, 8)
    assert isinstance(alone, dict)
    torch.testing.assert_close(network(**alone)[:, 0], network(torch.from_numpy(x)))
    for arrays, match in (
        ({"z": x}, r"lacks the array 'inputs': it has 'z', and the graph takes x"),
        ({"x": x[0]}, r"has x \(2, 4, 4\), and the graph takes"),
        ({"x": x, "targets": np.arange(4)}, r"has arrays of \[4, 5\] samples"),
    ):
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(mq.InvalidInput, match=match):
            read_inputs(tmp_path / "x.npz", network)
