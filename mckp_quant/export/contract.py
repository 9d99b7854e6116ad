"""What every exporter is: it refuses what its target cannot take, writes files, and reads them back.

Weights are never rounded here: their codes come from ``job.encoded(layer)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from ..formats.format import Format
    from ..layers import Layer
    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from ..rounding.encoded import StoredWeight


class ExportMismatch(RuntimeError):
    """The artefact does not say what the policy asks. The message names the layer and what differs."""


class FinishedNetwork(Protocol):
    """What `finish` makes: a network under a policy after the last pass for it."""

    @property
    def model(self) -> nn.Module:
        """The network: rounded weights, matched biases and norms, and hooks that round inputs."""

    @property
    def bank(self) -> WeightBank:
        """The codes of the policy's layers."""

    @property
    def policy(self) -> Policy:
        """The policy."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be exported.

    Attributes
    ----------
    policy
        The policy.
    layers
        The facts of the policy's layers, in its order; ``ties`` name the other modules with the same weight, and
        ``macs`` are 0.
    model
        The network, a ``torch.nn.Module`` without hooks that round inputs, or the path of a file that the target
        reads; None where the target needs none. Whatever is no weight of `layers` is written as it is here.
    weight
        From a layer's name to its weight in `model`, in the layer's shape: float, or of a finished network rounded.
    batches
        Example inputs, as for `measure`; empty where the user gave none.
    nearest
        The weights rounded to nearest, each when it is asked for; None where there is no network.
    bank
        The codes that the user gave; None for those of `nearest`.
    by_tool
        The layers that the target's tool rounds by itself: no codes are written for them.
    gained
        Parameters of a finished network that the network does not have when it is built, such as ``"fc.bias"``.
    form
        What the target makes of the job once its codes are there: batch norms folded, for instance; None for nothing.
    factors
        From the names of layers to what the scales of their channels are multiplied by, ``(channels,)`` float64.
    notes
        What the report has to say of `form`.
    order
        From a layer's name and the digest of the network's weight to the rows of that which the rows of `weight` are,
        see `gguf_orders.order_of`; None where `model` holds weights as the network does.
    rows
        From the names of layers to these rows, where they are in another order or type than in the bank.
    """

    policy: Policy
    layers: tuple[Layer, ...]
    model: Any
    weight: Callable[[str], Tensor]
    batches: Sequence[object] = ()
    nearest: WeightBank | None = None
    bank: WeightBank | None = None
    by_tool: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()
    form: Callable[[Job], Job] | None = None
    factors: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    order: Callable[[str, str], Tensor | None] | None = None
    rows: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def formats(self) -> tuple[Format, ...]:
        """The format of each of `layers`."""
        return tuple(self.policy[layer.name] for layer in self.layers)

    @property
    def chosen(self) -> list[tuple[Layer, Format]]:
        """The layers that are quantised, with their formats."""
        pairs = zip(self.layers, self.formats, strict=True)
        return [(layer, entry) for layer, entry in pairs if entry.name != "float"]

    @property
    def coded(self) -> list[tuple[Layer, Format]]:
        """The layers whose weights are written in codes of the bank, with their formats."""
        return [
            (layer, entry)
            for layer, entry in self.chosen
            if layer.name not in self.by_tool and entry.weights_only.name != "float"
        ]

    @property
    def rounder(self) -> str:
        """What the weights are rounded by that are written, such as ``"nearest"``; empty where none are."""
        from ..rounding.bank import rounder_of_bank

        return rounder_of_bank(self.bank) if self.coded else ""

    def encoded(self, layer: Layer) -> StoredWeight:
        """The weight of a layer in its format, as the artefact has to hold it.

        Parameters
        ----------
        layer
            One of `layers`.

        Returns
        -------
        encoded
            Codes, scales and zero points: those of the bank, or nearest ones where the user gave none. Scales are
            multiplied by the layer's `factors`, and rows are in the order of `weight`.

        Raises
        ------
        InvalidInput
            When there is no network, or the bank lacks the layer or its format.
        """
        bank = self.nearest if self.bank is None or layer.name in self.by_tool else self.bank
        if bank is None:
            raise InvalidInput(f"layer {layer.name!r} has no weight: no network was given (--model)")
        encoded = bank.encoded(layer.name, self.policy[layer.name])
        if layer.name in self.rows and bank is self.bank:
            from .codes import rows_of

            encoded = rows_of(encoded, self.rows[layer.name])
        if layer.name not in self.factors:
            return encoded
        from .codes import scaled

        return scaled(encoded, self.factors[layer.name])


@dataclass(frozen=True, eq=False)
class Stored:
    """What an artefact says of one layer.

    Attributes
    ----------
    format
        The format, as its type, bits and scales say.
    nbytes
        Bytes that it takes: codes, scales, zero points and whatever else the target stores with them.
    place
        Its name in the artefact.
    weight
        The weight as the target computes with it, in the layer's shape; None where the artefact holds none.
    codes
        The codes, scales and zero points, or the blocks, that the artefact holds; None where it holds none, or the
        reader gives none.
    """

    format: Format
    nbytes: int
    place: str
    weight: Tensor | None = None
    codes: StoredWeight | None = None


class Exporter(Protocol):
    """A target of export: a frozen dataclass whose fields are its options.

    Attributes
    ----------
    extra
        The extra of ``mckp-quant`` that brings its packages.
    """

    extra: ClassVar[str | None]

    @property
    def name(self) -> str:
        """How the target is called."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that it needs, as they are imported; their versions go into the report."""

    @property
    def container(self) -> str:
        """Why a weight may take more or less in the artefact than its format does; empty where it never does."""

    @property
    def file(self) -> str:
        """The pattern of the files that hold the network, whose size ``file_bytes`` limits; empty where none does."""

    @property
    def capability(self) -> str | None:
        """The row of `capabilities.TARGETS` that says what it takes and stores; None where it takes everything."""

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        """Find the policy's layers in what the user gave as model; raises InvalidInput where one is not there."""

    def check(self, job: Job) -> None:
        """Refuse, before anything is written, what the table of capabilities cannot say; raises InvalidInput."""

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write the artefact into an empty folder; returns notes for the report."""

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """Read the artefact again: from the layers' names in the policy to what it says of them."""
