"""A network with class logits for every anchor, labels for every sample, and boxes for every anchor, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev

import mckp_quant as mq

if TYPE_CHECKING:
    from collections.abc import Callable

ANCHORS, CLASSES, LABELS = 3, 3, 2
CLASS_WEIGHT, LABEL_WEIGHT, BOX_WEIGHT = 1.0, 0.5, 2.0
Targets = tuple[Tensor, Tensor, Tensor]
CLASS_HEAD = mq.Outputs(name="classes")
LABEL_HEAD = mq.Outputs(name="labels", likelihood="bernoulli", weight=LABEL_WEIGHT)
BOX_HEAD = mq.Outputs(name="boxes", likelihood="gaussian", weight=BOX_WEIGHT)
OUTPUTS = mq.Outputs(heads=(CLASS_HEAD, LABEL_HEAD, BOX_HEAD))
PER_SAMPLE = mq.Outputs(
    heads=(
        mq.Outputs(name="classes", take=lambda returned: returned["classes"][:, 0]),
        LABEL_HEAD,
        mq.Outputs(name="boxes", take=lambda returned: returned["boxes"][:, 0], likelihood="gaussian", weight=2.0),
    )
)


class ThreeHeads(nn.Module):
    """The trunk feeds all heads, so that their products mix in its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 5)
        self.classes = nn.Linear(5, ANCHORS * CLASSES)
        self.labels = nn.Linear(5, LABELS)
        self.boxes = nn.Linear(5, ANCHORS * 2, bias=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = torch.tanh(self.trunk(x))
        return {
            "classes": self.classes(seen).view(-1, ANCHORS, CLASSES),
            "labels": self.labels(seen),
            "boxes": self.boxes(seen).view(-1, ANCHORS, 2),
        }


def network() -> tuple[ThreeHeads, Tensor]:
    torch.manual_seed(4)
    model = ThreeHeads().double().eval().requires_grad_(False)
    with torch.no_grad():
        model.classes.weight.mul_(4)
    return model, torch.randn(8, 4, dtype=torch.float64)


def targets(samples: int = 8, seed: int = 6) -> Targets:
    """Some classes are ignored, some labels unknown, and some anchors have no box; sample 1 has no box at all."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, CLASSES, (samples, ANCHORS), generator=generator)
    classes[0, 1:] = -100
    labels = torch.randint(0, 2, (samples, LABELS), generator=generator).double()
    labels[2, 0] = torch.nan
    boxes = torch.randn(samples, ANCHORS, 2, dtype=torch.float64, generator=generator)
    boxes[1], boxes[3, 0] = torch.nan, torch.nan
    return classes, labels, boxes


def batches(inputs: Tensor, size: int = 4) -> list[tuple[Tensor, Targets]]:
    own = targets(len(inputs))
    parts = zip(*(each.split(size) for each in own), strict=True)
    return [(some, (a, b, c)) for some, (a, b, c) in zip(inputs.split(size), parts, strict=True)]


def heads_with(model: nn.Module, name: str, inputs: Tensor, weight: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = functional_call(model, {f"{name}.weight": weight}, (inputs,))
    return found


def terms(goals: Targets, n: int) -> list[tuple[float, Callable[[dict[str, Tensor]], Tensor]]]:
    """The terms of the loss of sample `n`, and what each counts: an anchor's class or box, or all labels together."""
    classes, labels, boxes = goals
    sure = [at for at in range(ANCHORS) if int(classes[n, at]) >= 0]
    boxed = [at for at in range(ANCHORS) if not boxes[n, at].isnan().any()]
    known = [at for at in range(LABELS) if not labels[n, at].isnan()]

    def of_class(at: int) -> Callable[[dict[str, Tensor]], Tensor]:
        return lambda heads: -heads["classes"][n, at].softmax(-1)[classes[n, at]].log()

    def of_box(at: int) -> Callable[[dict[str, Tensor]], Tensor]:
        return lambda heads: (heads["boxes"][n, at] - boxes[n, at]).square().sum() / 2

    def of_labels(heads: dict[str, Tensor]) -> Tensor:
        p = heads["labels"][n, known].sigmoid()
        return -torch.where(labels[n, known] == 1, p, 1 - p).log().sum()

    return [
        *((CLASS_WEIGHT / len(sure), of_class(at)) for at in sure),
        *((BOX_WEIGHT / len(boxed), of_box(at)) for at in boxed),
        (LABEL_WEIGHT, of_labels),
    ]


def loss(heads: dict[str, Tensor], goals: Targets) -> Tensor:
    """The mean over samples of the weighted sum of the heads' means over what has a target."""
    samples = len(goals[0])
    every = [factor * term(heads) for n in range(samples) for factor, term in terms(goals, n)]
    return torch.stack(every).sum() / samples


def fisher_values(model: nn.Module, name: str, inputs: Tensor, directions: Tensor, goals: Targets) -> Tensor:
    """``(n_formats,)``: the mean over samples of half the squared first-order change of every term."""
    weight = model.get_parameter(f"{name}.weight").detach()
    flat = directions.flatten(1)
    total = torch.zeros(len(flat), dtype=torch.float64)
    for n in range(len(inputs)):
        for factor, term in terms(goals, n):

            def changed(weight: Tensor, term: Callable[[dict[str, Tensor]], Tensor] = term) -> Tensor:
                return term(heads_with(model, name, inputs, weight))

            total += factor * (flat @ grad(changed)(weight).flatten()).square() / 2
    return total / len(inputs)


def gauss_newton_values(model: nn.Module, name: str, inputs: Tensor, directions: Tensor) -> Tensor:
    """``(n, n_formats)``: with the whole Gauss-Newton matrix of every sample, block-diagonal over heads and anchors."""
    weight = model.get_parameter(f"{name}.weight").detach()
    here = {head: own.detach() for head, own in heads_with(model, name, inputs, weight).items()}
    slopes = jacrev(lambda changed: heads_with(model, name, inputs, changed))(weight)
    flat = directions.flatten(1)
    values = torch.zeros(len(inputs), len(flat), dtype=torch.float64)
    for n in range(len(inputs)):
        matrix = torch.zeros(flat.shape[1], flat.shape[1], dtype=torch.float64)
        for at in range(ANCHORS):
            p = here["classes"][n, at].softmax(-1)
            j = slopes["classes"][n, at].flatten(1)
            matrix += CLASS_WEIGHT / ANCHORS * j.T @ (p.diag() - p[:, None] * p) @ j
            j = slopes["boxes"][n, at].flatten(1)
            matrix += BOX_WEIGHT / ANCHORS * j.T @ j
        p = here["labels"][n].sigmoid()
        j = slopes["labels"][n].flatten(1)
        matrix += LABEL_WEIGHT * j.T @ (p * (1 - p)).diag() @ j
        values[n] = torch.einsum("fw,wv,fv->f", flat, matrix, flat) / 2
    return values
