"""Names are those of the network that somebody wrote, and in checkpoints those that transformers saves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from mckp_quant import Format, InvalidInput, Policy, RunOptions, allocate, apply, measure, round_weights
from mckp_quant.network.checkpoints.plain_names import unwrapped
from mckp_quant.network.checkpoints.saved_names import as_saved, layer_name
from mckp_quant.network.checkpoints.state import state_of
from mckp_quant.network.discovery import discover

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(24, 24), nn.ReLU())
    return nn.Sequential(nn.Linear(16, 24), inner, nn.Linear(24, 4)).eval()


def compiled(model: nn.Module) -> nn.Module:
    made: Any = torch.compile(model, backend="eager")
    return made  # type: ignore[no-any-return]


def inside(model: nn.Sequential) -> nn.Module:
    model[1] = compiled(model[1])
    return model


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel, inside, lambda model: nn.DataParallel(compiled(model))])
def test_tables_policies_and_banks_have_plain_names(wrap: Callable[[Any], nn.Module]) -> None:
    wrapped = wrap(plain())
    table = measure(wrapped, [BATCH], formats="w4,w8", run=RunOptions(max_batches=1))
    assert table.layer_names == ("0", "1.0", "2")
    wanted = measure(plain(), [BATCH], formats="w4,w8", run=RunOptions(max_batches=1))
    assert (table.loss == wanted.loss).all()
    assert table.files == wanted.files
    policy = allocate(table, {"weight_bytes": "80%"}).policy
    bank = round_weights(wrapped, [BATCH], "w4,w8", rounder="nearest")
    assert [layer.name for layer in bank.layers] == ["0", "1.0", "2"]
    with torch.no_grad():
        assert torch.equal(apply(plain(), policy)(BATCH), apply(wrapped, policy, bank=bank)(BATCH))
    assert list(state_of(wrapped)) == list(plain().state_dict())


def test_networks_that_nothing_wraps_stay_themselves() -> None:
    model = plain()
    assert unwrapped(model) is model
    around = inside(plain())
    found = unwrapped(around)
    assert found is not around
    assert isinstance(around, nn.Sequential)
    assert type(around[1]).__name__ == "OptimizedModule"  # the user's network is as it was
    assert [layer.name for layer in discover(around, BATCH)] == ["0", "1.0", "2"]


def test_shared_tensors_are_stored_under_each_name_but_in_models_of_transformers() -> None:
    model = plain()
    model.append(model[2])
    state = state_of(model)
    assert {"2.weight", "3.weight"} <= set(state)
    assert state["2.weight"].data_ptr() != state["3.weight"].data_ptr()
    assert as_saved(model, state) == state
    assert layer_name(model, "0") == "0"


@pytest.mark.slow
def test_quantised_weights_that_checkpoints_hold_in_parts_are_refused() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=2,
    )
    model = transformers.MixtralForCausalLM(config)
    state = state_of(model)
    experts = next(name for name in state if name.endswith("experts.gate_up_proj"))
    assert experts not in as_saved(model, state)
    assert sum(each.numel() for each in as_saved(model, state).values()) == sum(each.numel() for each in state.values())
    with pytest.raises(InvalidInput, match="is stored in other parts in checkpoints of this network"):
        as_saved(model, state, [experts])


def _vit(transformers: Any) -> tuple[nn.Module, Any]:
    config = transformers.ViTConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    return transformers.ViTForImageClassification(config), {"pixel_values": torch.randn(2, 3, 16, 16)}


def _falcon(transformers: Any) -> tuple[nn.Module, Any]:
    config = transformers.FalconConfig(vocab_size=32, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    return transformers.FalconForCausalLM(config), {"input_ids": torch.arange(8).reshape(1, 8)}


def _mamba(transformers: Any) -> tuple[nn.Module, Any]:
    config = transformers.MambaConfig(vocab_size=32, hidden_size=32, num_hidden_layers=1, state_size=4)
    return transformers.MambaForCausalLM(config), {"input_ids": torch.arange(8).reshape(1, 8)}


@pytest.mark.parametrize("make", [_vit, _falcon, _mamba])
@pytest.mark.parametrize("target", ["hf", "vllm"])
def test_networks_whose_keys_are_renamed_are_exported(
    make: Callable[[Any], tuple[nn.Module, Any]], target: str, tmp_path: Any
) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("compressed_tensors")
    from mckp_quant.costs.files import file_bytes
    from mckp_quant.export import export

    torch.manual_seed(0)
    model, batch = make(transformers)
    goal = {"hf": "compressed_tensors"}.get(target, target)
    table = measure(model.eval(), [batch], formats="w4g32,w8", method="weight_mse")
    policy = allocate(table, {"file_bytes": "95%"}, target=goal).policy
    report = export(policy, target, model=model, output=tmp_path / "out")
    assert report.file_bytes <= file_bytes(table, policy.formats, goal) <= 1.02 * report.file_bytes
    assert any(entry.name != "float" for entry in policy.formats)
    if target == "hf":
        loaded = type(model).from_pretrained(tmp_path / "out")  # type: ignore[attr-defined]
        with torch.no_grad():
            assert torch.equal(loaded(**batch)[0], apply(model, policy)(**batch)[0])


def test_layers_that_torchaos_tensors_cannot_stand_in_for_are_refused(tmp_path: Any) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torchao")
    from mckp_quant.export import export

    for make, layer, told in (
        (_falcon, "transformer.h.0.self_attention.dense", "a FalconLinear multiplies its weight in a way of its own"),
        (_mamba, "backbone.layers.0.mixer.dt_proj", "the network never calls it, but reads its weight elsewhere"),
    ):
        model, _ = make(transformers)
        with pytest.raises(InvalidInput, match=rf"torchao cannot take layer '{layer}' in format 'w8': {told}"):
            export(Policy((layer,), (Format.named("w8"),)), "torchao", model=model, output=tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_networks_that_only_run_unpacked_take_no_rounded_inputs(tmp_path: Any) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("compressed_tensors")
    from mckp_quant.export import export

    policy = Policy(("transformer.h.0.self_attention.dense",), (Format.named("w4g32a8sd"),))
    with pytest.raises(InvalidInput, match="FalconForCausalLM reads the weight of a layer that"):
        export(policy, "hf", model=_falcon(transformers)[0], output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
