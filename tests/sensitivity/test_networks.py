"""One list of networks, and what has to hold for every one of them: to add a network, add an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mckp_quant as mq
from mckp_quant.formats.format import as_formats
from mckp_quant.network.batches import as_batch, evaluating, forward
from mckp_quant.network.discovery import discover, uses_of
from mckp_quant.network.likelihood import SampleDraws
from mckp_quant.network.likelihoods import LIKELIHOODS
from mckp_quant.rounding.weights import perturbations
from mckp_quant.sensitivity.engine.rates import Rates

from .tiny import conv_net, perceptron, transformer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Made = tuple[nn.Module, list[Any]]

FORMATS = "w2,w4"
TOKENS = 11


class Block(nn.Module):
    """A residual block with a depthwise convolution and ReLU in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.relu(self.bn(self.depthwise(x))))
        y += x
        return F.relu(y, inplace=True)


class Recycled(nn.Module):
    """One block for all depths, a frozen first layer, RMSNorm, and a head of another type than the body."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8).requires_grad_(False)
        self.block = nn.Linear(8, 8)
        self.norm = nn.RMSNorm(8)
        self.head = nn.Linear(8, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(3):
            x = x + F.silu(self.block(self.norm(x)))
        logits: Tensor = self.head(x.double())
        return logits


class Experts(nn.Module):
    """Three experts in one tensor for each of their two weights; every token goes to one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.num_experts, self.is_transposed = 3, False
        self.gate_up_proj = nn.Parameter(torch.randn(3, 8, 5) / 2)
        self.down_proj = nn.Parameter(torch.randn(3, 5, 4) / 2)

    def forward(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        gate, up = torch.einsum("ni,noi->no", tokens, self.gate_up_proj[chosen]).chunk(2, dim=1)
        return torch.einsum("ni,noi->no", F.silu(gate) * up, self.down_proj[chosen])


class Mixture(nn.Module):
    """Experts that are called by keywords."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(5, 3)
        self.experts = Experts()
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        share, chosen = self.router(tokens).softmax(dim=1).max(dim=1)
        mixed = self.experts(tokens=tokens, chosen=chosen) * share[:, None]
        logits: Tensor = self.head(mixed.reshape(x.shape))
        return logits


def built(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def noise(*shape: int) -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(*shape, generator=generator) for _ in range(2)]


def residual() -> Made:
    model = built(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), Block(4), Block(4), nn.Conv2d(4, 4, 2, groups=2), nn.Flatten(), nn.Linear(36, 3)
        )
    )
    return model, noise(3, 3, 6, 6)


def language_model(kind: str, **more: Any) -> Made:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=TOKENS,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16,
        initializer_range=0.5,
        **more,
    )
    model = built(lambda: transformers.AutoModelForCausalLM.from_config(config))
    generator = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(2):
        tokens = torch.randint(0, TOKENS, (3, 5), generator=generator)
        mask = torch.ones_like(tokens)
        mask[1, 3:] = 0
        batches.append({"input_ids": tokens, "attention_mask": mask, "labels": tokens.masked_fill(mask == 0, -100)})
    return model, batches


def small(made: tuple[nn.Module, Tensor]) -> Made:
    model, inputs = made
    return model.train(), [inputs[:4], inputs[4:7]]


def half(made: tuple[nn.Module, Tensor], dtype: torch.dtype) -> Made:
    model, inputs = made
    inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
    return model.to(dtype).train(), [inputs[:4], inputs[4:7]]


NETWORKS: dict[str, Callable[[], Made]] = {
    "a layer called twice": lambda: small(perceptron()),
    "grouped, depthwise and transposed convolutions": lambda: small(conv_net()),
    "residual, in place": residual,
    "fused attention, tied embedding": lambda: small(transformer()),
    "a weight used without its module": lambda: small(transformer(positions="weight")),
    "shared block, frozen layer, mixed types": lambda: (built(Recycled), noise(3, 5, 6)),
    "experts called by keywords": lambda: (built(Mixture), noise(3, 6, 5)),
    "bfloat16": lambda: half(transformer(), torch.bfloat16),
    "float16": lambda: half(perceptron(), torch.float16),
    "Llama": lambda: language_model("Llama"),
    "Qwen2, tied": lambda: language_model("Qwen2", tie_word_embeddings=True),
    "Qwen3": lambda: language_model("Qwen3", head_dim=4),
    "Mixtral": lambda: language_model("Mixtral", num_local_experts=4),
}
LOW_PRECISION = {"bfloat16": 0.1, "float16": 0.02}


def by_autograd(model: nn.Module, batches: list[Any], *, summed: set[str]) -> NDArray[np.float64]:
    """The Gauss-Newton estimate of seed 0, from whole weight gradients of one sample at a time."""
    columns, likelihood = as_formats(FORMATS), LIKELIHOODS["categorical"]
    layers = discover(model, batches[0])
    uses = uses_of(model, layers)
    errors = {layer.name: perturbations(uses[layer.name].weight, columns, layer).double() for layer in layers}
    total, weight = torch.zeros(len(layers), len(columns), dtype=torch.float64), 0.0
    first = 0
    with evaluating(model):
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        for entry in batches:
            batch = as_batch(unlabelled(entry))
            logits = forward(model, batch)
            vectors = likelihood.curvature_probe(logits, SampleDraws.of(0, first, batch.size))
            first += batch.size
            tokens = likelihood.positions(logits)
            mask = entry["attention_mask"] if isinstance(entry, dict) else None
            if mask is not None:
                vectors = vectors * mask[..., None]
            weight += float(batch.size if mask is None else mask.sum() / tokens)
            for row, layer in enumerate(layers):
                rows = (
                    [list(range(batch.size))] if {layer.kind, layer.name} & summed else [[n] for n in range(batch.size)]
                )
                for kept in rows:
                    part = torch.zeros_like(vectors)
                    part[kept] = vectors[kept]
                    (gradient,) = torch.autograd.grad(logits, uses[layer.name].weight, part, retain_graph=True)
                    products = errors[layer.name].flatten(1) @ gradient.double().flatten()
                    total[row] += products.square() / (2 * tokens)
    return (total / weight).numpy()


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[str, nn.Module, list[Any]]:
    return request.param, *NETWORKS[request.param]()


def test_every_estimate_is_that_of_autograd(network: tuple[str, nn.Module, list[Any]]) -> None:
    name, model, batches = network
    table = mq.measure(model, batches, formats=FORMATS)
    expected = by_autograd(model, batches, summed={"experts", "pos"})
    tolerance = LOW_PRECISION.get(name, 1e-3)
    scale = expected.max(axis=0)
    np.testing.assert_allclose(table.loss / scale, expected / scale, rtol=tolerance, atol=tolerance * 1e-3)
    assert (table.loss > 0).all()
    assert np.isfinite(table.stderr).all()


def test_the_least_memory_changes_no_bit(network: tuple[str, nn.Module, list[Any]]) -> None:
    _, model, batches = network
    free = mq.measure(model, batches, formats=FORMATS)
    rates = Rates(1e9, (1e-9, 1e-9), again=(1e-9, 1e-9))
    least = mq.plan(model, batches[0], formats=FORMATS, rates=rates).least
    bound = mq.measure(model, batches, formats=FORMATS, run=mq.RunOptions(memory_limit=least))
    for found, expected in ((bound.loss, free.loss), (bound.stderr, free.stderr)):
        np.testing.assert_array_equal(found, expected)
    assert bound.contributions is not None
    assert free.contributions is not None
    np.testing.assert_array_equal(bound.contributions, free.contributions)


def test_measured_divergence_is_that_of_the_quantised_copy(network: tuple[str, nn.Module, list[Any]]) -> None:
    name, model, batches = network
    row = -1
    table = mq.measure(model, batches[:1], formats="w2", method="measured_kl")
    policy = mq.Policy((table.layers[row].name,), table.formats)
    batch = as_batch(unlabelled(batches[0]))
    with evaluating(model), torch.no_grad():
        own = forward(model, batch).double().log_softmax(dim=-1)
    copy = mq.apply(model, policy).eval()
    with torch.no_grad():
        other = forward(copy, batch).double().log_softmax(dim=-1)
    kl = (own.exp() * (own - other)).sum(dim=-1)
    counted = batch.counted(own)
    expected = float(kl.mean() if counted is None else kl[counted].mean())
    assert table.loss[row, 0] == pytest.approx(expected, rel=LOW_PRECISION.get(name, 1e-4))


def unlabelled(entry: Any) -> Any:
    return {name: each for name, each in entry.items() if name != "labels"} if isinstance(entry, dict) else entry


def state_of(model: nn.Module) -> list[object]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return [
        [len(getattr(module, kind)) for module in model.modules() for kind in kinds],
        [module.training for module in model.modules()],
        [id(module.__dict__.get("forward")) for module in model.modules()],
        [(id(each), each.requires_grad, each.grad) for each in model.parameters()],
        [each.detach().double().sum().item() for each in [*model.parameters(), *model.buffers()]],
        torch.get_rng_state().tolist(),
    ]


@pytest.mark.parametrize("method", ["gauss_newton", "measured_kl"])
def test_the_network_is_as_before_also_after_an_exception(
    network: tuple[str, nn.Module, list[Any]], method: str
) -> None:
    _, model, batches = network
    before = state_of(model)
    mq.measure(model, batches[:1], formats="w2", method=method)
    assert state_of(model) == before

    def failing(returned: object) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        mq.measure(model, batches, formats="w2", method=method, outputs=mq.Outputs(take=failing))
    assert state_of(model) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_network_on_a_gpu_gives_the_numbers_of_the_cpu() -> None:
    for make in (NETWORKS["residual, in place"], NETWORKS["Llama"], NETWORKS["Mixtral"]):
        model, batches = make()
        expected = mq.measure(model, batches, formats=FORMATS)
        found = mq.measure(model.cuda(), batches, formats=FORMATS, run=mq.RunOptions(memory_limit="1GB"))
        np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-2)
