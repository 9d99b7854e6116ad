"""Random sensitivity tables: hypothesis draws the shape and a seed, NumPy the entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from mckp_quant import Format, Layer, SensitivityTable
from mckp_quant.formats.format import as_formats

if TYPE_CHECKING:
    from collections.abc import Sequence


NAMES = ("w1", "w2", "w3", "w4", "w5", "w8")


def eleven_sixteenths(layer: Layer) -> int:
    """Stored bits of a format that a user might bring: 11 bits for every 16 weights."""
    return 11 * -(-layer.elements // 16)


OWN = Format("own", weight_bits=3, activation_bits=8, quantize=lambda weight: weight, stored_bits=eleven_sixteenths)


def make_table(
    loss: Sequence[Sequence[float]], formats: str = "w2,w4,w8", *, elements: Sequence[int] | None = None
) -> SensitivityTable:
    """A table with the layers a, b, c, ... of 100, 200, 300, ... weights in two channels."""
    counts = elements or [100 * (row + 1) for row in range(len(loss))]
    layers = tuple(Layer(chr(97 + row), "linear", (2, count // 2), 2, 10 * count) for row, count in enumerate(counts))
    return SensitivityTable(layers, as_formats(formats), np.array(loss), np.full(np.shape(loss), np.nan))


@st.composite
def tables(draw: st.DrawFn, most_layers: int = 6, forbidden: float = 0.15, own: bool = True) -> SensitivityTable:
    """Tables with forbidden, negative and non-monotone entries; at least one format is allowed in every row."""
    n_layers = draw(st.integers(1, most_layers))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    formats = as_formats(names) + ((OWN,) if own and rng.random() < 0.3 else ())
    layers = []
    for row in range(n_layers):
        channels = int(rng.integers(1, 9))
        shape = (channels, *(int(size) for size in rng.integers(1, 12, int(rng.integers(1, 4)))))
        layers.append(Layer(f"net.{row}", "conv2d", shape, channels, int(rng.integers(0, 10**6)), ()))
    loss = rng.normal(size=(n_layers, len(formats))) * 10.0 ** rng.integers(-9, 1, (n_layers, 1))
    nan = np.less(rng.random(loss.shape), forbidden)
    nan[np.arange(n_layers), rng.integers(0, len(formats), n_layers)] = False
    loss[nan] = np.nan
    batches = int(rng.integers(2, 5))
    return SensitivityTable(
        layers=tuple(layers),
        formats=formats,
        loss=loss,
        stderr=np.abs(rng.normal(size=loss.shape)),
        contributions=loss + rng.normal(size=(batches, *loss.shape)),
        batch_sizes=rng.integers(1, 65, batches).astype(float),
        method="drawn",
        samples=batches * 7,
        seed=int(rng.integers(0, 100)),
    )
