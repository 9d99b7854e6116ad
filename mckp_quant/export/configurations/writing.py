"""Writes a policy as another tool's configuration, and reads it back against the names of the network."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.files import read_json, write_text
from ...errors import InvalidInput, unknown
from ...formats.capabilities import capability
from ...formats.format import FLOAT
from ..contract import ExportMismatch, Job, Stored
from . import CONFIGURATIONS
from .contract import Configuration, Row, as_built_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from ...layers import Layer
    from ...policy.policy import Policy

WRITTEN: dict[str, Configuration] = {each.name: each for each in CONFIGURATIONS if each.write is not None}


def configuration(policy: Policy, to: str, layers: Iterable[Layer]) -> Any:
    """Say a policy in the form of another tool's configuration; torch is not needed.

    Parameters
    ----------
    policy
        The policy.
    to
        The target: ``"gptqmodel"``, ``"auto_round"``, ``"llm_compressor"``, ``"modelopt"``, ``"tensorrt_llm"``,
        ``"openvino"``, ``"mlx"`` or ``"coreml"``.
    layers
        Every layer of the network that the tool could quantise; those that the policy does not name stay float.

    Returns
    -------
    document
        Plain types: what the tool's own function takes, or a file for it holds.

    Raises
    ------
    InvalidInput
        When the target is unknown, cannot take a format, or the network has no layer of a name in the policy.
    ExportMismatch
        When the document, read again, does not say what was asked.
    """
    if to not in WRITTEN:
        raise unknown("target of a configuration", to, WRITTEN)
    found = WRITTEN[to]
    known = {layer.name: layer for layer in layers}
    for name in policy.layer_names:
        _named(known, name)
    given = dict(zip(policy.layer_names, map(as_built_in, policy.formats), strict=True))
    rows = [Row(layer, given.get(name, FLOAT)) for name, layer in known.items()]
    _check(found, rows)
    document = _written(found, rows)
    _compare(found, json.loads(json.dumps(document)), rows)
    return document


def _named(known: Mapping[str, Layer], name: str) -> Layer:
    if name not in known:
        raise unknown("layer", name, known)
    return known[name]


def _no_weight(layer: str) -> Tensor:
    raise InvalidInput(f"layer {layer!r} has no weight: only the sizes of the layers were given")


def _check(found: Configuration, rows: Sequence[Row]) -> None:
    if found.capability is None:
        return
    taken = capability(found.capability)
    for row in rows:
        reason = taken.refuses(row.layer, row.format)
        if reason:
            raise InvalidInput(
                f"{found.name} cannot take layer {row.layer.name!r} in format {row.format.name!r}: {reason}; allocate "
                f"with target={found.capability!r}, which leaves out what it cannot take"
            )


def _written(found: Configuration, rows: Sequence[Row]) -> Any:
    if found.write is None:
        raise InvalidInput(f"{found.name} is read here, and not written")
    return found.write(rows)


def _compare(found: Configuration, document: Any, rows: Sequence[Row]) -> None:
    read = found.read(document, [row.layer.name for row in rows])
    for row in rows:
        entry = read[row.layer.name]
        if entry.name != row.format.name:
            raise ExportMismatch(
                f"{found.name}: layer {row.layer.name!r} was asked in {row.format.name!r}, but the configuration has "
                f"it in {entry.name!r}"
            )


@dataclass(frozen=True)
class ConfigurationOnly:
    """Writes the configuration of a tool that rounds by itself.

    The network says which names there are: a ``torch.nn.Module``, or a tuple with the facts of all its layers.
    """

    to: str
    extra: ClassVar[str | None] = None
    packages: ClassVar[tuple[str, ...]] = ()
    file: ClassVar[str] = ""
    container: ClassVar[str] = "the tool that reads the configuration stores the weights, in a form of its own"

    @property
    def name(self) -> str:
        """The target."""
        return self.to

    @property
    def capability(self) -> str | None:
        """The row of `capabilities.TARGETS`."""
        return self._configuration.capability

    @property
    def _configuration(self) -> Configuration:
        if self.to not in WRITTEN:
            raise unknown("target of a configuration", self.to, WRITTEN)
        return WRITTEN[self.to]

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        """The policy's layers in a network, or in a tuple of its layers; raises InvalidInput where one is not there."""
        own = replace(policy, formats=tuple(map(as_built_in, policy.formats)))
        if isinstance(model, tuple):
            known = {layer.name: layer for layer in model}
            return Job(own, tuple(_named(known, name) for name in policy.layer_names), model, _no_weight)
        from ..sources import module_job

        return replace(module_job(own, model, batches, file_too=True), by_tool=policy.layer_names)

    def check(self, job: Job) -> None:
        """Refuse what the tool cannot say, by saying it; raises InvalidInput."""
        _written(self._configuration, _rows(job))

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write the document."""
        document = _written(self._configuration, _rows(job))
        write_text(folder / self._configuration.file, json.dumps(document, indent=1) + "\n")
        said = f"no weights are written: {self.name} makes them from the float network and this configuration"
        return (said, self._configuration.note) if self._configuration.note else (said,)

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """Read the document again, and hold it against the network's names."""
        document = read_json(folder / self._configuration.file, "configuration")
        rows = _rows(job)
        _compare(self._configuration, document, rows)
        found = self._configuration.read(document, [row.layer.name for row in rows])
        row = self.capability
        return {
            layer.name: Stored(
                found[layer.name],
                found[layer.name].storage_bytes(layer)
                if row is None
                else capability(row).stored_bytes(layer, found[layer.name]),
                layer.name,
            )
            for layer in job.layers
        }


def _rows(job: Job) -> list[Row]:
    """The policy's layers, then the network's other linear layers, which stay float."""
    if isinstance(job.model, tuple):
        given = dict(zip(job.policy.layer_names, job.policy.formats, strict=True))
        return [Row(layer, given.get(layer.name, FLOAT)) for layer in job.model]
    from torch import nn

    named = {name for layer in job.layers for name in (layer.name, *layer.ties)}
    others = [
        (name, tuple(module.weight.shape))
        for name, module in job.model.named_modules()
        if isinstance(module, nn.Linear) and name not in named
    ]
    rows = [Row(layer, entry, _scales(job, layer)) for layer, entry in zip(job.layers, job.formats, strict=True)]
    return [*rows, *(Row(_linear(name, shape), FLOAT) for name, shape in others)]


def _linear(name: str, shape: tuple[int, ...]) -> Layer:
    from ...layers import Layer

    return Layer(name, "linear", shape, shape[0], None)


def _scales(job: Job, layer: Layer) -> Any:
    def scales() -> tuple[list[list[float]], list[list[int]]]:
        from ..codes import codes_of

        codes = codes_of(job.encoded(layer), job.policy[layer.name], layer)
        return codes.scales.double().tolist(), codes.zero_points.int().tolist()

    return scales
