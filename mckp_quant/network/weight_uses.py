"""The weights in a PyTorch model that can get a format of their own, and the modules that use them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from .checkpoints.plain_names import unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KINDS: dict[type[nn.Module], str] = {
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Conv3d: "conv3d",
    nn.ConvTranspose1d: "conv_transpose1d",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.ConvTranspose3d: "conv_transpose3d",
    nn.Linear: "linear",
    nn.Embedding: "embedding",
}
EXPERTS = "experts"
EXPERTS_TRANSPOSED, LINEAR_TRANSPOSED = "experts_transposed", "linear_transposed"
MIXTURES = frozenset({EXPERTS, EXPERTS_TRANSPOSED})
_MATRIX = 2  # dimensions
_EXPERT_WEIGHTS = ("gate_up_proj", "up_proj", "down_proj")
_QUANTISERS = {"torchao", "bitsandbytes", "compressed_tensors", "optimum", "hqq"}  # whose tensors hold codes
_FLOAT_FIRST = "load the float checkpoint, or dequantise; or leave it out by naming the other layers with layers="


@dataclass(frozen=True)
class WeightUse:
    """A module and the parameter of it that is a weight.

    Attributes
    ----------
    module
        The module: a layer in `KINDS`, a linear layer that keeps its weight as ``(in, out)``, as the ``Conv1D`` of
        GPT-2 does, or one that holds the weights of all experts of a mixture as ``(experts, out, in)`` or
        ``(experts, in, out)``, as Hugging Face models do.
    attribute
        The name of its parameter.
    """

    module: nn.Module
    attribute: str = "weight"

    @property
    def kind(self) -> str:
        """The `Layer.kind`."""
        known = next((kind for base, kind in KINDS.items() if isinstance(self.module, base)), None)
        if known is not None:
            return known
        if is_transposed_linear(self.module):
            return LINEAR_TRANSPOSED
        return EXPERTS_TRANSPOSED if _keeps_transposed(self.module, self.attribute) else EXPERTS

    @property
    def weight(self) -> nn.Parameter:
        """The parameter; raises InvalidInput where it cannot be quantised, see `obstacle`."""
        obstacle = self.obstacle
        if obstacle:
            raise InvalidInput(f"the weight of a {type(self.module).__name__} {obstacle}")
        weight: nn.Parameter = getattr(self.module, self.attribute)
        return weight

    @property
    def obstacle(self) -> str:
        """Why the weight cannot be quantised and what to do, as the end of a sentence; empty where it can be."""
        weight = getattr(self.module, self.attribute, None)
        if weight is None:
            names = {*self.module._parameters, *self.module._buffers}
            packed = sorted(
                name for name in names if name.startswith(f"{self.attribute}_") or name.startswith("qweight")
            )
            if packed:
                by = "compressed-tensors" if "weight_packed" in packed or "weight_scale" in packed else packed[0]
                return f"is already quantised ({by}): {_FLOAT_FIRST}"
            return "is missing: give the module its weight, or leave it out by naming the other layers with layers="
        if isinstance(weight, nn.UninitializedParameter):
            return "has no shape yet: run the model once on an input"
        if not isinstance(weight, nn.Parameter):
            what = type(weight).__name__
            return (
                f"is a {what}, not a parameter: remove parametrisations and weight norms before quantising, or leave "
                "it out by naming the other layers with layers="
            )
        package = type(weight.data).__module__.partition(".")[0]
        if package in _QUANTISERS:
            return f"is already quantised ({package}, {type(weight.data).__name__}): {_FLOAT_FIRST}"
        if not weight.is_floating_point() or weight.dtype.itemsize < 2:
            return f"is already quantised (stored as {weight.dtype}): {_FLOAT_FIRST}"
        return ""

    @property
    def channels(self) -> int:
        """How many scales a per-channel format has: output channels (of every expert), or rows of an embedding."""
        shape = self.weight.shape
        if isinstance(self.module, nn.modules.conv._ConvNd):
            return self.module.out_channels
        if self.kind in MIXTURES:
            return int(shape[0] * shape[1 if self.kind == EXPERTS else 2])
        return int(shape[-1] if self.kind == LINEAR_TRANSPOSED else shape[0])

    def operations(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: object) -> int:
        """Multiply-accumulate operations of one call of the module.

        Parameters
        ----------
        args, kwargs
            What it was called with. Experts are called with the tokens and, for each, the experts chosen.
        output
            What it returned.

        Returns
        -------
        operations
            0 where the output is no tensor, and for an embedding, which only looks up.
        """
        if not isinstance(output, Tensor) or isinstance(self.module, nn.Embedding):
            return 0
        weight = self.weight
        if self.kind in MIXTURES:
            given = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
            chosen = next((each.numel() for each in given if not each.is_floating_point()), 0)
            return chosen * weight[0].numel()
        # Each output entry (of a transposed convolution: input entry) meets all weights of its channel once.
        transposed = isinstance(self.module, nn.modules.conv._ConvTransposeNd)
        entries = next((each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)), output)
        each = weight.shape[0] if self.kind == LINEAR_TRANSPOSED else weight[0].numel()
        return (entries if transposed else output).numel() * each


def is_layer(module: nn.Module) -> bool:
    """Whether the module is of a kind that can be quantised."""
    return isinstance(module, tuple(KINDS)) or is_transposed_linear(module)


def is_transposed_linear(module: nn.Module) -> bool:
    """Whether the module multiplies by a weight of ``(in, out)``, as the ``Conv1D`` of GPT-2 does."""
    kinds = type(module).mro()
    if not any(each.__name__ == "Conv1D" and each.__module__.startswith("transformers.") for each in kinds):
        return False
    weight, outputs = module._parameters.get("weight"), getattr(module, "nf", None)
    return isinstance(weight, nn.Parameter) and weight.ndim == _MATRIX and weight.shape[1] == outputs


def uses_in(model: nn.Module) -> dict[str, WeightUse]:
    """Find every use of a weight that can be quantised.

    Parameters
    ----------
    model
        The model.

    Returns
    -------
    uses
        By name, in registration order, a module that is registered twice under both: for a layer the module's full
        name, for experts the parameter's. The projections inside ``nn.MultiheadAttention`` are left out, because they
        are not called as modules. A use may have an `obstacle`.
    """
    held = {
        inner for module in model.modules() if isinstance(module, nn.MultiheadAttention) for inner in module.modules()
    }
    found = {}
    model = unwrapped(model)
    for name, module in model.named_modules(remove_duplicate=False):
        if is_layer(module) and module not in held:
            found[name] = WeightUse(module)
        for attribute in _expert_weights(module):
            found[f"{name}.{attribute}".lstrip(".")] = WeightUse(module, attribute)
    return found


def left_out(model: nn.Module, uses: Mapping[str, WeightUse]) -> list[str]:
    """The names of parameters of two or more dimensions that are no layer's weight, and so stay in floating point."""
    known = {id(getattr(use.module, use.attribute, None)) for use in uses.values()}
    return [
        name
        for name, parameter in model.named_parameters()
        if has_two_dimensions(parameter) and id(parameter) not in known
    ]


