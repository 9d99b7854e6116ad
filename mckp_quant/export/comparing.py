"""Compares an artefact, read back, with what was asked: formats, bytes, codes and weights of every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..formats.capabilities import capability
from .contract import ExportMismatch
from .records import LayerRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..formats.format import Format
    from ..layers import Layer
    from .contract import Exporter, Job, Stored


def compare(exporter: Exporter, job: Job, found: Mapping[str, Stored]) -> Iterable[LayerRecord]:
    """Compare what was read back with what was asked.

    Parameters
    ----------
    exporter
        The exporter, whose row of capabilities says what a layer takes.
    job
        What was asked.
    found
        What the artefact says.

    Yields
    ------
    record
        One per layer, in the order of the policy.

    Raises
    ------
    ExportMismatch
        When a layer is missing, or its format, its bytes, its codes or its weight differ; the message names layer and
        rule.
    """
    for layer, entry in zip(job.layers, job.formats, strict=True):
        # A shared weight may stand under the name of any module that uses it.
        stored = next((found[name] for name in (layer.name, *layer.ties) if name in found), None)
        if stored is None:
            raise ExportMismatch(f"{exporter.name}: layer {layer.name!r} is not in the artefact")
        if stored.format.name.lower() != entry.name.lower():
            raise ExportMismatch(
                f"{exporter.name}: layer {layer.name!r} was asked in {entry.name!r}, but the artefact has it in "
                f"{stored.format.name!r} (at {stored.place!r})"
            )
        if entry.name != "float" and exporter.capability is not None:
            expected = capability(exporter.capability).stored_bytes(layer, entry)
            if stored.nbytes != expected:
                raise ExportMismatch(
                    f"{exporter.name}: layer {layer.name!r} in {entry.name!r} should take {expected:,} bytes, but "
                    f"takes {stored.nbytes:,} (at {stored.place!r})"
                )
        _compare_weight(exporter, job, layer, entry, stored)
        asked = entry.storage_bytes(layer)
        yield LayerRecord(layer.name, stored.place, entry.name, stored.format.name, asked, stored.nbytes)


def _compare_weight(exporter: Exporter, job: Job, layer: Layer, entry: Format, stored: Stored) -> None:
    if stored.weight is None:
        return
    from .sources import difference

    off = difference(job, layer, entry, stored)
    if off:
        raise ExportMismatch(f"{exporter.name}: the weight of layer {layer.name!r} in {entry.name!r} {off}")
