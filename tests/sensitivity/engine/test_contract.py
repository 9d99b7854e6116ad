from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mckp_quant.sensitivity.engine import contract
from mckp_quant.sensitivity.engine.contract import has_sample_rows, per_sample_products

CASES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear, one position": (nn.Linear(5, 3), (4, 5)),
    "linear, few positions": (nn.Linear(5, 3), (4, 2, 5)),
    "linear, many positions": (nn.Linear(5, 3), (4, 8, 5, 5)),
    "conv1d": (nn.Conv1d(3, 4, 3, stride=2, padding=1, dilation=2), (4, 3, 11)),
    "conv2d": (nn.Conv2d(3, 4, 3, padding=1), (4, 3, 6, 5)),
    "conv2d, unequal sides": (nn.Conv2d(3, 4, (1, 3), stride=(2, 1), padding=(0, 1), dilation=(1, 2)), (4, 3, 6, 5)),
    "conv2d, grouped": (nn.Conv2d(4, 6, 3, groups=2), (4, 4, 6, 5)),
    "conv2d, depthwise": (nn.Conv2d(4, 8, 3, groups=4), (4, 4, 6, 5)),
    "conv2d, strided and dilated": (nn.Conv2d(3, 4, 3, stride=(2, 1), padding=(2, 1), dilation=2), (4, 3, 5, 4)),
    "conv2d, few positions": (nn.Conv2d(16, 16, 3), (4, 16, 3, 3)),
    "conv2d, wide": (nn.Conv2d(64, 64, 3, padding=1), (4, 64, 5, 5)),
    "conv2d, wide and grouped": (nn.Conv2d(32, 32, 3, groups=2), (4, 32, 3, 3)),
    "conv2d, same": (nn.Conv2d(3, 4, (2, 3), padding="same", dilation=(1, 2)), (4, 3, 6, 7)),
    "conv2d, valid": (nn.Conv2d(3, 4, 3, padding="valid"), (4, 3, 6, 5)),
    "conv2d, circular": (nn.Conv2d(3, 4, 3, padding=(1, 2), padding_mode="circular"), (4, 3, 6, 5)),
    "conv2d, reflected, same": (nn.Conv2d(3, 4, (3, 2), padding="same", padding_mode="reflect"), (4, 3, 6, 5)),
    "conv3d": (nn.Conv3d(2, 3, 2, padding=1), (4, 2, 3, 4, 3)),
    "conv3d, unequal sides": (nn.Conv3d(2, 3, (3, 2, 1), padding=(1, 0, 1), dilation=(1, 2, 1)), (4, 2, 3, 4, 2)),
    "conv_transpose1d": (nn.ConvTranspose1d(4, 3, 3, stride=2, padding=1, output_padding=1), (4, 4, 5)),
    "conv_transpose2d, grouped": (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, dilation=2), (4, 4, 3, 4)),
    "conv_transpose2d": (nn.ConvTranspose2d(3, 5, (2, 3), stride=2, padding=1), (4, 3, 3, 3)),
    "conv_transpose3d": (nn.ConvTranspose3d(2, 3, 2), (4, 2, 2, 3, 2)),
    "embedding": (nn.Embedding(7, 3), (4, 6)),
    "embedding, one token": (nn.Embedding(7, 3), (4,)),
}
FORMATS = 3

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


def drawn(case: str) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    module, shape = CASES[case]
    module = module.double()
    generator = torch.Generator().manual_seed(1)
    if isinstance(module, nn.Embedding):
        inputs = torch.randint(0, module.num_embeddings, shape, generator=generator)
    else:
        inputs = torch.randn(shape, generator=generator, dtype=torch.float64)
    weight = module.get_parameter("weight")
    directions = torch.randn((FORMATS, *weight.shape), generator=generator, dtype=torch.float64)
    gradient = torch.randn(module(inputs).shape, generator=generator, dtype=torch.float64)
    return module, inputs, gradient, directions


