from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant.tuning import Finished, finish

from ..search import small
from .networks import Attention, Residual

if TYPE_CHECKING:
    from pathlib import Path


def finished(model: nn.Module, data: list[torch.Tensor], bits: str = "w3") -> Finished:
    layers = mq.round_weights(model, data, bits, rounder="nearest").layers
    return finish(model, mq.Policy.uniform(layers, bits), data)


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["w3", "w2g16z", "fp8_e4m3"])
def test_what_was_saved_is_loaded_to_the_last_bit(tmp_path: Path, bits: str) -> None:
    pytest.importorskip("safetensors")
    for model, data in ((Residual().eval(), Residual.data()), (Attention().eval(), Attention.data())):
        made = finished(model, data, bits)
        made.save(tmp_path / "finished")
        before = small.state(model)
        read = Finished.load(tmp_path / "finished", model)
        assert small.same(before, small.state(model))
        assert small.same(small.state(made.model), small.state(read.model))
        with torch.no_grad():
            assert torch.equal(made.model(data[0]), read.model(data[0]))
        assert (read.policy, read.decided, read.float_digests) == (made.policy, made.decided, made.float_digests)
        assert read.bank.digest == made.bank.digest
        for layer in made.bank.layers:
            entry = made.policy[layer.name]
            assert torch.equal(read.bank.weight(layer.name, entry), made.bank.weight(layer.name, entry))


def test_only_what_changed_is_kept() -> None:
    model, data = Residual().eval(), Residual.data()
    made = finished(model, data)
    state, before = made.model.state_dict(), model.state_dict()
    weights = {f"{layer.name}.weight" for layer in made.bank.layers}
    assert set(made.changed) == {
        name for name in state if name not in weights and not torch.equal(state[name], before[name])
    }
    assert set(made.float_digests) == set(before)


def test_files_of_another_network_or_damaged_ones_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    model, data = Residual().eval(), Residual.data()
    finished(model, data).save(tmp_path)
    other = Residual().eval()
    with torch.no_grad():
        other.head.bias.add_(1)
    with pytest.raises(mq.InvalidInput, match=r"'head\.bias' is not the one that was finished"):
        Finished.load(tmp_path, other)
    document = json.loads((tmp_path / "finished.json").read_text())
    del document["decided"]
    (tmp_path / "finished.json").write_text(json.dumps(document))
    with pytest.raises(mq.InvalidInput, match="lacks the field 'decided'"):
        Finished.load(tmp_path, model)
    finished(model, data).save(tmp_path)
    (tmp_path / "finished.safetensors").write_bytes(b"no tensors")
    with pytest.raises(mq.InvalidInput, match=r"finished\.safetensors' cannot be read"):
        Finished.load(tmp_path, model)
    with pytest.raises(mq.InvalidInput, match="finished"):
        Finished.load(tmp_path / "nowhere", model)
