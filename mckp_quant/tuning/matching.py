"""Matches the features of a quantised network to those of the float network, on average."""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..common.renamed import OUTPUTS, renamed_keywords
from ..errors import InvalidInput
from ..evaluation.evaluator import Evaluator
from ..network.batches import as_batch, evaluating, forward
from ..network.discovery import is_layer
from ..network.outputs import Outputs
from ..rounding.inputs import input_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..network.batch import Batch

STRENGTHS = (0.0, 0.5, 1.0)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm)
_LARGEST_SCALE = 2.0  # a channel that would have to be stretched by more is noise, or dead


class _Seen(Exception):
    """The modules of interest have run: the rest of the network need not."""


@dataclass(frozen=True, eq=False)
class Matched:
    """A quantised network whose features were matched to those of the float network.

    Attributes
    ----------
    model
        A copy of the quantised network with other biases and normalisations; weights are as they were.
    original
        The quantised network that was given, untouched.
    strength
        How much of the difference between the features was taken away: 0 (nothing helped), 0.5 or 1.
    before, after
        Divergence from the float network on halves of the data that the correction had not seen.
    corrected
        The names of the modules that were changed; empty for strength 0.
    """

    model: nn.Module
    original: nn.Module
    strength: float
    before: float
    after: float
    corrected: tuple[str, ...]


@renamed_keywords(**OUTPUTS)
def match_features(
    model: nn.Module, reference: nn.Module, batches: Iterable[object], *, outputs: Outputs = Outputs()
) -> Matched:
    """Make the features of a quantised network agree with those of the float network, on average.

    After EvoQ (Yuan, Chen, Hu and Peng, 2020), which calibrates outputs and intermediate features on the search's own
    samples; how is not public. Here every normalisation gets the scale and shift at which each channel has the float
    network's mean and spread on the same samples. Every layer that does not feed a normalisation gets the bias at which
    it has the float network's mean; where it has no bias, one is added. Corrections are made from the input to the
    output, each with those before it in place. How much of them is applied, in `STRENGTHS`, is chosen by
    cross-validation: fitted on one half of the samples and judged on the other, both ways. Where nothing helps, nothing
    is done.

    Parameters
    ----------
    model
        The quantised network, such as `apply` makes; it is left as it was.
    reference
        The float network; it is left as it was.
    batches
        At least two, or one tensor of several samples. Targets are not used.
    outputs
        What both networks return, and what their numbers mean.

    Returns
    -------
    matched
        With a corrected copy.

    Raises
    ------
    InvalidInput
        When there is not enough to cross-validate, or the two networks do not have the same modules.
    """
    data, take = list(outputs.batches(batches, model)), outputs.logits
    if list(dict(model.named_modules())) != list(dict(reference.named_modules())):
        raise InvalidInput("the two networks have different modules: match a network to the one that it came from")
    halves = _halves(data)
    worth = dict.fromkeys(STRENGTHS, 0.0)
    for fit, judge in (halves, halves[::-1]):
        evaluator = Evaluator(reference, judge, outputs=outputs)
        for strength in STRENGTHS:
            made, _ = _corrected(model, reference, fit, strength, take)
            worth[strength] += evaluator.evaluate_model(made).kl / 2
    best = min(STRENGTHS, key=worth.__getitem__)
    made, names = _corrected(model, reference, data, best, take)
    return Matched(made, model, best, worth[0.0], worth[best], names)


def _halves(data: Sequence[Batch]) -> tuple[list[Batch], list[Batch]]:
    """Every other batch, and the others; a single batch is cut in the middle."""
    if len(data) > 1:
        return list(data[::2]), list(data[1::2])
    (batch,) = data
    if batch.size < 2 or not isinstance(batch.inputs, Tensor):
        raise InvalidInput(
            "features are matched on some samples and judged on others: give at least two batches, or one tensor of "
            "several samples"
        )
    middle = batch.size // 2
    return [as_batch(batch.inputs[:middle])], [as_batch(batch.inputs[middle:])]


