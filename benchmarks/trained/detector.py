"""A small single-shot detector of digits: its scenes, its training, and its mean average precision.

After Liu et al. (2016), *SSD: Single shot multibox detector*: two feature maps, anchors in every cell, class logits
with the background as class 0 and box offsets for each anchor. A scene is a picture of 32 by 32 with one to three of
scikit-learn's digits, scaled and moved; training, calibration and held-out scenes are made of different digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mckp_quant as mq

if TYPE_CHECKING:
    from mckp_quant.demo.digits import Part

SIDE, CLASSES = 32, 11
SMALLEST, LARGEST = 9, 15  # pixels of a digit's box
NOISE = 0.1
GRIDS = ((8, (9.0, 12.0)), (4, (15.0,)))  # cells along a side, and the sides of the anchors in each
OFFSET = 0.1  # of an anchor's side: the unit of offsets of centres; of logarithms of sides it is twice that
MATCHED, UNMATCHED = 0.5, 0.35  # overlap with a digit from which an anchor has its class, or below which background
OVERLAP = 0.5  # above which a detection counts as right, and of two of one class the less sure is dropped
LEAST_SCORE = 0.05
IGNORED = -100
BOX_WEIGHT = 0.1  # offsets are in tenths of a side, and those of most anchors, on the background, mean nothing


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures and what is in them.

    Attributes
    ----------
    images
        ``(n, 1, 32, 32)`` float32 in about [-1, 1].
    boxes
        For each ``(k, 4)`` float32: left, top, right, bottom, in pixels.
    labels
        For each ``(k,)`` int64, the digit plus 1.
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]

    def batches(self, size: int) -> list[tuple[Tensor, tuple[Tensor, Tensor]]]:
        """Batches with targets for every anchor, as `OUTPUTS` takes them."""
        found = [targets(boxes, labels) for boxes, labels in zip(self.boxes, self.labels, strict=True)]
        classes, offsets = (torch.stack([each[at] for each in found]) for at in (0, 1))
        parts = zip(self.images.split(size), classes.split(size), offsets.split(size), strict=True)
        return [(images, (own, where)) for images, own, where in parts]


class Detector(nn.Module):
    """Five convolutions, and two heads on each of the last two feature maps."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.stem = _block(1, width, 1)
        self.down = _block(width, 2 * width, 2)
        self.fine = nn.Sequential(_block(2 * width, 3 * width, 2), _block(3 * width, 3 * width, 1))
        self.coarse = _block(3 * width, 4 * width, 2)
        counts = [len(sides) for _, sides in GRIDS]
        self.class_heads = nn.ModuleList(
            nn.Conv2d(channels * width, count * CLASSES, 3, padding=1)
            for channels, count in zip((3, 4), counts, strict=True)
        )
        self.box_heads = nn.ModuleList(
            nn.Conv2d(channels * width, count * 4, 3, padding=1) for channels, count in zip((3, 4), counts, strict=True)
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """``classes`` ``(n, anchors, 11)`` and ``boxes`` ``(n, anchors, 4)``."""
        fine = self.fine(self.down(self.stem(images)))
        maps = (fine, self.coarse(fine))
        heads = {"classes": (self.class_heads, CLASSES), "boxes": (self.box_heads, 4)}
        return {
            name: torch.cat(
                [
                    head(own).permute(0, 2, 3, 1).reshape(len(images), -1, numbers)
                    for head, own in zip(modules, maps, strict=True)
                ],
                dim=1,
            )
            for name, (modules, numbers) in heads.items()
        }


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _anchors() -> Tensor:
    """``(anchors, 4)``: centre, width and height, in the order of the outputs."""
    found = []
    for cells, sides in GRIDS:
        step = SIDE / cells
        for row in range(cells):
            for column in range(cells):
                found += [[(column + 0.5) * step, (row + 0.5) * step, side, side] for side in sides]
    return torch.tensor(found)


ANCHORS = _anchors()


def scenes(part: Part, count: int, seed: int) -> Scenes:
    """Draw scenes of the digits of one part; the same arguments give the same scenes."""
    generator = torch.Generator().manual_seed(seed)
    images, boxes, labels = -torch.ones(count, 1, SIDE, SIDE), [], []

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    for image in images:
        own: list[list[float]] = []
        digits: list[int] = []
        wanted = whole(1, 3)
        for _ in range(20 * wanted):
            height = whole(SMALLEST, LARGEST)
            width = max(SMALLEST, round(height * 0.8))
            left, top = whole(0, SIDE - width), whole(0, SIDE - height)
            box = [float(left), float(top), float(left + width), float(top + height)]
            if own and float(overlaps(torch.tensor([box]), torch.tensor(own)).max()) > 0:
                continue
            pick = whole(0, len(part.images) - 1)
            drawn = F.interpolate(part.images[pick : pick + 1], (height, width), mode="bilinear", align_corners=False)
            image[:, top : top + height, left : left + width] = drawn[0]
            own.append(box)
            digits.append(int(part.labels[pick]) + 1)
            if len(own) == wanted:
                break
        boxes.append(torch.tensor(own))
        labels.append(torch.tensor(digits))
    return Scenes(images + NOISE * torch.randn(images.shape, generator=generator), boxes, labels)


def overlaps(some: Tensor, others: Tensor) -> Tensor:
    """``(n, m)``: the intersection over the union of boxes with boxes."""
    low = torch.maximum(some[:, None, :2], others[None, :, :2])
    high = torch.minimum(some[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(dim=1) for each in (some, others)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def corners(centred: Tensor) -> Tensor:
    """From centre, width and height to left, top, right, bottom."""
    return torch.cat([centred[..., :2] - centred[..., 2:] / 2, centred[..., :2] + centred[..., 2:] / 2], dim=-1)


def targets(boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """``(anchors,)`` classes, -100 where an anchor overlaps a digit by half; ``(anchors, 4)`` offsets, nan without one.

    Every digit has at least the anchor that overlaps it most.
    """
    shared = overlaps(corners(ANCHORS), boxes)
    most, which = shared.max(dim=1)
    best = shared.argmax(dim=0)
    most[best], which[best] = 1.0, torch.arange(len(boxes))
    classes = torch.where(most >= MATCHED, labels[which], torch.where(most >= UNMATCHED, IGNORED, 0))
    own = boxes[which]
    centres = ((own[:, :2] + own[:, 2:]) / 2 - ANCHORS[:, :2]) / ANCHORS[:, 2:] / OFFSET
    sides = ((own[:, 2:] - own[:, :2]) / ANCHORS[:, 2:]).log() / (2 * OFFSET)
    offsets = torch.cat([centres, sides], dim=1)
    return classes, offsets.where((classes > 0)[:, None], torch.nan)


def boxes_of(offsets: Tensor) -> Tensor:
    """Left, top, right, bottom, ``(..., anchors, 4)``, of offsets from the anchors."""
    centres = ANCHORS[:, :2] + OFFSET * offsets[..., :2] * ANCHORS[:, 2:]
    return corners(torch.cat([centres, ANCHORS[:, 2:] * (2 * OFFSET * offsets[..., 2:]).clamp(-4, 4).exp()], dim=-1))


def train(part: Part, *, steps: int = 600, size: int = 32, width: int = 12, seed: int = 0) -> Detector:
    """Train on fresh scenes: cross-entropy, three backgrounds for each anchor on a digit, and errors of boxes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Detector(width)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for step in range(steps):
        ((images, (classes, offsets)),) = scenes(part, size, 10_000 * (seed + 1) + step).batches(size)
        made = model(images)
        losses = F.cross_entropy(made["classes"].flatten(0, 1), classes.flatten(), reduction="none").view(size, -1)
        matched = classes > 0
        background = losses.where(classes == 0, 0).flatten()
        count = int(matched.sum())
        hardest = background.topk(min(3 * count, len(background))).values
        error = (made["boxes"] - offsets)[matched]
        loss = (losses[matched].sum() + hardest.sum() + F.smooth_l1_loss(error, 0 * error, reduction="sum")) / count
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


@dataclass(frozen=True, eq=False)
class Found:
    """The detections on some scenes, and which are right.

    Attributes
    ----------
    image, label
        ``(detections,)`` int64.
    score
        ``(detections,)``: how sure.
    right
        ``(detections,)`` bool: a digit of this class overlaps, and no surer detection has it.
    digits
        ``(images, 11)``: how many digits of each class there are.
    """

    image: Tensor
    label: Tensor
    score: Tensor
    right: Tensor
    digits: Tensor

    def mean_average_precision(self, weights: Tensor | None = None) -> float:
        """The mean over digits of the area under precision as a function of recall, which is made to fall.

        After Everingham et al. (2010), *The PASCAL visual object classes challenge*, over all points.

        Parameters
        ----------
        weights
            ``(images,)``: how often each image counts, for a bootstrap; once by default.
        """
        counts = torch.ones(len(self.digits)) if weights is None else weights
        every = (self.digits * counts[:, None]).sum(dim=0)
        found = []
        for label in range(1, CLASSES):
            if every[label] == 0:
                continue
            own = (self.label == label).nonzero()[:, 0]
            own = own[self.score[own].argsort(descending=True, stable=True)]
            share = counts[self.image[own]]
            right, all_of_them = (share * self.right[own]).cumsum(0), share.cumsum(0)
            precision = right / all_of_them.clamp(min=1e-9)
            falling = precision.flip(0).cummax(0).values.flip(0)
            recall = torch.cat([torch.zeros(1), right / every[label]])
            found.append(float(((recall[1:] - recall[:-1]) * falling).sum()))
        return sum(found) / len(found)


def detect(model: nn.Module, what: Scenes) -> Found:
    """Run a detector on scenes; of overlapping boxes of one class the surest stays."""
    with torch.no_grad():
        made = [model(images) for images in what.images.split(100)]
    sure = torch.cat([each["classes"] for each in made]).softmax(dim=-1)
    places = boxes_of(torch.cat([each["boxes"] for each in made]))
    rows: list[tuple[int, int, float, bool]] = []
    digits = torch.zeros(len(what.images), CLASSES)
    for image, (boxes, labels) in enumerate(zip(what.boxes, what.labels, strict=True)):
        digits[image] = torch.bincount(labels, minlength=CLASSES).float()
        for label in range(1, CLASSES):
            score = sure[image, :, label]
            kept = surest(score, places[image])
            taken: set[int] = set()
            own = (labels == label).nonzero()[:, 0]
            shared = overlaps(places[image, kept], boxes[own]).tolist()
            for at, row in zip(kept, shared, strict=True):
                best = max(range(len(row)), key=row.__getitem__, default=-1)
                right = best >= 0 and row[best] >= OVERLAP and best not in taken
                taken |= {best} if right else set()
                rows.append((image, label, float(score[at]), right))
    return Found(
        torch.tensor([row[0] for row in rows], dtype=torch.int64),
        torch.tensor([row[1] for row in rows], dtype=torch.int64),
        torch.tensor([row[2] for row in rows]),
        torch.tensor([row[3] for row in rows], dtype=torch.bool),
        digits,
    )


def surest(score: Tensor, boxes: Tensor) -> list[int]:
    """Positions of the boxes that no surer one of those kept overlaps by half, the surest first."""
    sure = (score >= LEAST_SCORE).nonzero()[:, 0]
    order = sure[score[sure].argsort(descending=True, stable=True)]
    close = overlaps(boxes[order], boxes[order]) >= OVERLAP
    alone = torch.ones(len(order), dtype=torch.bool)
    kept: list[int] = []
    for at, position in enumerate(order.tolist()):
        if bool(alone[at]):
            kept.append(position)
            alone &= ~close[at]
    return kept


def difference(some: Found, others: Found, draws: int = 200, seed: int = 0) -> tuple[float, float]:
    """How much larger a mean average precision is than another on the same scenes, with its bootstrap error."""
    generator = torch.Generator().manual_seed(seed)
    count = len(some.digits)
    apart = []
    for _ in range(draws):
        drawn = torch.bincount(torch.randint(0, count, (count,), generator=generator), minlength=count).float()
        apart.append(some.mean_average_precision(drawn) - others.mean_average_precision(drawn))
    mean = sum(apart) / draws
    error = math.sqrt(sum((each - mean) ** 2 for each in apart) / (draws - 1))
    return some.mean_average_precision() - others.mean_average_precision(), error


def sure_of_digits(logits: tuple[Tensor, Tensor], goals: tuple[Tensor, Tensor]) -> Tensor:
    """``(n,)``: the share of an image's anchors on digits that have the right class, nan where there is none."""
    classes, matched = goals[0], goals[0] > 0
    right = (logits[0].argmax(dim=-1) == classes) & matched
    return right.sum(dim=1) / matched.sum(dim=1).where(matched.any(dim=1), torch.nan)


OUTPUTS = mq.Outputs(
    heads=(mq.Outputs(name="classes"), mq.Outputs(name="boxes", likelihood="gaussian", weight=BOX_WEIGHT)),
    metric=sure_of_digits,
)
