"""The commands about artefacts of toolchains: export and audit. They import torch when a target needs it."""

from __future__ import annotations

import dataclasses
import itertools
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.documents import PREFIX, write_document
from ..common.files import temporary_folder
from ..errors import InvalidInput
from ..export import ConfigurationOnly, contents, read_policy, with_file_size
from ..export import audit as audit_policy
from ..export import export as export_policy
from ..export.exporting import EXPORTERS
from ..export.records import KIND, REPORT, VERSION
from ..policy.policy import Policy
from ..report.exported import audit_report, contents_report, export_report
from ..tables.sizes import read_sizes
from .console import note, progress, show, show_json
from .groups.floats import tell_floats_of
from .load import stream_batches
from .networks import CHECKPOINT, MODEL_HELP, ONNX
from .option_groups import Inputs, Only, with_groups
from .options import (
    MADE_FROM,
    BatchSizeOption,
    FinishedOption,
    FolderOption,
    ForceOption,
    JsonOption,
    OnOption,
    PolicyArgument,
    RunningOptions,
    SecondsOption,
    ShapesOption,
    check_output,
    check_replaced,
    finished_from,
    table_from,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..layers import Layer
    from ..tables.table import SensitivityTable

_TARGETS = ", ".join(EXPORTERS)
OtherRounderOption = Annotated[
    bool,
    typer.Option(
        "--other-rounder", help="Allow weights of another rounder than the prediction is about: then it does not hold."
    ),
]


@with_groups
def export(
    policy: PolicyArgument,
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help=f"One of {_TARGETS}.")],
    output: FolderOption,
    running: Annotated[RunningOptions, Only(("max_batches",))],
    inputs: Inputs,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help=f"{MODEL_HELP} For gguf a float .gguf file.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Batches, as for measure, for targets that trace or calibrate: onnxruntime."),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="For gguf_tensors: llama.cpp's name for the kind of network, such as llama.")
    ] = None,
    bank: Annotated[
        Path | None, typer.Option("--bank", metavar="FOLDER", help="The rounded weights, such as 'round' makes.")
    ] = None,
    finished: FinishedOption = None,
    shapes: Annotated[
        Path | None,
        typer.Option(
            "--shapes",
            metavar="FILE",
            help="In place of the network, for configurations without weights: the sizes of all its layers, such as "
            "its .safetensors.",
        ),
    ] = None,
    other_rounder: OtherRounderOption = False,
    batch_size: BatchSizeOption = 32,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write a policy and its weights in the form of a toolchain, and read them back; exit code 1 if they differ."""
    chosen = Policy.load(policy)
    _check_weights(model, bank, finished)
    if shapes is not None and model is not None:
        raise InvalidInput(f"--model {model!r} and --shapes {str(shapes)!r} are both given: give one of them")
    check_output(output / "export.json")
    running.run()  # refuses what cannot be used
    check_replaced(output / REPORT, inputs, force=force)
    network: Any = _model(model) if model is not None else None if shapes is None else _layers(shapes, to)
    batches = [] if data is None else list(itertools.islice(_batches(data, network, batch_size), running.max_batches))
    with _in_place_of(output) as folder, progress(f"exporting to {to}"):
        report = export_policy(
            chosen,
            _target(to, architecture),
            model=network,
            output=folder,
            batches=batches,
            bank=None if bank is None else _bank(bank),
            finished=None if finished is None or network is None else finished_from(finished, network),
            other_rounder=other_rounder,
        )
        write_document(folder / REPORT, KIND, VERSION, {MADE_FROM: inputs.digest, **report.document()})
    report = dataclasses.replace(report, output=output)
    note(f"wrote {output}")
    for each in report.notes:
        note(each)
    if hasattr(network, "named_parameters"):  # and is no file, nor a list of layers
        tell_floats_of(chosen, network)
    if json:
        show_json({"schema": f"{PREFIX}/export/1", **report.document()})
    else:
        show(export_report(report))


def audit(
    artefact: Annotated[
        Path,
        typer.Argument(
            metavar="ARTEFACT",
            help="A policy, .onnx, .gguf, another tool's configuration, or a folder that export or a tool made.",
        ),
    ],
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            metavar="TABLE",
            help="Sensitivities of the same network; without them an .onnx file's formats and bytes are shown.",
        ),
    ] = None,
    original: Annotated[
        Path | None,
        typer.Option("--float", metavar="FILE.onnx", help="Without --table: the float file, for squared errors."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Whose storage counts, and whose formats the best policy may have.")
    ] = None,
    on: OnOption = None,
    shapes: ShapesOption = None,
    seconds: SecondsOption = 60.0,
    other_rounder: OtherRounderOption = False,
    json: JsonOption = False,
) -> None:
    """Compare an existing artefact with the best policy of its size and the smallest of its loss.

    Of an ONNX file without a table: its layers, their formats and bytes, and how far they are from those of --float.
    """
    if table is None:
        found_here = contents(artefact, original)
        if found_here.unmatched:
            note(f"{original} has no such weight, or another size of it: {', '.join(found_here.unmatched)}")
        if json:
            show_json({"schema": f"{PREFIX}/contents/1", **found_here.document()})
        else:
            show(contents_report(found_here))
        return
    if original is not None:
        raise InvalidInput(f"--float {str(original)!r} and --table {str(table)!r}: the table has the errors, give one")
    found = read_policy(artefact, layers=() if shapes is None else read_sizes(shapes).names)
    with progress("comparing with the optimum"):
        result = audit_policy(found, table_from(table, on), target=target, seconds=seconds, other_rounder=other_rounder)
    if result.left_out:
        note(f"not in the table and left out: {', '.join(result.left_out)}")
    if json:
        show_json({"schema": f"{PREFIX}/audit/1", **result.document()})
    else:
        show(audit_report(result))


def with_file_sizes(
    table: SensitivityTable, targets: Sequence[str], network: Any, batches: Callable[[], list[Any]]
) -> SensitivityTable:
    """The table with what the files of targets take, such as ``onnxruntime`` and ``gguf=FILE.gguf``."""
    for each in targets:
        target, _, file = each.partition("=")
        if (target == "gguf") != bool(file):
            raise InvalidInput(
                f"--target {each}: of gguf, and only of it, name the float file, --target gguf=FILE.gguf"
            )
        with progress(f"weighing the file of {target}"):
            table = with_file_size(table, target, model=Path(file) if file else network, batches=batches())
    return table


@contextmanager
def _in_place_of(output: Path) -> Iterator[Path]:
    """Where to export to: the folder itself, or one beside it that takes the place of an earlier export at the end."""
    if not (output / REPORT).is_file():
        yield output
        return
    with temporary_folder(output.resolve().parent) as temporary:
        made, earlier = temporary / "made", temporary / "earlier"
        yield made
        output.rename(earlier)
        made.rename(output)


def _target(to: str, architecture: str | None) -> Any:
    if architecture is None:
        return to
    if to != "gguf_tensors":
        raise InvalidInput(f"--architecture is for the target 'gguf_tensors', not for {to!r}")
    from ..export import Gguf

    return Gguf(architecture, tensors_only=True)


def _check_weights(model: str | None, bank: Path | None, finished: Path | None) -> None:
    """Refuse what does not go with a finished network, before anything is loaded."""
    if finished is None:
        return
    if bank is not None:
        raise InvalidInput(
            f"--finished {str(finished)!r} and --bank {str(bank)!r} are both given: a finished network has codes of "
            "its own, give one"
        )
    if model is None:
        raise InvalidInput(f"--finished {str(finished)!r} holds what finish changed: name the float network, --model")
    if model.endswith(".gguf"):
        raise InvalidInput(
            f"--model {model!r} is a file, in which norms and biases have a form of their own: name the float network "
            "as a function or a checkpoint"
        )


def _layers(shapes: Path, to: str) -> tuple[Layer, ...]:
    """The layers of a file of sizes that have weights of two or more dimensions."""
    if not isinstance(EXPORTERS.get(to), ConfigurationOnly):
        raise InvalidInput(f"--shapes is for configurations without weights, and {to!r} writes weights: give --model")
    sizes = read_sizes(shapes)
    found = [sizes.layer(name) for name in sizes.names]
    return tuple(layer for layer in found if layer is not None and len(layer.shape) > 1)


def _bank(folder: Path) -> Any:
    from ..rounding.bank import WeightBank

    return WeightBank.load(folder)


def _batches(data: str, network: Any, batch_size: int) -> Iterable[Any]:
    if type(network).__name__ == "OnnxNetwork" and data.endswith(".npz"):
        from ..onnx_models import read_inputs

        return read_inputs(data, network, batch_size)
    return stream_batches(data, batch_size)


def _model(spec: str) -> Any:
    if spec.endswith(".gguf"):
        return Path(spec)
    if spec.startswith(CHECKPOINT):
        from ..network.huggingface import load_model as load_checkpoint

        return load_checkpoint(spec.removeprefix(CHECKPOINT))
    if spec.startswith(ONNX):
        from ..onnx_models import load_onnx

        return load_onnx(spec.removeprefix(ONNX))
    from .load import load_model

    return load_model(spec)