def _corrected(
    model: nn.Module,
    reference: nn.Module,
    data: Sequence[Batch],
    strength: float,
    take: Callable[..., object] | None,
) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy with this much of the correction, and the names of what was changed."""
    made = copy.deepcopy(model)
    if not strength:
        return made, ()
    order = _correctable(reference, data[0], take)
    corrected = []
    with evaluating(reference), evaluating(made), torch.no_grad():
        wanted = _moments(reference, order, data, take)
        for name in order:
            own = _moments(made, {name: order[name]}, data, take)
            if name in own and name in wanted:  # what runs may depend on the features, as experts do
                _match(made.get_submodule(name), own[name], wanted[name], strength)
                corrected.append(name)
    return made, tuple(corrected)


def _correctable(model: nn.Module, batch: Batch, take: Callable[..., object] | None) -> dict[str, int]:
    """Normalisations with scale and shift, and layers that do not feed one directly, in the order in which they run.

    With how many times each is called.
    """
    names = {module: name for name, module in model.named_modules()}
    order: dict[str, None] = {}
    calls: Counter[str] = Counter()
    makers: dict[int, tuple[Tensor, str]] = {}  # holds the tensors, so that no identity is used again

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        name = names[module]
        calls[name] += 1
        if isinstance(module, _NORMS):
            if not _affine(module):
                return
            fed = makers.get(id(input_of(args, kwargs)))
            if fed is not None:
                order.pop(fed[1], None)
        elif isinstance(result, Tensor):
            makers[id(result)] = (result, name)
        order[name] = None

    with evaluating(model), contextlib.ExitStack() as hooks, torch.no_grad():
        for module in names:
            if isinstance(module, _NORMS) or (is_layer(module) and not isinstance(module, nn.Embedding)):
                hooks.callback(module.register_forward_hook(note, with_kwargs=True).remove)
        forward(model, batch.head(1), take)
    return {name: calls[name] for name in order}


def _affine(module: nn.Module) -> bool:
    """Whether it has a scale and a shift for each channel."""
    scale, shift = module._parameters.get("weight"), module._parameters.get("bias")
    return scale is not None and shift is not None and scale.ndim == 1


def _moments(
    model: nn.Module, calls: Mapping[str, int], data: Sequence[Batch], take: Callable[..., object] | None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation of every channel of modules, over samples, calls, and positions without padding."""
    sums: dict[str, list[Tensor]] = {}
    modules = {model.get_submodule(name): name for name in calls}
    left: Counter[str] = Counter()

    def watch(module: nn.Module, args: tuple[Any, ...], result: Tensor) -> None:
        counted = batch.counted(result) if isinstance(module, _CHANNELS_LAST) else None
        rows = _by_channel(module, result if counted is None else result[counted]).double()
        count = torch.tensor(float(len(rows)), dtype=torch.float64)
        new = [count, rows.sum(dim=0), rows.square().sum(dim=0)]
        old = sums.setdefault(modules[module], [torch.zeros_like(each) for each in new])
        sums[modules[module]] = [a + b for a, b in zip(old, new, strict=True)]
        left[modules[module]] -= 1
        if not +left:
            raise _Seen

    with contextlib.ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(watch).remove)
        for batch in data:
            left.update(calls)
            with contextlib.suppress(_Seen):
                forward(model, batch, take)
            left.clear()
    found = {}
    for name, (count, total, squares) in sums.items():
        if not count:
            continue
        mean = total / count
        found[name] = mean, (squares / count - mean.square()).clamp(min=0).sqrt()
    return found


def _by_channel(module: nn.Module, result: Tensor) -> Tensor:
    """``(samples and positions, channels)``."""
    moved = result if isinstance(module, _CHANNELS_LAST) else result.movedim(1, -1)
    return moved.reshape(-1, moved.shape[-1])


def _match(module: nn.Module, own: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], strength: float) -> None:
    """Bring a module's channels towards the wanted mean (and spread, for a normalisation), in place."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    shift = strength * (wanted[0] - own[0])
    if not isinstance(module, _NORMS):
        if module._parameters.get("bias") is None:
            module.bias = nn.Parameter(torch.zeros(len(shift), dtype=weight.dtype, device=weight.device))
        assert isinstance(module.bias, Tensor)
        module.bias += shift.to(module.bias)
        return
    bias = module.bias
    assert isinstance(bias, Tensor)
    alive = (own[1] > 0) & (wanted[1] > 0)
    scale = torch.where(alive, wanted[1] / own[1].clamp(min=torch.finfo(torch.float64).tiny), 1.0)
    scale = scale.clamp(1 / _LARGEST_SCALE, _LARGEST_SCALE) ** strength
    centre = own[0]
    bias.copy_(scale * (bias.double() - centre) + centre + shift)
    weight.copy_(scale * weight.double())
