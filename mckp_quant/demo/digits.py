"""Scikit-learn's handwritten digits, in three disjoint parts: training, calibration and held-out."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..common.packages import require

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SEED = 0
TRAINING, CALIBRATION, HELD_OUT = 997, 400, 400
SIZE = TRAINING + CALIBRATION + HELD_OUT


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the images.

    Attributes
    ----------
    index
        ``(n,)`` int64, the images' positions in scikit-learn's file.
    images
        ``(n, 1, 8, 8)`` float32 in [-1, 1].
    labels
        ``(n,)`` int64, the digit.
    """

    index: Tensor
    images: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Digits:
    """The three parts; no image is in two of them."""

    training: Part
    calibration: Part
    held_out: Part


def order(size: int, seed: int) -> list[int]:
    """A fixed shuffle of ``range(size)``: by the SHA-256 digest of seed and position.

    Random generators may change their streams from one version of a library to the next, and the weights that ship
    were trained on one part of this very order; a digest never changes.
    """
    return sorted(range(size), key=lambda position: hashlib.sha256(f"{seed}/{position}".encode()).digest())


def load() -> Digits:
    """Load and split the 1,797 images (Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI).

    The network is trained on the first part, sensitivities are measured on the second, and policies are judged on the
    third. Calibration images are no training images: on images that it has memorised, a network looks far less
    sensitive than it is.

    Returns
    -------
    digits
        997 training, 400 calibration and 400 held-out images.

    Raises
    ------
    PackageMissing
        When scikit-learn is not installed.
    """
    pixels, digits = _file() or _loaded()
    images = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 8 - 1  # pixels are 0 to 16
    labels = torch.from_numpy(digits).long()
    parts = torch.tensor(order(SIZE, SEED)).split([TRAINING, CALIBRATION, HELD_OUT])
    return Digits(*(Part(index, images[index], labels[index]) for index in parts))


def _file() -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """Pixels and digits from scikit-learn's own file, if it is where it has always been.

    The whole of scikit-learn takes longer to import than the demo network takes to run.
    """
    spec = None if "sklearn" in sys.modules else importlib.util.find_spec("sklearn")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            rows = np.loadtxt(path, delimiter=",")
            return rows[:, :-1], rows[:, -1].astype(np.int64)
    return None


def _loaded() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    datasets = require("sklearn.datasets", "demo", without="the command line takes your own model and data")
    bunch = datasets.load_digits()
    return bunch.data, bunch.target.astype(np.int64)
