from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mckp_quant import InvalidInput, Layer, Policy, apply, measure
from mckp_quant.evaluation.evaluator import evaluate
from mckp_quant.network.discovery import discover, modules
from mckp_quant.network.weight_uses import check_usable, uses_in

if TYPE_CHECKING:
    from collections.abc import Callable

MODULES: dict[str, tuple[nn.Module, tuple[int, ...], str, int]] = {
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2), (4, 11), "conv1d", 6),
    "conv2d": (nn.Conv2d(4, 6, (3, 2), padding=1), (4, 7, 8), "conv2d", 6),
    "conv2d, grouped": (nn.Conv2d(4, 6, 3, groups=2), (4, 7, 8), "conv2d", 6),
    "conv2d, depthwise": (nn.Conv2d(4, 8, 3, groups=4), (4, 7, 8), "conv2d", 8),
    "conv3d": (nn.Conv3d(2, 3, 2, dilation=2), (2, 5, 4, 6), "conv3d", 3),
    "conv_transpose1d": (nn.ConvTranspose1d(4, 3, 3, stride=2), (4, 5), "conv_transpose1d", 3),
    "conv_transpose2d": (
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, output_padding=1),
        (4, 5, 6),
        "conv_transpose2d",
        6,
    ),
    "conv_transpose3d": (nn.ConvTranspose3d(2, 3, 2), (2, 3, 4, 2), "conv_transpose3d", 3),
    "linear": (nn.Linear(5, 3), (5,), "linear", 3),
    "linear, over positions": (nn.Linear(5, 3), (7, 2, 5), "linear", 3),
}


@pytest.mark.parametrize("case", MODULES)
@pytest.mark.parametrize("size", [1, 3])
def test_operations_per_sample_equal_those_counted_by_pytorch(case: str, size: int) -> None:
    module, shape, kind, channels = MODULES[case]
    (layer,) = discover(nn.Sequential(module), torch.zeros(size, *shape))
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(torch.zeros(1, *shape))
    assert layer.macs == counter.get_total_flops() // 2
    assert layer.macs > 0
    weight = module.get_parameter("weight")
    assert layer == Layer("0", kind, tuple(weight.shape), channels, layer.macs)


class Shared(nn.Module):
    """A tied head, a module under two names, a layer called twice, one never called, and a subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.tok = nn.Embedding(7, 4)
        self.twice = nn.Linear(4, 4)
        self.again = self.twice
        self.special = nn.modules.linear.NonDynamicallyQuantizableLinear(4, 4, bias=False)
        self.idle = nn.Linear(4, 5)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.tok.weight
        self.alias = nn.Linear(4, 7, bias=False)
        self.alias.weight = nn.Parameter(self.tok.weight.detach())

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.special(self.again(self.twice(self.tok(tokens)))))
        return out


def test_shared_weights_are_one_layer_with_the_operations_of_all_calls(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mckp_quant"):
        layers = discover(Shared(), torch.zeros(2, 5, dtype=torch.int64))
    assert layers == (
        Layer("tok", "embedding", (7, 4), 7, 5 * 4 * 7, ("head", "alias")),
        Layer("twice", "linear", (4, 4), 4, 2 * 5 * 16, ("again",)),
        Layer("special", "linear", (4, 4), 4, 5 * 16),
        Layer("idle", "linear", (5, 4), 5, 0),
    )
    assert "the first sample never calls layer 'idle' as a module" in caplog.text


def test_embeddings_cost_no_operations_and_are_not_reported_as_idle(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mckp_quant"):
        (layer,) = discover(nn.Sequential(nn.Embedding(7, 4)), torch.zeros(2, 5, dtype=torch.int64))
    assert layer == Layer("0", "embedding", (7, 4), 7, 0)
    assert not caplog.text


def test_the_projections_of_multihead_attention_stay_float(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    with caplog.at_level(logging.WARNING, "mckp_quant"):
        layers = discover(model, torch.zeros(2, 5, 8))
    assert [(layer.name, layer.macs) for layer in layers] == [("linear1", 5 * 8 * 16), ("linear2", 5 * 8 * 16)]
    assert "the projections of 'self_attn' (MultiheadAttention) stay in floating point" in caplog.text


@pytest.mark.parametrize("layer", [nn.LSTM(3, 4), nn.GRUCell(3, 4)])
def test_recurrent_layers_are_refused_by_name(layer: nn.Module) -> None:
    model = nn.ModuleDict({"inner": nn.Linear(3, 3), "memory": layer})
    with pytest.raises(InvalidInput, match=f"'memory' is a {type(layer).__name__}: recurrent layers"):
        discover(model, torch.zeros(2, 3))
    with pytest.raises(InvalidInput, match=f"the model itself is a {type(layer).__name__}: recurrent layers"):
        discover(layer, torch.zeros(2, 3))


def test_a_model_with_nothing_to_quantise_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ReLU has nothing to quantise: it holds no Conv1d, Conv2d"):
        discover(nn.ReLU(), torch.zeros(2, 3))


def test_a_batch_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"the model fails on batch 0 \(inputs \(1, 4\)\)"):
        discover(nn.Linear(3, 2), torch.zeros(2, 4))


def test_a_computed_weight_is_refused() -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    with pytest.raises(InvalidInput, match=r"layer '' .ParametrizedLinear. is a Tensor, not a parameter: remove param"):
        discover(model, torch.zeros(2, 3))


class Stored(nn.Linear):
    """A linear layer whose weight is stored in few bits, with a scale, as checkpoints of quantised networks are."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(6, 6)
        self.scale = 0.01
        self.weight = nn.Parameter((self.weight.detach() / self.scale).to(dtype), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.float() * self.scale, self.bias)


