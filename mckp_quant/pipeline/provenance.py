"""Where a result comes from: hashes of weights and data, options, versions, seeds, times; nothing of the machine."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..common.documents import plain, read_document, write_document
from ..common.shown import shown
from ..errors import InvalidInput
from ..network.fingerprint import Fingerprint
from ..rounding.banking import described, rounder_of
from .calibration import data_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from ..allocation.request import Request
    from ..network.outputs import Outputs
    from .calibration import Data
    from .result import Decision
    from .settings import Settings

KIND, VERSION = "provenance", 1
DOCUMENT = "provenance.json"
PACKAGES = ("numpy", "scipy", "ortools", "torch", "safetensors")


def fingerprint_of(model: nn.Module, data: Data, outputs: Outputs) -> Fingerprint:
    """What tells the network of a run, and what is taken of its outputs."""
    options = {name: str(value) for name, value in outputs_document(outputs).items()}
    return Fingerprint.of(model, data.first, outputs.logits, options)


def outputs_document(outputs: Outputs) -> dict[str, Any]:
    """What is said of the outputs, in plain types; what functions take of them shows in the outputs themselves."""
    given = {each.name: getattr(outputs, each.name) for each in dataclasses.fields(outputs) if each.name != "heads"}
    found: dict[str, Any] = plain(
        {name: value for name, value in given.items() if value is not None and not callable(value)}
    )
    if outputs.heads:
        found["heads"] = [outputs_document(each) for each in outputs.heads]
    return found


def data_document(data: Data) -> dict[str, Any]:
    """The data of a run by their digests and sizes."""
    return {
        "calibration": {
            part.name: {
                "digest": part.digest,
                "weight": part.weight,
                "batches": len(part.fitted),
                "samples": sum(batch.size for batch in part.fitted),
            }
            for part in data.parts
        },
        "held_out": {
            "digest": data_digest(data.held_out),
            "batches": len(data.held_out),
            "samples": sum(batch.size for batch in data.held_out),
            "how": data.how,
        },
    }


def settings_document(settings: Settings) -> dict[str, Any]:
    """The settings in plain types; rounder and estimator with their options."""
    found = {each.name: getattr(settings, each.name) for each in dataclasses.fields(settings)}
    formats = settings.formats
    listed = formats if isinstance(formats, str) else [getattr(each, "name", each) for each in formats]
    method = settings.method if isinstance(settings.method, str) else shown(repr(settings.method))
    return {**found, "formats": listed, "rounder": described(rounder_of(settings.rounder)), "method": method}


def provenance_of(
    fingerprint: Fingerprint, data: Data, request: Request, settings: Settings, seed: int, begun: datetime
) -> dict[str, Any]:
    """Describe where the results of a run come from.

    Parameters
    ----------
    fingerprint
        Of the network.
    data
        Its data.
    request, settings, seed
        What was asked.
    begun
        When this run began.

    Returns
    -------
    document
        In plain types, to which the steps are added as they are made.
    """
    return {
        "made_by": f"mckp-quant {__version__}",
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "begun": begun.isoformat(timespec="seconds"),
        "seed": seed,
        "network": fingerprint.document(),
        "data": data_document(data),
        "request": request.document(),
        "settings": settings_document(settings),
    }


def with_steps(document: Mapping[str, Any], steps: Sequence[Decision]) -> dict[str, Any]:
    """The document with the steps so far, and the time now."""
    listed = [dataclasses.asdict(each) for each in steps]
    return {**document, "ended": datetime.now(UTC).isoformat(timespec="seconds"), "steps": listed}


def check_same_run(folder: Path, fingerprint: Fingerprint) -> None:
    """Refuse a folder with the results of another network; raises InvalidInput that says what differs."""
    path = folder / DOCUMENT
    if not path.exists():
        return
    known = read_document(path, KIND, VERSION).get("network")
    changed = "it does not say of which network" if known is None else fingerprint.difference(known)
    if changed:
        raise InvalidInput(
            f"the folder {str(folder)!r} holds the results of another run: {changed}; name another folder, or "
            "delete this one (on the command line --force)"
        )


def write_provenance(folder: Path, document: dict[str, Any]) -> None:
    """Write the provenance of a run into its folder."""
    write_document(folder / DOCUMENT, KIND, VERSION, document)


def _versions() -> list[tuple[str, str]]:
    found = []
    for package in PACKAGES:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
