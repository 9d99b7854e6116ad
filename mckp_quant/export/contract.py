"""What every exporter is: it refuses what its target cannot take, writes files, and reads them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from ..formats.format import Format
    from ..layers import Layer
    from ..policy.policy import Policy


class ExportMismatch(RuntimeError):
    """The artefact does not say what the policy asks. The message names the layer and what differs."""


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
        The float network, a ``torch.nn.Module``, or the path of a file that the target reads; None where the target
        needs none.
    weight
        From a layer's name to its float weight, in the layer's shape.
    batches
        Example inputs, as for `measure`; empty where the user gave none.
    """

    policy: Policy
    layers: tuple[Layer, ...]
    model: Any
    weight: Callable[[str], Tensor]
    batches: Sequence[object] = ()

    @property
    def formats(self) -> tuple[Format, ...]:
        """The format of each of `layers`."""
        return tuple(self.policy[layer.name] for layer in self.layers)

    @property
    def chosen(self) -> list[tuple[Layer, Format]]:
        """The layers that are quantised, with their formats."""
        pairs = zip(self.layers, self.formats, strict=True)
        return [(layer, entry) for layer, entry in pairs if entry.name != "float"]


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
    """

    format: Format
    nbytes: int
    place: str
    weight: Tensor | None = None


class Exporter(Protocol):
    """A target of export: a frozen dataclass whose fields are its options.

    Attributes
    ----------
    name
        How the target is called.
    extra
        The extra of ``mckp-quant`` that brings them.
    """

    name: ClassVar[str]
    extra: ClassVar[str | None]

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that it needs, as they are imported; their versions go into the report."""

    @property
    def container(self) -> str:
        """Why a weight may take more or less in the artefact than its format does; empty where it never does."""

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
