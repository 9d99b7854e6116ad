"""Experts of a mixture in few bits: a matrix for each in checkpoints of runtimes, gates and ups apart in GGUF files."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import torch

from mckp_quant import Format, InvalidInput, Layer, Policy, allocate, apply, measure, round_weights
from mckp_quant.export import ExportMismatch, Stored, export, with_file_size
from mckp_quant.export.experts import Piece, halves, joined, saved_pieces
from mckp_quant.formats.capabilities import TARGETS
from mckp_quant.rounding.encoded import BlockWeight, EncodedWeight, OpaqueWeight, decode_weight

from ..networks import Drawn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UP, DOWN = "model.layers.0.mlp.experts.gate_up_proj", "model.layers.0.mlp.experts.down_proj"


@functools.cache
def mixtral() -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=32,
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=2,
    )
    return transformers.MixtralForCausalLM(config).eval()


def policy(name: str) -> Policy:
    return Policy((UP, DOWN), (Format.named(name),) * 2)


@pytest.mark.parametrize("target", ["vllm", "sglang"])
def test_runtimes_get_a_matrix_for_each_expert(target: str, tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs(target)
    model = mixtral()
    bank = round_weights(model, [{"input_ids": torch.arange(32)[None]}], "w4g32", layers=[UP, DOWN])
    report = export(policy("w4g32"), target, model=model, output=tmp_path / "made", bank=bank)
    tensors = __import__("safetensors.torch").torch.load_file(tmp_path / "made" / "model.safetensors")
    place = "model.layers.0.block_sparse_moe.experts"
    held = [name for name in tensors if "experts" in name]
    assert sorted(held) == sorted(
        f"{place}.{expert}.{matrix}.weight_{part}"
        for expert in range(2)
        for matrix in ("w1", "w2", "w3")
        for part in ("packed", "scale", "shape")
    )
    assert report.layers[0].place == f"{place}.0.w1.weight_packed"
    # Gates are w1 and ups w3, in the order in which the network keeps them.
    helpers = __import__("compressed_tensors.compressors.pack_quantized.helpers", fromlist=["unpack_from_int32"])
    codes = bank.encoded(UP, Format.named("w4g32"))
    assert isinstance(codes, EncodedWeight)
    for expert in range(2):
        for at, matrix in enumerate(("w1", "w3")):
            packed = tensors[f"{place}.{expert}.{matrix}.weight_packed"]
            rows = codes.elements[64 * expert + 32 * at : 64 * expert + 32 * (at + 1)]
            assert torch.equal(helpers.unpack_from_int32(packed, 4, (32, 64)), rows)
    config = __import__("json").loads((tmp_path / "made" / "config.json").read_text())["quantization_config"]
    assert config["config_groups"]["w4g32"]["targets"] == [
        r"re:^model\.layers\.0\.block_sparse_moe\.experts\.\d+\.\w+$"
    ]


def test_a_size_of_files_holds_for_experts(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("vllm")
    model = mixtral()
    table = measure(model, [{"input_ids": torch.arange(32)[None]}], formats="w4g32,w8g32", method="weight_mse")
    sized = with_file_size(table.with_float(), "vllm", model=model)
    found = allocate(sized, {"file_bytes": "60%"}, target="vllm").policy
    assert {found[name].name for name in (UP, DOWN)} & {"w4g32", "w8g32"}
    report = export(found, "vllm", model=model, output=tmp_path / "made")
    assert 0.9 * found.costs["file_bytes"] < report.file_bytes <= found.costs["file_bytes"]


def test_what_runtimes_cannot_take_is_refused_before_anything_is_written(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("vllm")
    for target, name, reason in (
        ("vllm", "w5", "experts only as w4, w4g32"),
        ("vllm", "w4g32z", "experts only as w4, w4g32"),
        ("hf", "w8a8sd", "experts only as w2, w2g16"),
        ("torchao", "w4", "experts only as w8, w8g16"),
    ):
        with pytest.raises(InvalidInput, match=f"cannot take layer '{UP}' in format '{name}': {reason}"):
            export(policy(name), target, model=mixtral(), output=tmp_path / "made")
    assert not list(tmp_path.iterdir())
    uneven = Policy((UP, DOWN), (Format.named("w4"), Format.named("w8")))
    for target, said in (("vllm", "vllm"), ("hf", "compressed_tensors")):
        with pytest.raises(InvalidInput, match=f"{said} fuses the layers"):
            export(uneven, target, model=mixtral(), output=tmp_path / "made")


@pytest.mark.parametrize(("target", "dense", "few"), [("hf", "w4g32,w8", "w3"), ("hf_torchao", "w4g32,w8", "w8g32")])
def test_transformers_computes_with_the_experts_that_were_measured(
    target: str, dense: str, few: str, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    model, batch = mixtral(), {"input_ids": torch.arange(24)[None]}
    linear = [f"model.layers.0.self_attn.{name}_proj" for name in "qkvo"]
    bank = round_weights(model, [batch], f"{dense},{few}", layers=[UP, DOWN, *linear], rounder=Drawn())
    formats = (*(few, few), *(dense.split(",")[at % 2] for at in range(len(linear))))
    chosen = Policy((UP, DOWN, *linear), tuple(map(Format.named, formats)))
    report = export(chosen, target, model=model, output=tmp_path / "made", bank=bank, other_rounder=True)
    loaded = type(model).from_pretrained(tmp_path / "made", local_files_only=True).eval()
    assert loaded.config._experts_implementation == ("eager" if target == "hf_torchao" else "grouped_mm")
    simulated: Any = apply(model, chosen, bank=bank)
    simulated.set_experts_implementation(loaded.config._experts_implementation)
    with torch.no_grad():
        wanted, found = simulated(**batch).logits, loaded(**batch).logits
    assert (wanted - found).abs().max() < 1e-5 * wanted.abs().max()
    assert any("one expert at a time" in note for note in report.notes) == (target == "hf_torchao")


@pytest.mark.parametrize(("target", "formats"), [("torchao", "w8,w8g32"), ("compressed_tensors", "w3g32,fp8_e4m3")])
def test_a_size_of_files_holds_for_experts_of_transformers(
    target: str, formats: str, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs(target)
    model = mixtral()
    table = measure(model, [{"input_ids": torch.arange(32)[None]}], formats=formats, method="weight_mse").with_float()
    for at, budget in enumerate(("45%", "70%")):
        found = allocate(table, {"file_bytes": budget}, target=target).policy
        report = export(found, target, model=model, output=tmp_path / f"made{at}")
        assert at or "float" not in (found[UP].name, found[DOWN].name)
        assert (found[UP].name == found[DOWN].name) or target == "torchao"
        assert 0.9 * found.costs["file_bytes"] < report.file_bytes <= found.costs["file_bytes"]
        grouped = found[UP].group_size is not None and target == "compressed_tensors"
        assert any("multiplies float16 scales" in note for note in report.notes) == grouped


class Transposing(torch.nn.Module):
    """Experts that are multiplied all at once, after their weights were transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.num_experts, self.hidden_size = 2, 64
        self.is_transposed = False
        self.up_proj = torch.nn.Parameter(torch.randn(2, 32, 64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.up_proj.transpose(1, 2)


def test_experts_that_are_not_taken_one_by_one_are_refused_by_torchao(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("torchao")
    model = torch.nn.Sequential(Transposing())
    chosen = Policy(("0.up_proj",), (Format.named("w8"),))
    with pytest.raises(InvalidInput, match=r"'0.up_proj' in format 'w8': a Transposing multiplies its weights"):
        export(chosen, "torchao", model=model, output=tmp_path / "made", batches=[torch.randn(3, 64)])
    assert not list(tmp_path.iterdir())


def test_networks_whose_checkpoints_have_one_tensor_are_refused() -> None:
    module = torch.nn.Module()
    with pytest.raises(InvalidInput, match=r"layer 'experts.up_proj' holds its experts in one tensor in checkpoints"):
        saved_pieces(module, Layer("experts.up_proj", "experts", (2, 4, 8), 8, None))


@pytest.mark.parametrize("name", ["q4_1", "w4g32"])
def test_gguf_has_gates_and_ups_apart(name: str, tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    gguf = __import__("gguf")
    model = mixtral()
    weights = dict(model.named_parameters())
    writer = gguf.GGUFWriter(tmp_path / "float.gguf", "llama")
    gate, up = weights[UP].detach().chunk(2, dim=1)
    for place, tensor in (("gate", gate), ("up", up), ("down", weights[DOWN].detach())):
        writer.add_tensor(f"blk.0.ffn_{place}_exps.weight", tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    bank = round_weights(model, [{"input_ids": torch.arange(32)[None]}], name, layers=[UP, DOWN])
    report = export(policy(name), "gguf", model=tmp_path / "float.gguf", output=tmp_path / "made", bank=bank)
    assert report.stored_bytes == TARGETS["gguf"].stored_bytes(bank.layer(UP), Format.named(name)) + TARGETS[
        "gguf"
    ].stored_bytes(bank.layer(DOWN), Format.named(name))
    found = {
        each.name: torch.from_numpy(gguf.dequantize(each.data, each.tensor_type).reshape(each.shape[::-1]))
        for each in gguf.GGUFReader(tmp_path / "made" / "model.gguf").tensors
    }
    both = torch.cat([found["blk.0.ffn_gate_exps.weight"], found["blk.0.ffn_up_exps.weight"]], dim=1)
    assert torch.equal(both, bank.weight(UP, Format.named(name)))
    assert torch.equal(found["blk.0.ffn_down_exps.weight"], bank.weight(DOWN, Format.named(name)))
    export(policy(name), "gguf_tensors", model=model, output=tmp_path / "tensors", bank=bank)
    names = [each.name for each in gguf.GGUFReader(tmp_path / "tensors" / "model.gguf").tensors]
    assert UP in names
    assert f"{UP}.weight" not in names


def test_pieces_come_together_in_the_order_of_the_layer() -> None:
    layer, entry = Layer("mlp.experts.gate_up_proj", "experts", (2, 4, 32), 8, None), Format.named("w4g32")
    pieces = halves(layer, ("gate", "up"))
    assert [piece.rows.tolist() for piece in pieces] == [[0, 1, 4, 5], [2, 3, 6, 7]]
    weight = torch.arange(256.0).reshape(8, 32)
    codes = EncodedWeight(weight, torch.arange(8.0)[:, None])
    for whole in (codes, BlockWeight(weight.byte()), OpaqueWeight(weight)):
        found = {
            piece.name: Stored(entry, 64, piece.name, weight[piece.rows].reshape(2, 2, 32), piece.of(whole))
            for piece in pieces
        }
        made = joined(layer, pieces, found)
        assert made.nbytes == 128
        assert made.weight is not None
        assert torch.equal(made.weight, weight.reshape(layer.shape))
        if isinstance(whole, EncodedWeight):
            assert isinstance(made.codes, EncodedWeight)
            assert torch.equal(decode_weight(made.codes, entry, layer), decode_weight(whole, entry, layer))
        elif isinstance(whole, BlockWeight):
            assert isinstance(made.codes, BlockWeight)
            assert torch.equal(made.codes.data, whole.data)
    with pytest.raises(
        ExportMismatch, match=r"'up', which holds a part of layer 'mlp.experts.gate_up_proj', is not in"
    ):
        joined(layer, pieces, {"gate": found["gate"]})
    other = {**found, "up": Stored(Format.named("w8g32"), 64, "up")}
    with pytest.raises(ExportMismatch, match=r"the parts of layer .* have the formats w4g32, w8g32"):
        joined(layer, pieces, other)
    assert Piece("gate", pieces[0].rows).layer(layer).shape == (4, 32)
