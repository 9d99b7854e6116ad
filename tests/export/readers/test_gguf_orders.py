"""Codes of a network's bank in float GGUF files, which hold some weights in orders of llama.cpp's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from mckp_quant import Format, InvalidInput, Policy, round_weights
from mckp_quant.export import export
from mckp_quant.export.readers.gguf_orders import order_of
from mckp_quant.network.fingerprint import tensor_digest

from ..networks import Drawn, llama

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def paired(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Queries or keys as llama.cpp's converter writes them: the halves of each head's rows in turn."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def apart(weight: torch.Tensor) -> torch.Tensor:
    """gpt-oss's experts ``(experts, in, 2 n)`` as the file has them: gates before ups, as ``(experts, 2 n, in)``."""
    turned = weight.transpose(1, 2)
    return torch.cat([turned[:, ::2], turned[:, 1::2]], dim=1)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_the_rows_are_found_by_what_the_weights_are(kind: torch.dtype) -> None:
    matrix, experts = drawn(24, 8).to(kind), drawn(3, 8, 12).to(kind)
    for own, held in (
        (matrix, matrix.clone()),
        (matrix, paired(matrix, 4)),
        (matrix, paired(matrix, 2)),
        (matrix.t(), matrix.clone()),
        (experts, experts.clone()),
        (experts, apart(experts)),
        (experts, experts.transpose(1, 2)),
    ):
        rows = order_of(held.float().contiguous(), tensor_digest(own), (4, 2))
        assert rows is not None
        plain = own if own.shape == held.shape else own.transpose(-1, -2)
        flat = plain.reshape(-1, plain.shape[-1])
        assert torch.equal(flat[rows].float(), held.reshape(flat.shape).float())


def test_other_weights_are_in_no_order() -> None:
    matrix = drawn(24, 8)
    other = matrix.clone()
    other[3, 2] += 1e-3
    for held in (other, matrix.flip(0), paired(matrix, 3)):
        assert order_of(held, tensor_digest(matrix), (4, 2)) is None


def written(path: Path, tensors: dict[str, torch.Tensor], **counts: int) -> Path:
    gguf: Any = __import__("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    for name, count in counts.items():
        getattr(writer, f"add_{name}")(count)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor.detach().float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_queries_and_keys_get_the_codes_of_a_bank_in_the_order_of_the_file(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("gguf")
    gguf: Any = __import__("gguf")
    network, entry = llama(), Format.named("w4g32")
    names = [f"model.layers.0.self_attn.{each}_proj" for each in "qkv"]
    weights: Any = {each: network.model.get_submodule(each).weight for each in names}
    places = [f"blk.0.attn_{each}.weight" for each in "qkv"]
    held = [paired(weights[names[0]], 4), paired(weights[names[1]], 2), weights[names[2]]]
    source = written(tmp_path / "float.gguf", dict(zip(places, held, strict=True)), head_count=4, head_count_kv=2)
    bank = round_weights(network.model, network.batches, [entry], layers=names, rounder=Drawn())
    policy = Policy(tuple(names), (entry,) * 3)
    export(policy, "gguf", model=source, output=tmp_path / "made", bank=bank, other_rounder=True)
    found = {
        each.name: torch.from_numpy(np.array(gguf.dequantize(each.data, each.tensor_type)).reshape(each.shape[::-1]))
        for each in gguf.GGUFReader(tmp_path / "made" / "model.gguf").tensors
    }
    for name, place, heads in zip(names, places, (4, 2, 0), strict=True):
        rounded = bank.weight(name, entry)
        assert torch.equal(found[place], paired(rounded, heads) if heads else rounded)
    wrong = written(tmp_path / "other.gguf", {places[0]: held[0].flip(0)}, head_count=4)
    with pytest.raises(InvalidInput, match=r"the weight of layer '.*q_proj' is not the one that the bank was rounded"):
        export(
            Policy((names[0],), (entry,)), "gguf", model=wrong, output=tmp_path / "no", bank=bank, other_rounder=True
        )


def test_layers_of_in_out_go_into_files_with_their_codes(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("gguf")
    gguf: Any = __import__("gguf")
    transformers: Any = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model: Any = torch.nn.Sequential(transformers.pytorch_utils.Conv1D(32, 64))
    bank = round_weights(model, [drawn(4, 64)], "q4_1", rounder="nearest")
    source = written(tmp_path / "float.gguf", {"0.weight": model[0].weight.t()})
    export(Policy(("0",), (Format.named("q4_1"),)), "gguf", model=source, output=tmp_path / "made", bank=bank)
    (tensor,) = gguf.GGUFReader(tmp_path / "made" / "model.gguf").tensors
    found = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(32, 64)
    assert np.array_equal(found, bank.weight("0", Format.named("q4_1")).t().numpy())
