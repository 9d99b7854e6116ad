"""Exports a policy: refuses, writes, reads back, compares, and only then puts the artefact in its place."""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..allocation.choices import find_ties
from ..common.documents import write_document
from ..common.files import temporary_folder
from ..common.packages import missing, require
from ..errors import InvalidInput, unknown
from ..formats.capabilities import capability
from ..formats.schemes import FLOAT
from ..formats.storage import GGUF_BLOCKS
from ..layers import Layer
from .contract import ExportMismatch
from .records import KIND, VERSION, ExportReport, LayerRecord
from .writers.to_compressed_tensors import CompressedTensors
from .writers.to_gguf import Gguf
from .writers.to_huggingface import HuggingFace
from .writers.to_json import Json
from .writers.to_onnxruntime import OnnxRuntime
from .writers.to_onnxruntime_nbits import OnnxRuntimeNBits
from .writers.to_torchao import Torchao

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..formats.format import Format
    from ..policy.policy import Policy
    from .contract import Exporter, Job, Stored

# A new target is a file, a row in `capabilities.TARGETS` and a line here.
EXPORTERS: dict[str, Exporter] = {
    "compressed_tensors": CompressedTensors(),
    "gguf": Gguf(),
    "hf": HuggingFace(),
    "hf_torchao": HuggingFace("torchao"),
    "json": Json(),
    "onnxruntime": OnnxRuntime(),
    "onnxruntime_nbits": OnnxRuntimeNBits(),
    "sglang": CompressedTensors(capability="sglang"),
    "torchao": Torchao(),
    "vllm": CompressedTensors(capability="vllm"),
}

REPORT = "export.json"
POLICY = "policy.json"
_OF_THE_SYSTEM = re.compile(r"I/O error: (.*) \(os error (\d+)\)")  # as safetensors says it
_NAMED = 4  # fused layers that an error names


def available() -> dict[str, str | None]:
    """Which targets can be written here: from their names to None, or to why they cannot and what to type."""
    found: dict[str, str | None] = {}
    for name, exporter in EXPORTERS.items():
        lacking = [reason for reason in map(missing, exporter.packages) if reason]
        found[name] = f"{lacking[0]}; install it with: pip install 'mckp-quant[{exporter.extra}]'" if lacking else None
    return found


def export(
    policy: Policy,
    to: str | Exporter,
    *,
    model: Any = None,
    output: str | os.PathLike[str],
    batches: Iterable[object] = (),
) -> ExportReport:
    """Write a policy and the weights that it means in the form of a toolchain, and read it back.

    Parameters
    ----------
    policy
        The policy.
    to
        The name of a target, see `available`, or an exporter with its options.
    model
        The float network that the policy was made for.
    output
        The folder to make. Nothing is left of it where anything goes wrong.
    batches
        Example inputs, for targets that trace the network or calibrate ranges.

    Returns
    -------
    report
        For each layer what was asked, what the artefact says, and the bytes of both. It also lies in the folder, as
        ``export.json``, with the policy.

    Raises
    ------
    InvalidInput
        When the target is unknown or cannot take the policy: nothing is written.
    PackageMissing
        When a package of the target is not installed.
    ExportMismatch
        When the artefact, read back, does not say what was asked.
    """
    exporter = _exporter(to)
    for package in exporter.packages:
        require(package, exporter.extra)
    folder = Path(output).resolve()  # of ".", a name and a parent
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"output {os.fspath(output)!r} exists already: name a new or an empty folder")
    job = exporter.prepare(policy, model, tuple(batches))
    _check_capability(exporter, job)
    exporter.check(job)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent) as temporary:
        made = temporary / folder.name
        made.mkdir()
        with _saying_where(output):
            notes = exporter.write(job, made)
        report = ExportReport(
            target=exporter.name,
            output=Path(output),
            files=tuple(sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())),
            layers=tuple(compare(exporter, job, exporter.read(made, job))),
            container=exporter.container,
            versions=tuple((name, _version(name)) for name in exporter.packages),
            notes=tuple(notes),
        )
        _with_bits(job).save(made / POLICY)
        write_document(made / REPORT, KIND, VERSION, report.document())
        for path in made.rglob("*"):
            if path.is_file():  # some writers leave files that only their owner may read
                path.chmod((made / REPORT).stat().st_mode)
        if folder.exists():
            folder.rmdir()
        shutil.move(made, folder)
    return report


@contextlib.contextmanager
def _saying_where(output: str | os.PathLike[str]) -> Iterator[None]:
    """Give an error of the disk the name of what is written: the libraries that write say little, each its own way."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or f"the disk is full, or files may not be so large ({error})"
        raise OSError(error.errno or errno.ENOSPC, f"cannot write {os.fspath(output)!r}: {reason}") from error
    except Exception as error:
        found = _OF_THE_SYSTEM.search(str(error))
        if found is None:
            raise
        raise OSError(int(found[2]), f"cannot write {os.fspath(output)!r}: {found[1]}") from error


def _with_bits(job: Job) -> Policy:
    """The policy with the bits of its layers, without which formats of other tools cannot be written down."""
    if job.policy.layer_bits or not job.layers:
        return job.policy
    rows = zip(job.layers, job.formats, strict=True)
    return replace(job.policy, layer_bits=tuple(entry.storage_bits(layer) for layer, entry in rows))


def _exporter(to: str | Exporter) -> Exporter:
    if not isinstance(to, str):
        return to
    if to not in EXPORTERS:
        raise unknown("export target", to, EXPORTERS)
    return EXPORTERS[to]


def _version(package: str) -> str:
    return importlib.metadata.version(package.partition(".")[0].replace("_", "-"))


def _check_capability(exporter: Exporter, job: Job) -> None:
    target = exporter.capability
    if target is None:
        return
    advice = f"allocate with target={target!r}, which leaves out what it cannot take"
    taken = capability(target)
    for layer, entry in job.chosen:
        reason = taken.refuses(layer, entry)
        if not reason and not entry.built_in and not (taken.blocks and entry.name.upper() in GGUF_BLOCKS):
            reason = "it is a user's own, and how it stores numbers is not known"
        if reason:
            raise InvalidInput(
                f"{target} cannot take layer {layer.name!r} in format {entry.name!r}: {reason}; {advice}"
            )
    given = {layer.name: entry.name for layer, entry in zip(job.layers, job.formats, strict=True)}
    for names in find_ties((*job.layers, *_others(job)), taken.ties) if taken.ties else ():
        first = given.get(names[0], FLOAT)
        for name in names[1:]:
            if given.get(name, FLOAT) != first:
                raise InvalidInput(
                    f"{target} fuses the layers {_listed(names)}, but {names[0]!r} {_has(names[0], given)} and "
                    f"{name!r} {_has(name, given)}; {advice}"
                )


def _others(job: Job) -> list[Layer]:
    """The network's weights that the policy does not name: they stay in floating point."""
    from ..network.weight_uses import uses_in

    named = {name for layer in job.layers for name in (layer.name, *layer.ties)}
    # Their names are all that counts, and a weight that cannot be quantised may not even have a shape.
    return [Layer(name, "", (1,), None, None) for name in uses_in(job.model) if name not in named]


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def _has(name: str, given: Mapping[str, str]) -> str:
    return f"has the format {given[name]!r}" if name in given else "is not in the policy and stays in float"


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
        When a layer is missing, or its format, its bytes or its weight differ; the message names layer and rule.
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

    off = difference(job.weight(layer.name), layer, entry, stored.weight)
    if off:
        raise ExportMismatch(f"{exporter.name}: the weight of layer {layer.name!r} in {entry.name!r} {off}")
