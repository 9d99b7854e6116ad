"""Learns scales, codes, biases and norms of a rounded network on its own distance from the float one."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..network.batches import evaluating, forward
from ..network.divergence import divergence, float_logits
from ..network.weight_uses import uses_in
from ..rounding.encoded import EncodedWeight, decode_weight
from ..rounding.rows import channel_rows, from_channel_rows, per_element

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..evaluation.evaluator import Evaluation, Evaluator
    from ..network.batch import Batch
    from ..rounding.encoded import StoredWeight
    from .in_order import Chosen

_RATE = 1e-3  # of biases and norms, and of the logarithms of scales: a thousandth a step
_CODE_RATE = 1e-2  # of codes, in steps of the grid
_LOOKS = 20  # how often the batches held back are looked at
_EDGE = 0.49  # how far from its code a weight may begin, in steps of the grid


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
    codes: bool = True,
    seed: int = 0,
    report: Callable[[int], None] = lambda step: None,
) -> Learned:
    """Bring a rounded network nearer to the float one by gradient descent (Adam) on their divergence.

    No targets are used. Biases, norms and the scales of weights are learned (Chen et al., 2024, *EfficientQAT*), each
    scale rounded to what it is stored as in every step; and codes, which move from their number to the next one as in
    quantisation-aware training, with a gradient that passes the rounding as if it were not there (Bengio, Leonard and
    Courville, 2013). A weight begins where the float weight lies, as near to its code as half a step. Zero points stay.
    The network that was best on the batches held back is given, the first one included.

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
    codes
        Whether codes are learned too.
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
    take, likelihood = evaluator.outputs.logits, evaluator.outputs.likelihood
    wanted = float_logits(reference, data, take)
    made = copy.deepcopy(model)
    uses, names = uses_in(made), {id(parameter): name for name, parameter in made.named_parameters()}
    before = uses_in(reference)
    grids = {}
    for each in chosen:
        own = stored[each.layer.name]
        if isinstance(own, EncodedWeight):
            float_weight = before[each.layer.name].weight
            grids[names[id(uses[each.layer.name].weight)]] = _Learnt(each, own, float_weight, codes)
    free = [each for name, each in made.named_parameters() if each.ndim == 1 and each.is_floating_point()]
    groups = [
        {"params": free, "lr": _RATE},
        {"params": [grid.logarithm for grid in grids.values()], "lr": _RATE},
        {"params": [grid.places for grid in grids.values() if codes], "lr": _CODE_RATE},
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
            loss = divergence(forward(frame, data[at], take), wanted[at], data[at], likelihood)
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
    """The codes and scales of one layer as numbers that can be learned."""

    def __init__(self, chosen: Chosen, stored: EncodedWeight, weight: Tensor, codes: bool) -> None:
        self.chosen, self._stored = chosen, stored
        scheme = chosen.entry.weight_scheme
        assert scheme is not None
        self._scheme = scheme
        device = weight.device
        self._scales = stored.scales.to(device, torch.float32)
        self._kind = torch.float16 if scheme.scale == "float16" else torch.float32
        fixed = scheme.family != "integer" or scheme.bits == 1
        self.logarithm = torch.zeros_like(self._scales, requires_grad=True)
        self._elements = stored.elements.to(device, torch.float32)
        zero = 0.0 if stored.zero_points is None else stored.zero_points.to(device, torch.float32)
        self._zero = per_element(zero, scheme, chosen.layer) if isinstance(zero, Tensor) else torch.tensor(zero)
        top = 2 ** (scheme.bits - 1) - 1
        self._least, self._most = (-top, top) if scheme.symmetric else (0, 2**scheme.bits - 1)
        places = self._elements.clone()
        self._moves = codes and not fixed
        if self._moves:
            step = per_element(self._scales, scheme, chosen.layer) * stored.tensor_scale
            where = channel_rows(weight.detach().float(), chosen.layer) / step + self._zero
            places = torch.minimum(torch.maximum(where, places - _EDGE), places + _EDGE)
        self.places = places.requires_grad_()

    def weight(self) -> Tensor:
        """The weight, with gradients to codes and scales."""
        elements = self._elements
        if self._moves:
            elements = self.places + (self._codes() - self.places).detach()
        exact = self._scales * self.logarithm.exp()
        scales = exact + (self._rounded_scales() - exact).detach()
        spread = per_element(scales, self._scheme, self.chosen.layer) * self._stored.tensor_scale
        return from_channel_rows((elements - self._zero) * spread, self.chosen.layer)

    def _codes(self) -> Tensor:
        return self.places.detach().round().clamp(self._least, self._most)

    def _rounded_scales(self) -> Tensor:
        learnt = (self._scales * self.logarithm.detach().exp()).to(self._kind).float()
        return torch.where((learnt > 0) & torch.isfinite(learnt), learnt, self._scales)

    def stored(self) -> EncodedWeight:
        """As it is stored."""
        elements = self._codes() if self._moves else self._elements
        own = EncodedWeight(elements, self._rounded_scales(), self._stored.zero_points, self._stored.tensor_scale)
        return own.compact(self.chosen.entry)


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
