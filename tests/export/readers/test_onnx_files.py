"""ONNX files of others: operators on integers, weights in nodes and bodies, and what their contents are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.export import contents, export, read_policy
from mckp_quant.export.readers.from_onnx import load, stored_layers
from mckp_quant.onnx_models import OnnxNetwork

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from ...onnx_models import graphs  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


def saved(proto: Any, path: Path) -> Path:
    onnx.save(proto, path)
    return path


def test_weights_quantised_while_the_graph_runs_are_read_with_their_scales(tmp_path: Path) -> None:
    found = stored_layers(load(saved(graphs.dynamic(), tmp_path / "d.onnx")))
    assert {name: each.format.name for name, each in found.items()} == {"w": "w8a8d", "k": "w8tza8d"}
    product, kernel = found["w"].weight, found["k"].weight
    assert product is not None
    assert kernel is not None
    assert product.tolist() == [[1.5, -0.5], [50, 1.75], [-64, 31.75]]
    np.testing.assert_allclose(kernel.flatten(), (np.arange(8) * 30 - 100) * np.float32(0.1), rtol=1e-6)
    assert [found["w"].nbytes, found["k"].nbytes] == [6 + 8, 8 + 4 + 1]


@pytest.mark.parametrize("make", [graphs.classifier, graphs.branches, graphs.recurrent])
def test_the_file_has_the_layers_that_its_network_has(make: Any, tmp_path: Path) -> None:
    names = [each.layer.name for each in OnnxNetwork(make()).weights]
    policy = read_policy(saved(make(), tmp_path / "f.onnx"))
    assert list(policy.layer_names) == names
    assert {each.name for each in policy.formats} == {"float"}


@pytest.mark.parametrize("make", [graphs.classifier, graphs.branches, graphs.recurrent])
def test_codes_are_written_into_the_files_own_graph(make: Any, tmp_path: Path) -> None:
    network = OnnxNetwork(make())
    shape = [3 if isinstance(each, str) else each for each in network._session.get_inputs()[0].shape]
    x = torch.from_numpy(graphs.draw(*shape, seed=9))
    layers = [each.layer.name for each in network.weights]
    policy = mq.Policy(tuple(layers), tuple(mq.Format.named(f"w{4 + 4 * (at % 2)}") for at in range(len(layers))))
    report = export(policy, "onnxruntime", model=network, output=tmp_path / "out", batches=[x])
    assert read_policy(tmp_path / "out") == policy
    assert "dB above their difference from those of the float file" in report.notes[-1]
    applied = mq.apply(network, policy)
    assert isinstance(applied, OnnxNetwork)
    written = onnx.load(tmp_path / "out" / "model.onnx")
    assert applied.decibels(written, [mq.network.Batch(x, None, len(x))]) > 30 > 0 * report.stored_bytes
    found = contents(tmp_path / "out", saved(make(), tmp_path / "float.onnx"))
    assert found.unmatched == ()
    assert all(each.relative_error and each.relative_error < 0.1 for each in found.layers)
    for each, entry in zip(found.layers, policy.formats, strict=True):
        own = network.get_parameter(f"{each.layer}.weight").double()
        rounded = applied.get_parameter(f"{each.layer}.weight").double()
        assert (each.format, each.weights) == (entry.name, own.numel())
        assert each.squared_error == pytest.approx(float(((own - rounded) ** 2).sum()), rel=1e-4)


def test_contents_say_bytes_and_formats_without_a_float_file(tmp_path: Path) -> None:
    found = contents(saved(graphs.dynamic(), tmp_path / "d.onnx"))
    assert str(found).startswith("2 layers, 2 of them quantised: 14 weights in 27 bytes, 15.429 bits per weight")
    assert [each.squared_error for each in found.layers] == [None, None]
    assert found.document()["layers"][0]["layer"] == "w"


def test_what_cannot_be_audited_or_written_is_refused(tmp_path: Path) -> None:
    network, x = OnnxNetwork(graphs.classifier()), torch.from_numpy(graphs.draw(2, 2, 4, 4))

    def policy(layer: str, entry: str) -> mq.Policy:
        return mq.Policy((layer,), (mq.Format.named(entry),))

    with pytest.raises(mq.InvalidInput, match="has the format 'w8a8', which rounds its input"):
        export(policy("conv", "w8a8"), "onnxruntime", model=network, output=tmp_path / "o", batches=[x])
    with pytest.raises(mq.InvalidInput, match="model is an ONNX file, which PyTorch does not compute"):
        export(policy("head", "w8"), "torchao", model=network, output=tmp_path / "o")
    recurrent = OnnxNetwork(graphs.recurrent())
    with pytest.raises(mq.InvalidInput, match="which no MatMulNBits can stand for"):
        export(policy("w_ih", "w4g32"), "onnxruntime_nbits", model=recurrent, output=tmp_path / "o")
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(mq.InvalidInput, match="is no ONNX file: without a table"):
        contents(tmp_path / "t.json")
    empty = graphs.model([graphs.helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, [])
    with pytest.raises(mq.InvalidInput, match="holds no weight of two or more dimensions"):
        contents(saved(empty, tmp_path / "e.onnx"))
    with pytest.raises(mq.InvalidInput, match="unknown layer in"):
        contents(saved(graphs.classifier(), tmp_path / "a.onnx"), saved(graphs.recurrent(), tmp_path / "b.onnx"))


def test_groups_of_matmulnbits_go_into_a_files_graph(tmp_path: Path) -> None:
    network, x = OnnxNetwork(graphs.classifier()), torch.from_numpy(graphs.draw(2, 2, 4, 4))
    policy = mq.Policy(("hidden", "head"), (mq.Format.named("w4g32"), mq.Format.named("w8g16z")))
    export(policy, "onnxruntime_nbits", model=network, output=tmp_path / "o", batches=[x])
    found = read_policy(tmp_path / "o")
    assert [found[name].name for name in ("conv", "hidden", "head")] == ["float", "w4g32", "w8g16z"]
