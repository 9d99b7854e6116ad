"""Folds batch norms into the layers before them, as most runtimes do."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...network.batches import as_batches
from ...network.weight_uses import MIXTURES, uses_in
from .reads import Reads, check_same, has_hooks, replace_module

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ...network.weight_uses import WeightUse

_CHECKED = 4  # batches on which the outputs are compared
_FORWARDS = (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward)


def fold_batch_norms(model: nn.Module, batches: Iterable[object]) -> nn.Module:
    """Fold every batch norm that directly follows a layer into the layer's weight and bias.

    In eval mode a batch norm multiplies each channel by a number and adds another (Jacob et al., 2018, *Quantization
    and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*, section 3.2). It is folded where a
    pass of the network shows that it reads the very tensor that a convolution or linear layer gives, once a pass, and
    that nothing else reads that tensor. Layers whose weight another module uses too, norms that use the statistics of
    the batch, and modules with hooks are left alone.

    Parameters
    ----------
    model
        The float network; it is given back as it was.
    batches
        As for `measure`, one is enough; targets are not used. The first one is watched, and on the first few the
        outputs are compared.

    Returns
    -------
    folded
        A copy, in the modes of `model`, whose folded norms are ``nn.Identity``. It is meant for eval mode.

    Raises
    ------
    InvalidInput
        When the model fails on a batch, or the copy's outputs differ by more than rounding.
    """
    return fold_with_factors(model, batches)[0]


def fold_with_factors(
    model: nn.Module, batches: Iterable[object], left: Collection[str] = ()
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Fold batch norms as `fold_batch_norms` does, and say by what each layer's weight was multiplied.

    Codes of the weight that was, with their scales times these factors, are codes of the folded weight.

    Parameters
    ----------
    model, batches
        As for `fold_batch_norms`.
    left
        Names of layers that are left as they are.

    Returns
    -------
    folded
        The copy.
    factors
        From the names of folded layers to ``(channels,)`` float64.

    Raises
    ------
    InvalidInput
        As `fold_batch_norms` does.
    """
    data = list(itertools.islice(as_batches(batches, model), _CHECKED))
    made = copy.deepcopy(model)
    reads = Reads.of(made, data[0].head(1))
    uses = {name: use for name, use in uses_in(made).items() if name not in left}
    by_output = {id(reads.outputs[use.module]): name for name, use in uses.items() if use.module in reads.outputs}
    factors: dict[str, Tensor] = {}
    for norm in list(made.modules()):
        name = by_output.get(id(reads.inputs[norm])) if norm in reads.inputs else None
        if name is not None and _foldable(norm, uses[name], reads):
            factors[name] = _fold(norm, uses[name])
            replace_module(made, norm, nn.Identity().train(norm.training))
    check_same(model, made, data, "folding batch norms")
    return made, factors


def _foldable(norm: nn.Module, use: WeightUse, reads: Reads) -> bool:
    layer = use.module
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or type(norm).forward not in _FORWARDS:
        return False
    if use.kind in {*MIXTURES, "embedding"} or use.obstacle or norm.running_mean is None or norm.running_var is None:
        return False
    output = reads.outputs[layer]
    # The norm's channels are dimension 1: a linear layer's only where its output has no positions.
    if output.ndim != (2 if use.kind == "linear" else use.weight.ndim) or norm.num_features != use.channels:
        return False
    once = reads.calls[layer] == reads.calls[norm] == 1 and reads.readers(output) - {layer} == {norm}
    parameters = (use.weight, getattr(layer, "bias", None))
    return once and reads.only_by(layer, parameters) and not has_hooks(layer) and not has_hooks(norm)


def _factor(norm: nn.modules.batchnorm._BatchNorm) -> Tensor:
    """What the norm multiplies each channel by in eval mode, float64."""
    assert isinstance(norm.running_var, Tensor)
    slope = norm.weight.detach().double() if norm.affine else torch.ones_like(norm.running_var).double()
    return slope / (norm.running_var.double() + norm.eps).sqrt()


def _fold(norm: nn.Module, use: WeightUse) -> Tensor:
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    assert isinstance(norm.running_mean, Tensor)
    weight, bias = use.weight, getattr(use.module, "bias", None)
    mean, factor = norm.running_mean.double(), _factor(norm)
    shift = norm.bias.detach().double() if norm.affine else torch.zeros_like(mean)
    old = torch.zeros_like(mean) if bias is None else bias.detach().double()
    with torch.no_grad():
        weight.copy_(_channelwise(weight.double(), factor, use))
        new = ((old - mean) * factor + shift).to(weight.dtype)
        if bias is None:
            use.module.bias = nn.Parameter(new, requires_grad=weight.requires_grad)
        else:
            bias.copy_(new)
    return factor


def _channelwise(weight: Tensor, factor: Tensor, use: WeightUse) -> Tensor:
    """The weight with each output channel times a number."""
    if not isinstance(use.module, nn.modules.conv._ConvTransposeNd):
        return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    # (inputs, outputs of a group, ...): the outputs of a group belong to that group's inputs.
    groups = use.module.groups
    by_group = factor.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    return (weight.reshape(groups, -1, *weight.shape[1:]) * by_group).reshape(weight.shape)
