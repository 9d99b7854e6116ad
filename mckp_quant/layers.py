"""Plain facts about a network: its layers and its activation tensors, all that costs and problems need to know."""

from __future__ import annotations

import fnmatch
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .common.checks import check_count
from .errors import InvalidInput, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence


CACHES = ("keys", "values")  # kinds of what attention keeps of the tokens before; every other kind is a weight


@dataclass(frozen=True)
class Layer:
    """A weight tensor that gets one format, and what it costs to store and to use.

    Attributes
    ----------
    name
        The module's full name in the network, such as ``"layer1.0.conv1"``; where several modules share one weight
        tensor, the first one's.
    kind
        ``"conv1d"``, ``"conv2d"``, ``"conv3d"``, ``"conv_transpose1d"`` to ``"conv_transpose3d"``, ``"linear"``,
        ``"embedding"``, or ``"experts"`` for the ``(experts, out, in)`` weights of a mixture of experts;
        ``"linear_transposed"`` and ``"experts_transposed"`` where inputs stand before outputs, as in GPT-2's ``Conv1D``
        and in gpt-oss; ``"keys"`` and ``"values"`` for a half of the KV cache of an attention, which is no weight;
        empty where it is not known.
    shape
        The shape of the weight; of a cache ``(sequences, context, heads, width of a head)``.
    channels
        How many scales a per-channel format stores: output channels (of every expert), or rows of an embedding; None
        where it is not known.
    macs
        Multiply-accumulate operations per sample (per sequence, for token models), over all calls of the layer and of
        its ties; None where they are not known, which is not 0.
    ties
        Names of the other modules that use the same weight tensor.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    channels: int | None
    macs: int | None
    ties: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that are no text, and sizes that no tensor has."""
        names: list[object] = [self.name, self.kind, *self.ties]
        if not all(isinstance(name, str) for name in names):
            raise InvalidInput(f"layer {self.name!r} has name, kind and ties {names!r}: give text")
        for name in (self.name, self.kind, *self.ties):
            if not _can_be_written(name):
                raise InvalidInput(
                    f"{name!r} of layer {self.name!r} cannot be written: it holds half a character, or zero"
                )
        if not self.shape:
            raise InvalidInput(f"the shape of layer {self.name!r} is {self.shape!r}: it must have a dimension or more")
        for dimension, size in enumerate(self.shape):
            if type(size) is int and size >= 1:  # tables have millions of them, and the words below take time
                continue
            check_count(f"shape[{dimension}] of layer {self.name!r}", size, 1)
        if self.channels is not None and (type(self.channels) is not int or self.channels < 1):
            check_count(f"channels of layer {self.name!r}", self.channels, 1)
        if self.macs is not None:
            check_count(f"macs of layer {self.name!r}", self.macs, 0)

    @property
    def elements(self) -> int:
        """How many weights the layer has."""
        return math.prod(self.shape)

    @property
    def is_cache(self) -> bool:
        """Whether it is a half of the KV cache of an attention."""
        return self.kind in CACHES

    @property
    def weights(self) -> int:
        """`elements`, or 0 for a cache."""
        return 0 if self.is_cache else self.elements

    @property
    def known_channels(self) -> int:
        """`channels`; raises InvalidInput, with what to give, where they are not known."""
        if self.channels is None:
            raise InvalidInput(
                f"nothing says how many channels layer {self.name!r} has, each of which stores a scale or a row of "
                "its own: give a column 'shape' or 'channels'"
            )
        return self.channels

    @property
    def row(self) -> int:
        """How many weights make one output channel, or one entry of an embedding; raises as `known_channels` does."""
        return self.elements // self.known_channels


@dataclass(frozen=True)
class Activation:
    """An activation tensor and when it lives.

    Attributes
    ----------
    elements
        Its entries, per sample.
    first, last
        The steps of the execution order, from the one that makes it to the last one that reads it, both included.
    readers
        The layers that read it: it is stored in the activation bits of their format, once where they are tied or alone
        and once for each of them otherwise. None (an empty tuple) means that it stays in floating point.

    Raises
    ------
    InvalidInput
        When there are no elements, or the steps do not follow each other.
    """

    elements: int
    first: int
    last: int
    readers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse tensors that cannot be."""
        check_count("elements of an activation", self.elements, 1, 2**53 - 1)
        check_count("first of an activation", self.first, 0)
        check_count(f"last of an activation whose first is {self.first}", self.last, self.first)
        object.__setattr__(self, "readers", tuple(self.readers))

    @classmethod
    def from_document(cls, entry: object, source: str) -> Activation:
        """The tensor that a file describes; `source` says where, for the error, which is an InvalidInput."""
        if not isinstance(entry, dict) or not {"elements", "first", "last"} <= set(entry) <= set(cls.__annotations__):
            raise InvalidInput(f"{source}: {entry!r} must hold elements, first, last and, where there are any, readers")
        readers = entry.get("readers", ())
        if not isinstance(readers, list | tuple) or not all(isinstance(name, str) for name in readers):
            raise InvalidInput(f"{source}: readers = {readers!r} must be a list of names of layers")
        try:
            return cls(entry["elements"], entry["first"], entry["last"], tuple(readers))
        except InvalidInput as error:
            raise InvalidInput(f"{source}: {error}") from error


def _can_be_written(name: str) -> bool:
    """Whether files can hold the name: UTF-8 has no halves of characters, and NumPy's text ends at zeros."""
    return "\0" not in name and (name.isascii() or not any("\ud800" <= each <= "\udfff" for each in name))


_KIND = "kind:"


def matching(layers: Sequence[Layer], rule: str) -> list[int]:
    """The rows of the layers that a rule names, see `allowed`; raises InvalidInput where there is none."""
    names = [{layer.name, *layer.ties} for layer in layers]
    exact = [row for row, known in enumerate(names) if rule in known]
    if exact:
        return exact
    if rule in ("first", "last"):
        return [0 if rule == "first" else len(layers) - 1]
    if rule.startswith(_KIND):
        kinds = [layer.kind for layer in layers]
        if "" in kinds:
            raise InvalidInput(
                f"nothing says of which kind layer {layers[kinds.index('')].name!r} is, so {rule!r} names no layers "
                "for sure: give a column 'kind', or name the layers themselves"
            )
        found = [row for row, kind in enumerate(kinds) if kind == rule.removeprefix(_KIND)]
        if not found:
            raise unknown("kind of layer", rule.removeprefix(_KIND), dict.fromkeys(kinds))
        return found
    found = [row for row, known in enumerate(names) if any(fnmatch.fnmatchcase(name, rule) for name in known)]
    if not found:
        raise unknown("layer or pattern", rule, [layer.name for layer in layers])
    return found
