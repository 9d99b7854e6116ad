"""Train the demo network: ``python -m mckp_quant.demo.train`` writes the weights file that ships.

Seeded and deterministic: run twice on one machine it writes the same file. On another processor sums may be rounded
otherwise, and the weights differ in their last digits.
"""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..common.packages import require
from . import WEIGHTS, digits
from .network import DigitsNetwork

EPOCHS = 60
BATCH = 32
PEAK_RATE = 3e-3
WEIGHT_DECAY = 5e-2
NOISE = 0.1

log = logging.getLogger(__name__)


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, scale and shift each image a little, and add noise: a thousand images are few.

    Parameters
    ----------
    images
        ``(n, 1, 8, 8)``.
    generator
        Where the random numbers come from.

    Returns
    -------
    images
        Of the same shape.
    """
    count = len(images)
    turn, stretch_x, stretch_y, shift_x, shift_y = (2 * torch.rand(5, count, generator=generator) - 1).unbind()
    angle = turn * math.radians(12)
    matrix = torch.stack(
        [
            torch.stack([(1 + 0.1 * stretch_x) * angle.cos(), -angle.sin(), 0.2 * shift_x], dim=1),
            torch.stack([angle.sin(), (1 + 0.1 * stretch_y) * angle.cos(), 0.2 * shift_y], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    # Padding is 0 and the background -1: sample the ink, which is 0 on the background.
    moved = functional.grid_sample(images + 1, grid, align_corners=False) - 1
    return moved + NOISE * torch.randn(moved.shape, generator=generator)


def train(part: digits.Part, *, seed: int = 0, epochs: int = EPOCHS) -> nn.Module:
    """Train on a part of the images: AdamW, one cycle of the learning rate, cross-entropy.

    Parameters
    ----------
    part
        The images to train on.
    seed
        Of initial weights, order and jitter; the global random state is left as it was.
    epochs
        Passes over the images.

    Returns
    -------
    model
        In eval mode.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DigitsNetwork()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * math.ceil(len(part.images) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_RATE, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(part.images), generator=generator).split(BATCH):
            loss = functional.cross_entropy(model(jitter(part.images[batch], generator)), part.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        log.info("epoch %d of %d: training loss %.4f nats", epoch + 1, epochs, total / len(part.images))
    return model.eval()


def accuracy(model: nn.Module, part: digits.Part) -> float:
    """The share of images whose largest logit is the right one."""
    with torch.no_grad():
        return float((model(part.images).argmax(dim=1) == part.labels).double().mean())


def main() -> None:
    """Train, report held-out accuracy, write the weights."""
    parser = argparse.ArgumentParser(description="Train the demo network and write its weights (safetensors).")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    safetensors = require("safetensors.torch", "demo")
    torch.set_num_threads(1)  # one order of summation, so that two runs give the same file
    data = digits.load()
    model = train(data.training, seed=options.seed)
    safetensors.save_file(model.state_dict(), options.output)
    for name, part in (("calibration", data.calibration), ("held-out", data.held_out)):
        log.info("%s accuracy %.2f %% on %d images", name, 100 * accuracy(model, part), len(part.images))
    log.info("wrote %s (%d bytes)", options.output, options.output.stat().st_size)


if __name__ == "__main__":
    main()
