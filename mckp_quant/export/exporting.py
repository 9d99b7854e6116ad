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
from ..formats.blocks import GGUF_BLOCKS
from ..formats.cache_formats import cache_scheme
from ..formats.capabilities import capability
from ..formats.schemes import FLOAT
from ..layers import Layer
from .comparing import compare
from .configurations.writing import WRITTEN, ConfigurationOnly
from .records import KIND, REPORT, VERSION, ExportReport
from .sizes.checking import size_of
from .writers.to_compressed_tensors import CompressedTensors
from .writers.to_gguf import Gguf
from .writers.to_huggingface import HuggingFace
from .writers.to_json import Json
from .writers.to_onnxruntime import OnnxRuntime
from .writers.to_onnxruntime_nbits import OnnxRuntimeNBits
from .writers.to_torchao import Torchao

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..policy.policy import Policy
    from ..rounding.bank import WeightBank
    from .contract import Exporter, FinishedNetwork, Job

# A new target is a file, a row in `capabilities.TARGETS` and a line here.
EXPORTERS: dict[str, Exporter] = {
    "compressed_tensors": CompressedTensors(),
    "gguf": Gguf(),
    "gguf_tensors": Gguf(tensors_only=True),
    "hf": HuggingFace(),
    "hf_torchao": HuggingFace("torchao"),
    "json": Json(),
    "onnxruntime": OnnxRuntime(),
    "onnxruntime_nbits": OnnxRuntimeNBits(),
    "onnxruntime_vnni": OnnxRuntime(signed=True, sums=True),
    "sglang": CompressedTensors(capability="sglang"),
    "torchao": Torchao(),
    "vllm": CompressedTensors(capability="vllm"),
    **{name: ConfigurationOnly(name) for name in WRITTEN},
}

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
    bank: WeightBank | None = None,
    finished: FinishedNetwork | None = None,
    other_rounder: bool = False,
) -> ExportReport:
    """Write a policy and the weights that it means in the form of a toolchain, and read it back.

    The codes that are written exist before: in the bank, or in the one of the finished network. Without either they are
    those of round-to-nearest.

    Parameters
    ----------
    policy
        The policy.
    to
        The name of a target, see `available`, or an exporter with its options.
    model
        The float network that the policy was made for. With `finished` it may be left out.
    output
        The folder to make. Nothing is left of it where anything goes wrong.
    batches
        Example inputs, for targets that trace the network or calibrate ranges.
    bank
        The weights in every format, such as `round_weights` makes.
    finished
        What `finish` made for this policy: its codes are written, and its biases and norms.
    other_rounder
        Whether the policy may come from a table of another rounder, whose prediction then does not hold.

    Returns
    -------
    report
        For each layer what was asked, what the artefact says, and the bytes of both. It also lies in the folder, as
        ``export.json``, with the policy.

    Raises
    ------
    InvalidInput
        When the target is unknown or cannot take the policy; when the bank is another network's, lacks a format, or
        comes from another rounder than the policy's prediction; when the network was finished for another policy, or
        has biases that the target cannot hold. Nothing is written.
    PackageMissing
        When a package of the target is not installed.
    ExportMismatch
        When the artefact, read back, does not say what was asked.
    FileTooLarge
        When the file is larger than the policy's budget ``file_bytes``. Nothing is left of it.
    """
    exporter = _exporter(to)
    cached = [name for name, entry in zip(policy.layer_names, policy.formats, strict=True) if cache_scheme(entry)]
    if cached and exporter.name != "json":
        raise InvalidInput(
            f"{exporter.name} takes no formats of the KV cache layer by layer, and the policy has one for "
            f"{cached[0]!r}: export to json, or solve the table of the weights alone"
        )
    for package in exporter.packages:
        require(package, exporter.extra)
    folder = Path(output).resolve()  # of ".", a name and a parent
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"output {os.fspath(output)!r} exists already: name a new or an empty folder")
    job = _job(exporter, policy, model, tuple(batches), finished)
    _check_capability(exporter, job)
    job = _with_codes(job, bank, finished, other_rounder)
    exporter.check(job)
    job = job if job.form is None else job.form(job)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent) as temporary:
        made = temporary / folder.name
        made.mkdir()
        with _saying_where(output):
            notes = exporter.write(job, made)
        layers = tuple(compare(exporter, job, exporter.read(made, job)))
        report = ExportReport(
            target=exporter.name,
            output=Path(output),
            files=tuple(sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())),
            layers=layers,
            container=exporter.container,
            versions=tuple((name, _version(name)) for name in exporter.packages),
            notes=(*notes, *_own_rounding(exporter, job)),
            rounder=job.rounder,
            bank=job.bank.digest if job.bank is not None and job.coded else "",
            size=size_of(exporter, made, layers, policy),
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


def _job(
    exporter: Exporter, policy: Policy, model: Any, batches: tuple[object, ...], finished: FinishedNetwork | None
) -> Job:
    if finished is None:
        return exporter.prepare(policy, model, batches)
    if isinstance(model, (str, os.PathLike)):
        raise InvalidInput(
            f"model is the file {os.fspath(model)!r}, in which norms and biases have a form of their own: a finished "
            "network is exported without it, model=None; or give bank=finished.bank, and export its codes only"
        )
    from .banks import gained, network_of, policy_of

    job = exporter.prepare(policy_of(finished, policy), network_of(finished), batches)
    return replace(job, gained=gained(job.model, model))


def _with_codes(job: Job, bank: WeightBank | None, finished: FinishedNetwork | None, other_rounder: bool) -> Job:
    if finished is not None and bank is not None:
        raise InvalidInput("bank and finished are both given: a finished network has a bank of its own, give one")
    if job.nearest is None:  # no network, no codes
        return job
    from .banks import with_bank

    if finished is not None:
        return with_bank(job, finished.bank, finished=True, other_rounder=other_rounder)
    return with_bank(job, bank, other_rounder=other_rounder)


def _own_rounding(exporter: Exporter, job: Job) -> tuple[str, ...]:
    """What has to be said where the target's tool rounds by itself, and the prediction is about a better rounder."""
    rounder = job.policy.rounder or ("" if job.bank is None else job.bank.rounder)
    if not job.by_tool or rounder in ("", "nearest"):
        return ()
    return (
        f"{exporter.name}: the tool that reads this rounds {_listed(job.by_tool)} by itself; the prediction is about "
        f"weights rounded by {rounder}, and does not hold there",
    )


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
    named = {name for layer in job.layers for name in (layer.name, *layer.ties)}
    if isinstance(job.model, tuple):
        return [layer for layer in job.model if layer.name not in named]
    from ..network.weight_uses import uses_in

    # Their names are all that counts, and a weight that cannot be quantised may not even have a shape.
    return [Layer(name, "", (1,), None, None) for name in uses_in(job.model) if name not in named]


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def _has(name: str, given: Mapping[str, str]) -> str:
    return f"has the format {given[name]!r}" if name in given else "is not in the policy and stays in float"
