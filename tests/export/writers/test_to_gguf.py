from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Policy, allocate
from mckp_quant.export import Gguf, audit, export, read_policy
from mckp_quant.export.gguf_blocks import FORMATS, to_blocks
from mckp_quant.export.readers.from_gguf import block_format, read_types, types_of
from mckp_quant.formats.blocks import GGML_FORMATS, GGUF_BLOCKS
from mckp_quant.rounding import WeightBank, round_weights
from mckp_quant.tables import read_table

from ..networks import llama, mixed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@given(kind=st.sampled_from(sorted(FORMATS)), seed=st.integers(0, 2**31))
def test_blocks_dequantise_to_integers_times_scales(needs: Callable[[str], None], kind: str, seed: int) -> None:
    needs("gguf")
    gguf = __import__("gguf")
    bits = int(kind[1])
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 5)), 32 * int(rng.integers(1, 4)))
    integers = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape).astype(np.int8)
    scales = rng.random((shape[0], shape[1] // 32)).astype(np.float16)
    data = to_blocks(integers, scales, bits)
    assert data.shape == (shape[0], shape[1] // 32 * GGUF_BLOCKS[kind][1])
    wanted = integers * np.repeat(scales.astype(np.float32), 32, axis=1)
    assert (gguf.dequantize(data, gguf.GGMLQuantizationType[kind]) == wanted).all()


def test_sizes_of_blocks_are_those_of_the_package(needs: Callable[[str], None]) -> None:
    needs("gguf")
    gguf = __import__("gguf")
    for kind, sizes in GGUF_BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]] == sizes, kind


def test_float_files_are_quantised_with_their_metadata(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    gguf = __import__("gguf")
    network = llama()
    policy = network.policy("gguf", 3)
    plain = Policy(policy.layer_names, (Format.named("float"),) * len(policy))
    export(plain, Gguf("llama", tensors_only=True), model=network.model, output=tmp_path / "float")
    source = tmp_path / "float" / "model.gguf"
    from_file = export(policy, "gguf", model=source, output=tmp_path / "file")
    export(policy, Gguf("llama", tensors_only=True), model=network.model, output=tmp_path / "network")
    assert (tmp_path / "file" / "model.gguf").read_bytes() == (tmp_path / "network" / "model.gguf").read_bytes()
    places = {each.layer: each.place for each in from_file.layers}
    assert places["model.layers.0.mlp.down_proj"] == "blk.0.ffn_down.weight"
    reader = gguf.GGUFReader(tmp_path / "file" / "model.gguf")
    assert reader.fields["general.architecture"].contents() == "llama"
    with pytest.raises(InvalidInput, match=r"has 'blk.* in Q.*: give the float file"):
        export(policy, "gguf", model=tmp_path / "file" / "model.gguf", output=tmp_path / "again")
    with pytest.raises(InvalidInput, match=r"unknown layer 'blk.0.ffn_dwn': did you mean 'blk.0.ffn_down'\?"):
        export(Policy(("blk.0.ffn_dwn",), (Format.named("w4g32"),)), "gguf", model=source, output=tmp_path / "again")


def test_types_that_only_llama_quantize_makes_are_arguments_and_sizes(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("gguf")
    model = __import__("torch").nn.Sequential()
    model.add_module("up", __import__("torch").nn.Linear(512, 8))
    report = export(Policy(("up",), (block_format("IQ2_XXS"),)), "gguf_tensors", model=model, output=tmp_path / "made")
    assert report.files == ("llama-quantize.txt", "tensor_types.txt")
    assert report.stored_bytes == report.asked_bytes == 8 * 512 // 256 * 66
    assert "IQ2_XXS can only be made by llama-quantize" in report.notes[0]
    assert read_types(tmp_path / "made" / "tensor_types.txt") == [(r"^up\.weight$", "IQ2_XXS")]
    command = (tmp_path / "made" / "llama-quantize.txt").read_text()
    assert command == (
        "llama-quantize --imatrix imatrix.gguf --tensor-type-file tensor_types.txt float.gguf quantized.gguf q8_0\n"
    )


@pytest.mark.parametrize("name", GGML_FORMATS)
def test_blocks_are_written_as_they_are_in_the_bank(name: str, tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    gguf, torch = __import__("gguf"), __import__("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(256, 8))
    bank = round_weights(model, [torch.randn(40, 256)], name)
    policy = Policy(("0",), (Format.named(name),))
    report = export(policy, "gguf_tensors", model=model, output=tmp_path / "made", bank=bank)
    size, stored = GGUF_BLOCKS[name.upper()]
    assert report.stored_bytes == report.asked_bytes == 8 * 256 // size * stored
    tensor = next(each for each in gguf.GGUFReader(tmp_path / "made" / "model.gguf").tensors if each.name == "0.weight")
    assert tensor.tensor_type.name == name.upper()
    assert (gguf.dequantize(tensor.data, tensor.tensor_type) == bank.weight("0", policy.formats[0]).numpy()).all()
    values = WeightBank.of_weights(model, {"0": {name: torch.randn(8, 256)}}, rounder="other")
    with pytest.raises(InvalidInput, match=r"has values in 'i?q\w+', and no blocks that could be written"):
        export(policy, "gguf_tensors", model=model, output=tmp_path / "values", bank=values, other_rounder=True)


def test_patterns_catch_their_own_tensor_and_no_other(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    network = mixed()
    policy = network.policy("gguf", 5)
    export(policy, "gguf_tensors", model=network.model, output=tmp_path / "made")
    rules = read_types(tmp_path / "made" / "tensor_types.txt")
    names = [f"{layer}.weight" for layer in policy.layer_names]
    near = [f"a.{name}" for name in names] + [f"{name}s" for name in names] + [name.replace(".", "_") for name in names]
    assert set(types_of(rules, near).values()) == {None}
    assert [block_format(kind or "").name for kind in types_of(rules, names).values()] == [
        e.name for e in policy.formats
    ]
    assert types_of([("output", "Q4_0"), ("^output$", "Q8_0")], ["xoutput"]) == {"xoutput": "Q4_0"}


def test_type_files_and_types_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "types.txt").write_text("^a$=q9_9")
    with pytest.raises(InvalidInput, match=r"has the line '\^a\$=q9_9': expected pattern=type"):
        read_types(tmp_path / "types.txt")
    with pytest.raises(InvalidInput, match="cannot read the tensor types"):
        read_types(tmp_path / "none.txt")
    with pytest.raises(InvalidInput, match="the GGUF type 'Q9_9' is not known"):
        block_format("Q9_9")


def test_files_of_others_are_read_with_types_of_their_own(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    gguf = __import__("gguf")
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    weight = np.random.default_rng(0).normal(size=(4, 256)).astype(np.float32)
    kind = gguf.GGMLQuantizationType
    writer.add_tensor("a.weight", gguf.quantize(weight, kind.Q5_1), raw_dtype=kind.Q5_1)
    writer.add_tensor("b.weight", gguf.quantize(weight, kind.Q8_0), raw_dtype=kind.Q8_0)
    writer.add_tensor("k.weight", np.zeros((4, 144), np.uint8), raw_dtype=kind.Q4_K)
    writer.add_tensor("f.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = read_policy(tmp_path / "a.gguf")
    assert {layer: found[layer].name for layer in found.layer_names} == {
        "a": "q5_1",
        "b": "w8g32",
        "k": "q4_k",
        "f": "float",
    }


def float_file(folder: Path, shapes: dict[str, tuple[int, int]]) -> Path:
    gguf = __import__("gguf")
    writer = gguf.GGUFWriter(folder / "float.gguf", "llama")
    writer.add_block_count(1)
    for seed, (name, shape) in enumerate(shapes.items()):
        writer.add_tensor(f"{name}.weight", np.random.default_rng(seed).normal(size=shape).astype(np.float32))
    finish(writer)
    return folder / "float.gguf"


def finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


NAMED = ("Q8_0", "Q4_0", "Q5_0", "Q4_1", "Q5_1", "F16", "BF16", "F32", "q8_0")


@pytest.mark.parametrize("kind", NAMED)
def test_tables_in_ggmls_names_are_solved_and_exported(kind: str, tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    gguf = __import__("gguf")
    shapes = {"blk.0.attn_q": (4, 64), "blk.0.ffn_down": (4, 32)}
    source = float_file(tmp_path, shapes)
    size, stored = GGUF_BLOCKS[kind.upper()]
    rows = [f"{name},{kind},0.1,{4 * n // size * stored},4x{n}" for name, (_, n) in shapes.items()]
    (tmp_path / "t.csv").write_text("\n".join(["tensor,qtype,kld,bytes,shape", *rows]))
    table = read_table(tmp_path / "t.csv").table
    policy = allocate(table, {"weight_bytes": "100%"}, target="gguf").policy
    report = export(policy, "gguf", model=source, output=tmp_path / "out")
    assert report.stored_bytes == policy.costs["weight_bytes"]
    number = gguf.GGMLQuantizationType[kind.upper()]
    tensors = gguf.GGUFReader(tmp_path / "out" / "model.gguf").tensors
    assert {tensor.tensor_type for tensor in tensors} == {number}
    for tensor in tensors:
        weight = np.random.default_rng(list(shapes).index(tensor.name.removesuffix(".weight"))).normal(
            size=shapes[tensor.name.removesuffix(".weight")]
        )
        off = np.abs(gguf.dequantize(tensor.data, number) - weight)
        assert off.max() <= {"Q4": 0.4, "Q5": 0.2}.get(kind.upper()[:2], 0.03)
    # What was written is found in the table again.
    if kind.upper() not in ("F16", "BF16"):
        assert audit(read_policy(tmp_path / "out"), table).policy.costs["weight_bytes"] == report.stored_bytes


def split(folder: Path, count: int = 3) -> list[Path]:
    gguf = __import__("gguf")
    made = []
    for number in range(count):
        path = folder / f"m-{number + 1:05d}-of-{count:05d}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", count)
        writer.add_tensor(f"t{number}.weight", np.full((4, 32), number + 1, np.float32))
        finish(writer)
        made.append(path)
    return made


def test_all_parts_of_a_split_model_are_read(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    gguf = __import__("gguf")
    parts = split(tmp_path)
    for place in (*parts, tmp_path):
        assert read_policy(place).layer_names == ("t0", "t1", "t2")
    policy = Policy(("t0", "t2"), (Format.named("w8g32"), Format.named("w4g32")))
    export(policy, "gguf", model=parts[0], output=tmp_path / "out")
    whole = gguf.GGUFReader(tmp_path / "out" / "model.gguf")
    assert [tensor.name for tensor in whole.tensors] == ["t0.weight", "t1.weight", "t2.weight"]
    assert not any(name.startswith("split.") for name in whole.fields)


def test_parts_of_a_split_model_that_do_not_fit_are_refused(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    parts = split(tmp_path)
    (tmp_path / "alone.gguf").write_bytes(parts[1].read_bytes())
    with pytest.raises(InvalidInput, match=r"is part 2 of 3 of a model, and its name does not say .*llama-gguf-split"):
        read_policy(tmp_path / "alone.gguf")
    kept = parts[1].read_bytes()
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(InvalidInput, match=r"m-00002-of-00003.gguf' is not part 2 of 3, as its name says"):
        read_policy(parts[0])
    parts[1].unlink()
    with pytest.raises(InvalidInput, match=r"is one of 3 parts of a model, and part 2 is missing: .* into one folder"):
        read_policy(parts[0])
    parts[1].write_bytes(kept)
    gguf = __import__("gguf")
    writer = gguf.GGUFWriter(parts[2], "llama")
    writer.add_uint16("split.no", 2)
    writer.add_uint16("split.count", 3)
    writer.add_tensor("t2.weight", np.zeros((4, 32), np.float32))
    writer.add_tensor("t3.weight", np.zeros((4, 32), np.float32))
    finish(writer)
    with pytest.raises(InvalidInput, match=r"the 3 parts of .* hold 4 tensors, but the model has 3"):
        read_policy(parts[0])
