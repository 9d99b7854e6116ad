"""Learns scales, biases and norms of a rounded network on its own distance from the float one."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..network.batches import evaluating, float_logits, forward
from ..network.weight_uses import uses_in
from ..rounding.encoded import EncodedWeight, decode_weight
from ..rounding.rows import from_channel_rows, per_element

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..evaluation.evaluator import Evaluator
    from ..evaluation.figures import Evaluation
    from ..network.batch import Batch
    from ..rounding.encoded import StoredWeight
    from .in_order import Chosen

_RATE = 1e-3  # of biases and norms, and of the logarithms of scales: a thousandth a step
_LOOKS = 20  # how often the batches held back are looked at


@dataclass(frozen=True, eq=False)
class Learned:
    """The best network on the way.

    Attributes
    ----------
    model
        The network.
    stored
        Its codes, by the name of the layer.
    found
        How it did on the batches held back.
    steps
        After how many steps that was; 0 where nothing was better than the start.
    """

    model: nn.Module
    stored: Mapping[str, StoredWeight]
    found: Evaluation
    steps: int


def learn(
    model: nn.Module,
    reference: nn.Module,
    data: Sequence[Batch],
    chosen: Sequence[Chosen],
    stored: Mapping[str, StoredWeight],
    *,
    evaluator: Evaluator,
    steps: int,
    seed: int = 0,
    report: Callable[[int], None] = lambda step: None,
) -> Learned:
    """Bring a rounded network nearer to the float one by gradient descent (Adam) on their divergence.

    No targets are used. Biases, norms and the scales of weights are learned (after Chen et al., 2024, *EfficientQAT*),
    each scale rounded to what it is stored as in every step; codes and zero points stay. The network that was best on
    the batches held back is given, the first one included.

    Parameters
    ----------
    model
        The network to begin with; it is left as it was.
    reference
        The float network.
    data
        What is learned from, one batch a step, in an order drawn from `seed`.
    chosen, stored
        The layers with their formats, and their codes. Layers without codes stay as they are.
    evaluator
        Holds the batches that judge.
    steps
        How many steps are taken; the rate falls to 0 along a cosine.
    seed
        Of the order of batches.
    report
        Called with the number of steps taken.

    Returns
    -------
    learned
        The best network on the way.

    Raises
    ------
    InvalidInput
        When the divergence is not finite.
    """
    best = Learned(model, stored, evaluator.evaluate_model(model), 0)
    take, likelihood = evaluator.outputs.logits, evaluator.outputs.distribution
    wanted = float_logits(reference, data, take)
    made = copy.deepcopy(model)
    uses, names = uses_in(made), {id(parameter): name for name, parameter in made.named_parameters()}
    grids = {}
    for each in chosen:
        own = stored[each.layer.name]
        if isinstance(own, EncodedWeight):
            weight = uses[each.layer.name].weight
            grids[names[id(weight)]] = _Learnt(each, own, weight.device)
    free = [each for name, each in made.named_parameters() if each.ndim == 1 and each.is_floating_point()]
    groups = [
        {"params": free, "lr": _RATE},
        {"params": [each.logarithm for each in grids.values() if each.logarithm.requires_grad], "lr": _RATE},
    ]
    optimiser = torch.optim.Adam([group for group in groups if group["params"]])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    frame = _Frame(made, grids)
    with evaluating(made):
        for parameter in made.parameters():
            parameter.requires_grad_(False)
        for parameter in free:
            parameter.requires_grad_()
        for step in range(1, steps + 1):
            order = order or torch.randperm(len(data), generator=generator).tolist()
            at = order.pop()
            loss = likelihood.mean_divergence(forward(frame, data[at], take), wanted[at], data[at])
            if not bool(torch.isfinite(loss)):
                raise InvalidInput(f"learning fails at step {step}: the divergence is {loss.item()}; leave out steps=")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            report(step)
            if step % max(1, steps // _LOOKS) == 0 or step == steps:
                best = _better(best, frame, stored, evaluator, step)
    return best


def _better(best: Learned, frame: _Frame, stored: Mapping[str, StoredWeight], judge: Evaluator, step: int) -> Learned:
    model, own = frame.rounded()
    found = judge.evaluate_model(model)
    return Learned(model, {**stored, **own}, found, step) if found.kl < best.found.kl else best


class _Learnt:
    """The scales of one layer as numbers that can be learned; its codes stay."""

    def __init__(self, chosen: Chosen, stored: EncodedWeight, device: torch.device) -> None:
        scheme = chosen.entry.weight_scheme
        assert scheme is not None
        self.chosen, self._stored, self._scheme = chosen, stored, scheme
        self._kind = torch.float16 if scheme.scale == "float16" else torch.float32
        self._scales = stored.scales.to(device, torch.float32)
        self.logarithm = torch.zeros_like(self._scales, requires_grad=True)
        steps = stored.elements.to(device, torch.float32)
        if stored.zero_points is not None:
            steps = steps - per_element(stored.zero_points.to(device, torch.float32), scheme, chosen.layer)
        self._steps = steps * stored.tensor_scale
        # A scale that is a power of two, as in the blocks of mxfp4, has no room to learn.
        self.logarithm.requires_grad_(scheme.scale in {"float32", "float16"})

    def weight(self) -> Tensor:
        """The weight, with gradients to its scales."""
        exact = self._scales * self.logarithm.exp()
        scales = exact + (self._rounded_scales() - exact).detach()
        return from_channel_rows(self._steps * per_element(scales, self._scheme, self.chosen.layer), self.chosen.layer)

    def _rounded_scales(self) -> Tensor:
        learnt = (self._scales * self.logarithm.detach().exp()).to(self._kind).float()
        return torch.where((learnt > 0) & torch.isfinite(learnt), learnt, self._scales)

    def stored(self) -> EncodedWeight:
        """As it is stored."""
        own = self._stored
        scales = self._rounded_scales()
        return EncodedWeight(own.elements, scales, own.zero_points, own.tensor_scale).compact(self.chosen.entry)


class _Frame(nn.Module):
    """A network whose weights are made from what is learned, afresh at each call."""

    def __init__(self, model: nn.Module, grids: Mapping[str, _Learnt]) -> None:
        super().__init__()
        self.model, self._grids = model, grids

    def forward(self, *args: Tensor, **kwargs: Tensor) -> object:
        """What the network returns."""
        types = dict(self.model.named_parameters())
        weights = {name: grid.weight().to(types[name].dtype) for name, grid in self._grids.items()}
        return torch.func.functional_call(self.model, weights, args, kwargs)

    def rounded(self) -> tuple[nn.Module, dict[str, StoredWeight]]:
        """A copy of the network with the weights that are stored, and their codes."""
        made, own = copy.deepcopy(self.model), {}
        parameters = dict(made.named_parameters())
        with torch.no_grad():
            for name, grid in self._grids.items():
                layer, entry = grid.chosen.layer, grid.chosen.entry
                own[layer.name] = grid.stored()
                parameters[name].copy_(decode_weight(own[layer.name], entry, layer, parameters[name].dtype))
        return made, dict(own)