class Packed(nn.Linear):
    """What is left of a linear layer when a checkpoint in compressed-tensors' format is loaded."""

    def __init__(self) -> None:
        super().__init__(6, 6)
        del self.weight
        self.register_buffer("weight_packed", torch.ones(6, 6, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.get_buffer("weight_packed").float() / 8, self.bias)


class Last(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(6, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        last: Tensor = self.recurrent(x[:, None])[0][:, -1]
        return last


class Missing(nn.Linear):
    """A linear layer that makes its weight when it is called."""

    def __init__(self) -> None:
        super().__init__(6, 6)
        del self.weight

    def forward(self, x: Tensor) -> Tensor:
        return x


ODD: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "recurrent": (Last, "'0.recurrent' is a LSTM: recurrent layers cannot be quantised yet"),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)),
        r"the weight of layer '0' \(ParametrizedLinear\) is a Tensor, not a parameter: remove parametrisations",
    ),
    "weight norm by hooks": (
        lambda: nn.utils.weight_norm(nn.Linear(6, 6)),
        r"the weight of layer '0' \(Linear\) is a Tensor, not a parameter",
    ),
    "fp8": (lambda: Stored(torch.float8_e4m3fn), r"layer '0' \(Stored\) is already quantised \(stored as torch.float8"),
    "int8": (lambda: Stored(torch.int8), r"already quantised \(stored as torch.int8\): load the float checkpoint"),
    "packed": (Packed, r"'0' \(Packed\) is already quantised \(compressed-tensors\): load the float checkpoint, or de"),
    "missing": (Missing, r"the weight of layer '0' \(Missing\) is missing: give the module its weight"),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
@pytest.mark.parametrize("case", ODD)
def test_what_cannot_be_quantised_is_named_and_can_be_left_out(case: str) -> None:
    make, message = ODD[case]
    model, inputs = nn.Sequential(make(), nn.Linear(6, 3)), torch.randn(4, 6)
    with pytest.raises(InvalidInput, match=message):
        discover(model, inputs)
    assert [layer.name for layer in discover(model, inputs, {"1"})][-1] == "1"
    name = "0.recurrent" if case == "recurrent" else "0"
    with pytest.raises(InvalidInput, match=message):
        discover(model, inputs, {name})
    if case != "recurrent":
        with pytest.raises(InvalidInput, match=r"the weight of layer '0' .*:"):
            modules(model, [Layer("0", "linear", (6, 6), 6, 36)])
    table = measure(model, [inputs], formats="w2,w8", layers=["1"])
    assert table.layer_names == ("1",)
    assert table.loss[0, 0] > table.loss[0, 1] > 0
    if case != "weight norm by hooks":  # such a module cannot be copied
        policy = Policy(("1",), (table.formats[0],))
        assert evaluate(apply(model, policy), model, [inputs]).kl > 0


def test_a_tensor_of_a_quantising_package_is_no_float_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    class Codes(Tensor):
        pass

    monkeypatch.setattr(Codes, "__module__", "torchao.dtypes")
    model = nn.Linear(3, 2)
    model.weight = nn.Parameter(torch.randn(2, 3).as_subclass(Codes))
    with pytest.raises(InvalidInput, match=r"layer '' \(Linear\) is already quantised \(torchao, Codes\)"):
        discover(model, torch.zeros(2, 3))


def test_the_model_keeps_its_mode_its_statistics_and_no_hook() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    before = model.get_buffer("1.running_mean").clone()
    discover(model, torch.randn(2, 3, 5, 5))
    assert all(module.training for module in model.modules())
    assert model.get_buffer("1.running_mean").equal(before)
    assert not any(module._forward_hooks for module in model.modules())


def test_modules_are_found_again_under_the_names_of_layers_and_ties() -> None:
    model = Shared()
    layers = discover(model, torch.zeros(2, 5, dtype=torch.int64))
    found = modules(model, layers)
    assert list(found) == ["tok", "head", "alias", "twice", "again", "special", "idle"]
    assert all(found[name] is model.get_submodule(name) for name in found)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Layer("0.cov", "linear", (2, 3), 2, 0), "unknown layer '0.cov': known are: 0"),
        (
            Layer("0", "linear", (2, 4), 2, 0),
            r"layer '0' has the weight shape \(2, 4\), but in this model it is \(2, 3\)",
        ),
        (Layer("1", "linear", (2, 4), 2, 0), "in this model it is no layer with a weight"),
    ],
)
def test_layers_of_another_model_are_refused(layer: Layer, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        modules(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), [layer])