def looped(module: nn.Module, inputs: Tensor, gradient: Tensor, directions: Tensor, samples: int) -> Tensor:
    rows = []
    for x, d in zip(inputs.chunk(samples), gradient.chunk(samples), strict=True):
        (weight_gradient,) = torch.autograd.grad((module(x) * d).sum(), module.get_parameter("weight"))
        rows.append(directions.flatten(1) @ weight_gradient.flatten())
    return torch.stack(rows)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("chunk", "ratio", "few"), [(2**22, 1024, 48), (1, math.inf, 0), (2**22, 0, 0), (2**22, 1024, math.inf)]
)
def test_products_equal_autograd_gradients_times_directions(
    case: str, chunk: int, ratio: float, few: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "_CONTRACTION_IN_POSITIONS", few)
    monkeypatch.setattr(contract, "_CHUNK_ELEMENTS", chunk)
    monkeypatch.setattr(contract, "_WEIGHTS_PER_POSITION", ratio)
    module, inputs, gradient, directions = drawn(case)
    with torch.no_grad():
        products = per_sample_products(module, inputs, gradient, directions, 4)
    torch.testing.assert_close(products, looped(module, inputs, gradient, directions, 4), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_rows_that_belong_to_one_sample_are_summed(case: str) -> None:
    module, inputs, gradient, directions = drawn(case)
    with torch.no_grad():
        products = per_sample_products(module, inputs, gradient, directions, 2)
    torch.testing.assert_close(products, looped(module, inputs, gradient, directions, 2), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", ["linear, many positions", "conv2d", "conv2d, wide", "conv_transpose1d", "embedding"])
def test_half_precision_is_computed_in_the_dtype_of_the_directions(case: str) -> None:
    module, inputs, gradient, directions = drawn(case)
    half = inputs if inputs.dtype == torch.int64 else inputs.bfloat16()
    with torch.no_grad():
        products = per_sample_products(module, half, gradient.bfloat16(), directions, 4)
        exact = per_sample_products(module, half.to(inputs.dtype), gradient.bfloat16().double(), directions, 4)
    torch.testing.assert_close(products, exact, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("case", "form"),
    [
        ("conv2d", "_grouped_gradients"),
        ("conv2d, few positions", "_applied"),
        ("conv2d, wide", "_unfolded_gradients"),
        ("conv2d, wide and grouped", "_grouped_gradients"),
    ],
)
def test_the_form_of_a_convolution_follows_its_shape(case: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Called(Exception):
        pass

    def fail(*args: object) -> None:
        raise Called

    monkeypatch.setattr(contract, form, fail)
    with pytest.raises(Called):
        per_sample_products(*drawn(case), 4)


@pytest.mark.parametrize(
    ("module", "shape", "samples", "expected"),
    [
        (nn.Linear(2, 2), (4, 2), 4, True),
        (nn.Linear(2, 2), (4, 2), 2, True),
        (nn.Linear(2, 2), (4, 2), 3, False),
        (nn.Linear(2, 2), (2,), 2, False),
        (nn.Conv1d(2, 2, 1), (2, 4), 2, False),
        (nn.Conv1d(2, 2, 1), (2, 2, 4), 2, True),
        (nn.Embedding(2, 2), (4,), 4, True),
        (nn.Embedding(2, 2), (), 1, False),
    ],
)
def test_sample_rows_are_told_from_inputs_without_them(
    module: nn.Module, shape: tuple[int, ...], samples: int, expected: bool
) -> None:
    assert has_sample_rows(module, torch.zeros(shape), samples) is expected


def test_gradients_formed_in_bfloat16_change_no_loss_by_a_hundredth(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module, samples = nn.Linear(64, 48, bias=False), 32
    inputs, gradient = (torch.randn(samples, 24, size).bfloat16() for size in (64, 48))
    directions = torch.randn(4, 48, 64) * 0.01
    plain = per_sample_products(module, inputs.float(), gradient.float(), directions, samples)
    monkeypatch.setattr(contract, "in_own_type", lambda tensor: tensor.dtype == torch.bfloat16)
    found = per_sample_products(module, inputs, gradient, directions, samples)
    assert found.dtype == torch.float32
    assert not found.equal(plain)
    losses = [each.double().square().mean(dim=0) for each in (found, plain)]
    torch.testing.assert_close(*losses, rtol=0.01, atol=0)
    # With few positions the layer is applied to the directions, which is left in float32.
    few = per_sample_products(module, inputs[:, :2], gradient[:, :2], directions, samples)
    torch.testing.assert_close(
        few, per_sample_products(module, inputs[:, :2].float(), gradient[:, :2].float(), directions, samples)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_only_types_that_the_machine_multiplies_itself_are_their_own(dtype: torch.dtype) -> None:
    tensor = torch.zeros(2, dtype=dtype)
    half = dtype in (torch.float16, torch.bfloat16)
    assert contract.in_own_type(tensor.to("meta")) == half
    assert half or not contract.in_own_type(tensor)
