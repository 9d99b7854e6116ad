"""Which networks are run: every format in every layer about as often, beside every format in the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SPARE = 1.5  # networks per number that is solved for: the rest say how well the sum holds
_LEAST = 8  # beside what formats cost in all layers together
_MOST = 300  # where nobody says: single layers then count for less, formats are as well known


def least(choices: Sequence[int]) -> int:
    """How many networks tell formats apart."""
    return 2 * max(choices, default=1) + _LEAST


def enough(choices: Sequence[int]) -> int:
    """How many networks are run where nobody says: half as many again as there are differences between formats."""
    differences = 1 + sum(count - 1 for count in choices)
    return max(min(int(np.ceil(_SPARE * differences)), _MOST), least(choices))


def mixed_networks(choices: Sequence[int], count: int, seed: int) -> NDArray[np.int64]:
    """Draw networks in which every layer has each of its formats equally often.

    Many layers are weighed at once, so that each run says something of each layer: Hotelling (1944), *Some improvements
    in weighing and other experimental techniques*.

    Parameters
    ----------
    choices
        How many formats each layer may have.
    count
        How many networks, at least `least`.
    seed
        Of the draw.

    Returns
    -------
    picked
        ``(count, n_layers)`` int64: which of its formats each layer has. The first rows are those with one format
        throughout, by its place.
    """
    rng = np.random.default_rng(seed)
    most = max(choices, default=1)
    picked = np.empty((count, len(choices)), dtype=np.int64)
    for layer, many in enumerate(choices):
        head = np.minimum(np.arange(min(most, count)), many - 1)
        rest = np.arange(count - len(head)) % many
        picked[:, layer] = np.concatenate([head, rng.permutation(rest)])
    return picked