class Experts(nn.Module):
    """Three experts in one tensor for each of their two weights; every token goes to one of them."""

    def __init__(self, *, transposed: bool = False) -> None:
        super().__init__()
        self.num_experts = 3
        self.is_transposed = transposed
        self.gate_up_proj = nn.Parameter(torch.randn(3, 8, 5))
        self.down_proj = nn.Parameter(torch.randn(3, 5, 4))

    def forward(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        gate, up = torch.einsum("ni,noi->no", tokens, self.gate_up_proj[chosen]).chunk(2, dim=1)
        return torch.einsum("ni,noi->no", torch.sigmoid(gate) * up, self.down_proj[chosen])


class Mixture(nn.Module):
    def __init__(self, *, transposed: bool = False) -> None:
        super().__init__()
        self.router = nn.Parameter(torch.randn(5, 3))
        self.experts = Experts(transposed=transposed)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        logits: Tensor = self.head(self.experts(tokens, (tokens @ self.router).argmax(dim=1)).reshape(x.shape))
        return logits


def test_all_experts_are_one_layer_with_the_operations_of_those_that_are_chosen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "mckp_quant"):
        layers = discover(Mixture(), torch.randn(2, 7, 5))
    assert layers[:2] == (
        Layer("experts.gate_up_proj", "experts", (3, 8, 5), 24, 7 * 8 * 5),
        Layer("experts.down_proj", "experts", (3, 5, 4), 15, 7 * 5 * 4),
    )
    assert "1 parameters that no layer uses stay in floating point: 'router'" in caplog.text


def test_experts_that_do_not_say_how_they_are_stored_stay_float_and_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Mixture()
    del model.experts.is_transposed
    assert list(uses_in(model)) == ["head"]
    with caplog.at_level(logging.WARNING, "mckp_quant"):
        discover(model, torch.randn(2, 7, 5))
    assert "3 parameters that no layer uses stay in floating point: 'router', 'experts.gate_up_proj'" in caplog.text
    assert "95.1% of the weights (195 of 205)" in caplog.text
    assert list(uses_in(Mixture(transposed=True))) == ["experts.gate_up_proj", "experts.down_proj", "head"]


def test_operations_of_a_batch_that_cannot_be_cut_are_those_of_one_sample() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            out: Tensor = self.layer(x * scale)
            return out

    (layer,) = discover(Scaled(), {"x": torch.zeros(4, 4), "scale": torch.ones(4)})
    assert layer.macs == 12


def test_a_model_on_the_meta_device_has_the_layers_of_the_real_one() -> None:
    batch = torch.zeros(2, 3, 5, 5)
    real = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 2))
    assert discover(real.to("meta"), batch) == discover(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 2)), batch
    )


def overlapping(view: str) -> nn.Module:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    weight = first.weight.detach()
    views = {"transposed": weight.T, "reshaped": weight.view(2, 8), "part": weight[1:3]}
    second.weight = nn.Parameter(views[view])
    return nn.Sequential(first, second)


@pytest.mark.parametrize("view", ["transposed", "reshaped", "part"])
def test_weights_that_overlap_in_memory_without_being_the_same_are_refused(view: str) -> None:
    with pytest.raises(InvalidInput, match="layers '0' and '1' share memory under different shapes or strides"):
        discover(overlapping(view), torch.zeros(2, 4))


def test_weights_side_by_side_in_one_piece_of_memory_are_two_layers() -> None:
    whole = torch.randn(8, 4)
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[0].weight, model[1].weight = nn.Parameter(whole[:4]), nn.Parameter(whole[4:])
    assert len(discover(model, torch.zeros(2, 4))) == 2


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return nn.Linear(3, 2)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.LazyLinear(2), "parameter 'weight' has no shape yet: run the model once"),
        (nn.Linear(3, 2, device="meta"), "parameter 'weight' is on the meta device and holds no numbers"),
        (made_in_inference_mode(), r"parameter 'weight' was made under torch.inference_mode\(\)"),
    ],
)
def test_models_whose_parameters_cannot_be_used_are_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check_usable(model)


@pytest.mark.parametrize("model", [None, "net.pt", {"weight": torch.zeros(2, 2)}])
def test_what_is_no_module_is_refused(model: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"model is a {type(model).__name__}: give a torch.nn.Module, with its wei"):
        measure(model, [torch.zeros(1, 2)], formats="w4")


def test_measuring_in_inference_mode_is_refused() -> None:
    with torch.inference_mode(), pytest.raises(InvalidInput, match=r"call it outside torch.inference_mode\(\)"):
        check_usable(nn.Linear(3, 2))


def test_a_lazy_layer_has_no_shape_to_discover() -> None:
    with pytest.raises(InvalidInput, match=r"the weight of layer '0' \(LazyLinear\) has no shape yet"):
        discover(nn.Sequential(nn.LazyLinear(2)), torch.zeros(1, 3))
