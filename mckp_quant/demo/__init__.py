"""The demo: a small trained network on real images, which ships with the package.

``mckp_quant.demo:model``, ``mckp_quant.demo:calibration`` and ``mckp_quant.demo:held_out`` are what the command line
takes as model and data.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..common.packages import require

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .digits import Part

__all__ = ["calibration", "held_out", "model"]

WEIGHTS = Path(__file__).with_name("digits.safetensors")
BATCH = 50


def model() -> nn.Module:
    """The trained network, in eval mode.

    Returns
    -------
    model
        Takes ``(n, 1, 8, 8)`` float32 images in [-1, 1], gives ``(n, 10)`` logits.

    Raises
    ------
    PackageMissing
        When torch or safetensors is not installed.
    """
    require("torch", "demo")
    safetensors = require("safetensors.torch", "demo")
    from .network import DigitsNetwork

    network = DigitsNetwork()
    network.load_state_dict(safetensors.load_file(WEIGHTS))
    return network.eval()


def calibration() -> list[tuple[Tensor, Tensor]]:
    """400 images, and their labels, that the network was not trained on: measure sensitivities on these."""
    from .digits import load

    return _batches(load().calibration)


def held_out() -> list[tuple[Tensor, Tensor]]:
    """400 further images, and their labels, that neither training nor calibration saw: judge policies on these."""
    from .digits import load

    return _batches(load().held_out)


def _batches(part: Part) -> list[tuple[Tensor, Tensor]]:
    return list(zip(part.images.split(BATCH), part.labels.split(BATCH), strict=True))
