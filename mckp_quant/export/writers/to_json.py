"""Plain JSON of our own, for toolchains without an exporter: the format of every layer in words and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.documents import entries, read_document, write_document
from ...common.files import readable
from ...formats.cache_formats import cache_scheme
from ...formats.format import Format, format_document, format_from
from ..contract import ExportMismatch, Job, Stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from ...policy.policy import Policy

DOCUMENT = "quantization.json"
KIND = "quantization"
VERSION = 1


@dataclass(frozen=True)
class Json:
    """Writes ``quantization.json``: for each layer bits, groups, zero points, types of scales and ranges of inputs."""

    name: ClassVar[str] = "json"
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None
    container: ClassVar[str] = ""
    file: ClassVar[str] = ""

    @property
    def capability(self) -> None:
        """It takes everything."""
        return

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        """The policy's layers in a network, where there is one; raises InvalidInput where one is not there."""
        if model is None:
            return Job(policy, (), None, _no_weight, by_tool=policy.layer_names)
        from ..sources import module_job

        job = module_job(without_caches(policy), model, batches, file_too=True)
        return replace(job, policy=policy, by_tool=policy.layer_names)

    def check(self, job: Job) -> None:
        """Nothing is refused."""

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write the document, and read it again."""
        bits: Sequence[int | None] = job.policy.layer_bits or (None,) * len(job.policy)
        rows = zip(job.policy.layer_names, job.policy.formats, bits, strict=True)
        ranges = None if job.policy.ranges is None else job.policy.ranges.document()
        write_document(
            folder / DOCUMENT,
            KIND,
            VERSION,
            {"layers": [_layer(name, entry, count) for name, entry, count in rows], "activation_ranges": ranges},
        )
        found = formats_in(folder / DOCUMENT)
        for name, entry in zip(job.policy.layer_names, job.policy.formats, strict=True):
            if found[name].name != entry.name:
                raise ExportMismatch(f"json: layer {name!r} was asked in {entry.name!r} and is in {found[name].name!r}")
        return ()

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """What the document says."""
        found = formats_in(folder / DOCUMENT)
        return {
            layer.name: Stored(found[layer.name], found[layer.name].storage_bytes(layer), layer.name)
            for layer in job.layers
        }


def without_caches(policy: Policy) -> Policy:
    """The policy of the weights alone."""
    kept = [at for at, entry in enumerate(policy.formats) if cache_scheme(entry) is None]
    if len(kept) == len(policy):
        return policy
    return replace(
        policy,
        layer_names=tuple(policy.layer_names[at] for at in kept),
        formats=tuple(policy.formats[at] for at in kept),
        layer_bits=tuple(policy.layer_bits[at] for at in kept) if policy.layer_bits else (),
    )


def formats_in(path: Path) -> dict[str, Format]:
    """The formats of a ``quantization.json`` by layer; raises InvalidInput where it is missing or damaged."""
    source = f"the quantization {str(path)!r}"
    rows = entries(read_document(path, KIND, VERSION), "layers", source)
    with readable(source):
        return {str(row["layer"]): format_from(row["format"], source) for row in rows}


def _layer(name: str, entry: Format, bits: int | None) -> dict[str, Any]:
    counted = {} if bits is None else {name: bits}
    weights, inputs = entry.weight_scheme, entry.activation_scheme
    return {
        "layer": name,
        "format": format_document(entry, counted),
        "stored_bits": bits,
        "weights": None if weights is None else asdict(weights),
        "activations": None if inputs is None else asdict(inputs),
    }


def _no_weight(layer: str) -> Tensor:
    raise ExportMismatch(f"layer {layer!r} has no weight: no network was given")
