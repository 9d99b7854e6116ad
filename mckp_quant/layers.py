"""Plain facts about the layers of a network: all that costs and problems need to know of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

from .errors import InvalidInput


@dataclass(frozen=True)
class Layer:
    """A weight tensor that gets one format, and what it costs to store and to use.

    Attributes
    ----------
    name
        The module's full name in the network, such as ``"layer1.0.conv1"``; where several modules share one weight
        tensor, the first one's.
    kind
        ``"conv1d"``, ``"conv2d"``, ``"conv3d"``, ``"conv_transpose1d"`` to ``"conv_transpose3d"``, ``"linear"`` or
        ``"embedding"``.
    shape
        The shape of the weight.
    channels
        How many scales a per-channel format stores: output channels, or rows of an embedding.
    macs
        Multiply-accumulate operations per sample (per sequence, for token models), over all calls of the layer and of
        its ties.
    ties
        Names of the other modules that use the same weight tensor.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    channels: int
    macs: int
    ties: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse sizes that no tensor has."""
        for name, sizes in (("shape", self.shape), ("channels", (self.channels,)), ("macs", (self.macs,))):
            if any(isinstance(size, bool) or not isinstance(size, Integral) for size in sizes):
                raise InvalidInput(f"layer {self.name!r} has {name} = {getattr(self, name)!r}: give whole numbers")
        if not self.shape or min(self.shape) < 1:
            raise InvalidInput(f"layer {self.name!r} has the shape {self.shape}: every dimension must be at least 1")
        if self.channels < 1 or self.macs < 0:
            raise InvalidInput(
                f"layer {self.name!r} has channels = {self.channels}, macs = {self.macs}: "
                "channels must be at least 1 and macs at least 0"
            )

    @property
    def elements(self) -> int:
        """How many weights the layer has."""
        return math.prod(self.shape)
