"""Short quantisation-aware fine-tuning of a policy: the float weights behind it learn to live with their rounding."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..common.checks import check_count, check_positive
from ..common.renamed import OUTPUTS, renamed_keywords, run_keywords
from ..common.run_options import RunOptions
from ..errors import InvalidInput
from ..evaluation.simulation import Simulator, apply
from ..network.batches import evaluating, float_logits, forward
from ..network.checkpoints.plain_names import unwrapped
from ..network.outputs import Outputs
from ..network.weight_uses import uses_in
from ..rounding.weights import quantize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..network.batch import Batch
    from ..network.logits import Logits
    from ..policy.policy import Policy


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A network that was trained under a policy.

    Attributes
    ----------
    model
        The float network behind it: export and `apply` start from here.
    quantized
        That network under the policy.
    loss
        The training loss of every step, in nats.
    """

    model: nn.Module
    quantized: nn.Module
    loss: tuple[float, ...]


@renamed_keywords(**OUTPUTS, **run_keywords("seed", "progress"))
def finetune(
    model: nn.Module,
    policy: Policy,
    batches: Iterable[object],
    *,
    steps: int = 100,
    rate: float = 1e-4,
    distil: bool = True,
    other_rounder: bool = False,
    outputs: Outputs = Outputs(),
    run: RunOptions = RunOptions(),
) -> FineTuned:
    """Train the weights under their rounding, with a straight-through estimator.

    In every step the weights that the policy names are rounded afresh (scales follow the weights), the loss is taken on
    the rounded network, and its gradient moves the float weights as if rounding were the identity (Bengio, Leonard and
    Courville, 2013, *Estimating or propagating gradients through stochastic neurons*). The network runs in eval mode:
    batch norms keep their statistics. All floating-point parameters learn; the step falls to zero along a cosine.

    Weights are rounded to nearest, whatever the policy was made for: the weights change at every step, and no bank
    holds them. Round the trained network with `round_weights` to use another rounder.

    Parameters
    ----------
    model
        The float network; it is left as it was.
    policy
        The formats of the weights, and of the inputs that it quantises, in the ranges that it holds.
    batches
        The training data; batches are kept, come in an order drawn at random, and all equally often.
    steps
        How many batches are learnt from.
    rate
        The first step of Adam.
    distil
        Whether to approach the float network's outputs (no targets needed) rather than the targets.
    other_rounder
        Whether the policy may come from a table of another rounder than round-to-nearest.
    outputs
        What the network returns, and what its numbers mean.
    run
        The seed of the order of the batches, how many batches are read at most, and progress, step by step.

    Returns
    -------
    tuned
        The trained network.

    Raises
    ------
    InvalidInput
        When `steps` or `rate` make no sense, targets are missing where they are needed, training diverges, or the
        policy is about another rounder.
    """
    run.only("finetune", "seed", "max_batches", "progress")
    model = unwrapped(model)
    check_count("steps", steps, 1)
    check_positive("rate", rate)
    if policy.rounder not in ("", "nearest"):
        if not other_rounder:
            raise InvalidInput(
                f"the policy is about weights rounded by {policy.rounder}, but fine-tuning rounds to nearest at every "
                "step: use finish() with the bank, or say other_rounder=True, and the prediction does not hold"
            )
        policy = dataclasses.replace(policy, rounder="nearest", predicted=math.nan, predicted_stderr=math.nan)
        policy = dataclasses.replace(policy, corrected=math.nan, corrected_stderr=math.nan, correction="")
    take = outputs.logits
    data = list(itertools.islice(outputs.batches(batches, model), run.max_batches))
    if not distil and any(batch.targets is None for batch in data):
        raise InvalidInput("fine-tuning to the targets needs batches with targets: give them, or distil=True")
    tuned = copy.deepcopy(model)
    wanted = float_logits(model, data, take) if distil else [torch.zeros(0)] * len(data)
    order = torch.randperm(len(data) * -(-steps // len(data)), generator=torch.Generator().manual_seed(run.seed))
    losses = []
    with evaluating(tuned):
        rounded = _Rounded(tuned, policy)
        learning = [each for each in tuned.parameters() if each.is_floating_point()]
        for each in learning:
            each.requires_grad_()
        optimiser = torch.optim.Adam(learning, lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for step in range(steps):
            at = int(order[step]) % len(data)
            logits = forward(rounded, data[at], take)
            loss = _loss(logits, data[at], wanted[at], outputs, distil)
            if not bool(torch.isfinite(loss)):
                raise InvalidInput(f"fine-tuning diverged at step {step} (loss {loss.item()}): use a smaller rate")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            run.report(step + 1, steps)
    return FineTuned(tuned, apply(tuned, policy), tuple(losses))


def _loss(logits: Logits, batch: Batch, wanted: Logits, outputs: Outputs, distil: bool) -> Tensor:
    if distil:
        return outputs.distribution.mean_divergence(logits, wanted, batch)
    assert batch.targets is not None
    return outputs.distribution.mean_loss(logits, batch.targets)


class _Rounded(nn.Module):
    """A network whose weights are rounded afresh at each call; gradients pass the rounding as if it were not there."""

    def __init__(self, model: nn.Module, policy: Policy) -> None:
        super().__init__()
        self.model = model
        self._frame = [apply(model, policy)]  # rounds the inputs; in a list, so that its parameters are not ours
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        uses, simulator = uses_in(model), Simulator(model)
        self._entries = [
            (names[id(uses[layer].weight)], policy[layer].weights_only, simulator.layer(layer))
            for layer in policy.layer_names
        ]

    def forward(self, *args: Tensor, **kwargs: Tensor) -> object:
        """What the rounded network returns."""
        learnt: dict[str, Tensor] = dict(self.model.named_parameters())
        for name, entry, layer in self._entries:
            weight = learnt[name]
            learnt[name] = weight + (quantize(weight, entry, layer) - weight).detach()
        return torch.func.functional_call(self._frame[0], learnt, args, kwargs)