def has_two_dimensions(parameter: nn.Parameter) -> bool:
    """Whether a parameter has a shape of two dimensions and more: others are biases, norms and scales."""
    return not isinstance(parameter, nn.UninitializedParameter) and parameter.ndim >= _MATRIX


def check_usable(model: nn.Module) -> None:
    """Refuse a model whose parameters hold no numbers or cannot be differentiated.

    Parameters
    ----------
    model
        The model.

    Raises
    ------
    InvalidInput
        When a parameter is on the meta device, has no shape yet, or was made under ``torch.inference_mode``; or when
        that mode is on. When the model is something else than a module.
    """
    if not isinstance(model, nn.Module):
        raise InvalidInput(f"model is a {type(model).__name__}: give a torch.nn.Module, with its weights loaded")
    if torch.is_inference_mode_enabled():
        raise InvalidInput("measuring needs gradients: call it outside torch.inference_mode()")
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise InvalidInput(f"parameter {name!r} has no shape yet: run the model once on an input before measuring")
        if parameter.is_meta:
            raise InvalidInput(
                f"parameter {name!r} is on the meta device and holds no numbers: load the weights, or plan without "
                "them by mckp_quant.plan (on the command line --dry-run)"
            )
        if parameter.is_inference():
            raise InvalidInput(
                f"parameter {name!r} was made under torch.inference_mode() and can never be differentiated: make or "
                "load the model outside of it"
            )


def check_overlaps(weights: Mapping[str, nn.Parameter]) -> None:
    """Refuse weights that share some of their memory but not all of it in the same shape.

    Parameters
    ----------
    weights
        One for each distinct place and shape in memory, by the name of a layer.

    Raises
    ------
    InvalidInput
        When two overlap: a change of one would change the other unseen.
    """
    spans = sorted(_spans(weights))
    for (_, end, first), (begin, _, second) in itertools.pairwise(spans):
        if begin < end:
            raise InvalidInput(
                f"layers {first!r} and {second!r} share memory under different shapes or strides "
                f"({tuple(weights[first].shape)} and {tuple(weights[second].shape)}): give one of them a copy "
                "(weight.clone()), or the same parameter"
            )


def _spans(weights: Mapping[str, nn.Parameter]) -> Iterator[tuple[tuple[str, int], tuple[str, int], str]]:
    """The first and the last but one byte of every weight that lies in one piece."""
    for name, weight in weights.items():
        dense = weight.numel() == 1 + sum(
            (size - 1) * step for size, step in zip(weight.shape, weight.stride(), strict=True)
        )
        if dense and not weight.is_meta:
            begin = weight.data_ptr()
            yield (
                (str(weight.device), begin),
                (str(weight.device), begin + weight.numel() * weight.element_size()),
                name,
            )


def _keeps_transposed(module: nn.Module, attribute: str) -> bool | None:
    """Whether experts are ``(experts, in, out)``; None where neither the module nor its shapes say so."""
    said = getattr(module, "is_transposed", None)
    if isinstance(said, bool):
        return said
    width, weight = getattr(module, "hidden_size", None), module._parameters.get(attribute)
    if weight is None or weight.ndim != 1 + _MATRIX or (weight.shape[1] == width) == (weight.shape[2] == width):
        return None
    return (weight.shape[1] == width) != (attribute == "down_proj")


def _expert_weights(module: nn.Module) -> list[str]:
    """Parameters that hold ``(experts, out, in)`` or ``(experts, in, out)`` matrices."""
    experts = getattr(module, "num_experts", None)
    if not isinstance(experts, int):
        return []
    return [
        name
        for name in _EXPERT_WEIGHTS
        if isinstance(weight := module._parameters.get(name), nn.Parameter)
        and not isinstance(weight, nn.UninitializedParameter)
        and weight.ndim == 1 + _MATRIX
        and len(weight) == experts
        and _keeps_transposed(module, name) is not None
    ]
