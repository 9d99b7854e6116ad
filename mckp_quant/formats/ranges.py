"""Ranges of activations that are fixed before a network runs, and the numbers that a format has within them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.documents import entries, read_document, whole, write_document
from ..common.documents import field as entry_of
from ..common.files import readable
from ..errors import InvalidInput, unknown

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from .schemes import ActivationScheme

KIND = "activation-ranges"
VERSION = 1


@dataclass(frozen=True)
class Grid:
    """The numbers that an integer activation can be: ``(code - zero_point) * scale``.

    Attributes
    ----------
    scale
        Positive, a float32 number.
    zero_point
        A code.
    least, most
        The codes, both included.
    """

    scale: float
    zero_point: int
    least: int
    most: int


def grid_of(low: float, high: float, scheme: ActivationScheme) -> Grid:
    """The grid of an integer scheme on a range.

    Codes run from 0 to 2^b - 1 with a zero point, so that zero is stored exactly; in symmetric schemes from
    -(2^(b-1) - 1) to 2^(b-1) - 1 without one.

    Parameters
    ----------
    low, high
        The range; it is widened to contain zero.
    scheme
        The scheme.

    Returns
    -------
    grid
        The grid; its scale is 1 where the range has no width.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if scheme.symmetric:
        top = 2 ** (scheme.bits - 1) - 1
        return Grid(_scale(max(-low, high) / top), 0, -top, top)
    top = 2**scheme.bits - 1
    scale = _scale((high - low) / top)
    return Grid(scale, min(max(round(-low / scale), 0), top), 0, top)


def _scale(exact: float) -> float:
    rounded = float(np.float32(exact))
    return rounded if rounded > 0 else 1.0


@dataclass(frozen=True)
class ActivationRanges:
    """For every layer and activation scheme the range of the layer's input.

    Attributes
    ----------
    rule
        How they were chosen: ``"minmax"``, ``"percentile"``, ``"mse"``, or any other word for ranges from elsewhere.
    samples
        On how many samples.
    ranges
        From the layer's name and the scheme's (`ActivationScheme.name`, such as ``"a8"``) to ``(low, high)``.

    Raises
    ------
    InvalidInput
        When a range is not finite or its ends are the wrong way round.
    """

    rule: str
    samples: int
    ranges: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Copy and check."""
        object.__setattr__(self, "ranges", dict(self.ranges))
        for (layer, scheme), (low, high) in self.ranges.items():
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise InvalidInput(
                    f"the range of the input of layer {layer!r} for {scheme} is {low} to {high}: give two finite "
                    "numbers, the smaller one first"
                )

    def of(self, layer: str, scheme: ActivationScheme) -> tuple[float, float]:
        """The range of a layer's input; raises InvalidInput where it was not calibrated."""
        found = self.ranges.get((layer, scheme.name))
        if found is None:
            known = sorted({name for name, _ in self.ranges})
            if layer not in known:
                raise unknown("layer of the activation ranges", layer, known)
            raise InvalidInput(
                f"the activation ranges of layer {layer!r} are not for {scheme.name}: calibrate them for the formats "
                "of the policy with calibrate_ranges(model, batches, formats)"
            )
        return found

    def only(self, wanted: Iterable[tuple[str, ActivationScheme]]) -> ActivationRanges:
        """Those of the given layers and schemes, as far as they are known."""
        keys = [(layer, scheme.name) for layer, scheme in wanted]
        return ActivationRanges(self.rule, self.samples, {key: self.ranges[key] for key in keys if key in self.ranges})

    def document(self) -> dict[str, Any]:
        """The ranges in plain types, as `save` writes them."""
        return {
            "rule": self.rule,
            "samples": self.samples,
            "ranges": [
                {"layer": layer, "scheme": scheme, "low": low, "high": high}
                for (layer, scheme), (low, high) in self.ranges.items()
            ],
        }

    @classmethod
    def from_document(cls, document: Any, source: str) -> ActivationRanges:
        """Read what `document` made.

        Parameters
        ----------
        document
            The content.
        source
            Which file it is from, for errors.

        Returns
        -------
        ranges
            The same ranges.

        Raises
        ------
        InvalidInput
            When it is damaged.
        """
        with readable(source):
            return cls(
                str(entry_of(document, "rule", source)),
                whole(entry_of(document, "samples", source), "samples", source),
                {
                    (str(each["layer"]), str(each["scheme"])): (float(each["low"]), float(each["high"]))
                    for each in entries(document, "ranges", source)
                },
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ranges as one JSON document, whole or not at all."""
        write_document(path, KIND, VERSION, self.document())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ActivationRanges:
        """Read ranges that `save` wrote; raises InvalidInput where the file is missing, damaged or something else."""
        return cls.from_document(read_document(path, KIND, VERSION), f"the activation ranges {str(path)!r}")
