"""Exports and audits as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from .text import BLANK, table_of

if TYPE_CHECKING:
    from ..export import Audit, Contents, ExportReport, FileSize


def export_report(report: ExportReport) -> Group:
    """What was written: the files, and for each layer its format and its bytes."""
    lines = [f"{report.target}: {', '.join(report.files)} in {report.output}"]
    if report.layers:
        lines.append(f"weights of the policy     {report.asked_bytes:,} bytes")
        lines.append(f"weights in the artefact   {report.stored_bytes:,} bytes, as read back")
    if report.size is not None:
        lines += _size(report.size)
    if report.overhead_bytes and report.container:
        lines.append(f"the difference            {report.container}")
    if report.rounder:
        lines.append(f"weights rounded by        {report.rounder}{f', bank {report.bank[:12]}' if report.bank else ''}")
    rows = [
        (each.layer, each.place, each.found, f"{each.asked_bytes:,}", f"{each.stored_bytes:,}")
        for each in report.layers
    ]
    if not rows:
        return Group(Text("\n".join(lines)))
    table = table_of(("layer", "in the artefact", "format", "bytes asked", "bytes stored"), rows, left=3)
    return Group(Text("\n".join(lines)), BLANK, table)


def _size(size: FileSize) -> list[str]:
    """The file, what was asked of it, and where its bytes are."""
    named = size.files[0] if len(size.files) == 1 else f"{len(size.files)} files"
    said = "" if size.budget is None else f"; the budget is {size.budget:,}"
    said += "" if size.predicted is None else f", at most {size.predicted:,} were predicted"
    where = ", ".join(f"{name} {nbytes:,}" for name, nbytes in size.parts)
    return [f"{named:<26}{size.nbytes:,} bytes on disk{said}", f"of these                  {where}"]


def audit_report(audit: Audit) -> Group:
    """A policy beside the best of its size, layer by layer where they differ."""
    rows = [
        (layer, audit.policy[layer].name, audit.best[layer].name)
        for layer in audit.policy.layer_names
        if audit.policy[layer] != audit.best[layer]
    ]
    proof = "" if audit.proved else " (not proved least)"
    parts: list[Text] = [Text(f"{audit}{proof}"), Text(f"the best is {audit.best.status}")]
    if not rows:
        return Group(*parts)
    return Group(*parts, BLANK, table_of(("layer", "this policy", "best"), rows, left=3))


def contents_report(found: Contents) -> Group:
    """What a file holds: for each layer its format and bytes, and its error where the float file was given."""
    compared = any(each.squared_error is not None for each in found.layers)
    rows = [
        (
            each.layer,
            each.format,
            f"{each.weights:,}",
            f"{each.nbytes:,}",
            *((_figure(each.squared_error), _figure(each.relative_error)) if compared else ()),
        )
        for each in found.layers
    ]
    heads = ("layer", "format", "weights", "bytes", *(("squared error", "of its squares") if compared else ()))
    return Group(Text(str(found)), BLANK, table_of(heads, rows, left=2))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
