"""The network and its batches, as options: functions, files and checkpoints of the user."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.checks import check_count
from ..errors import InvalidInput, unknown
from .console import note
from .groups.outputs import OUTPUTS, OutputsOptions
from .load import load_metric, load_model, require_torch, stream_batches
from .parts.ranks import device_of_rank

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import nn

    from ..network.outputs import Outputs

CHECKPOINT, ONNX = "hf:", "onnx:"
DEVICES = ("cpu", "cuda", "mps", "xpu")
DTYPES = ("float32", "float64", "bfloat16", "float16")
_FILE_BATCH, _TEXT_BATCH = 32, 1
_CONTEXT = 512

MODEL_HELP = (
    "The network: package.module:function, path/to/file.py:function, hf:FOLDER for a local Hugging Face checkpoint "
    "of a causal language model (safetensors only), or onnx:FILE for an ONNX graph, which is run, not differentiated."
)
PANEL = "Network and data"


@dataclass(frozen=True)
class Source:
    """The network and its data, as the user names them: the options of every command that runs a network.

    The batches come from exactly one of `data` and `calibration`.
    """

    model: Annotated[str, typer.Option("--model", metavar="MODEL", rich_help_panel=PANEL, help=MODEL_HELP)]
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            rich_help_panel=PANEL,
            help="Batches: package.module:function, file.py:function, or .npz with inputs, targets (of onnx:FILE with "
            "the graph's inputs by name).",
        ),
    ] = None
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="TEXT",
            rich_help_panel=PANEL,
            help="For hf:FOLDER in the place of --data: a text file, UTF-8.",
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            rich_help_panel=PANEL,
            help=f"Samples in a batch, for an .npz ({_FILE_BATCH}) or a text ({_TEXT_BATCH} window).",
        ),
    ] = None
    context: Annotated[
        int | None,
        typer.Option(
            "--context",
            rich_help_panel=PANEL,
            help=f"Tokens in a window of the text; {_CONTEXT} if the model takes as many.",
        ),
    ] = None
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            rich_help_panel=PANEL,
            help="Where the network runs, such as cuda; by default where it was made.",
        ),
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", rich_help_panel=PANEL, help=f"{', '.join(DTYPES)}; by default as the network was made."
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.data is None and self.calibration is None and not self.checkpoint:
            raise InvalidInput("Missing option '--data': say where the batches come from")
        if self.calibration is not None and self.data is not None:
            raise InvalidInput("--data and --calibration are both given: give one")
        if self.calibration is not None and not self.checkpoint:
            raise InvalidInput(
                f"--calibration needs the tokenizer of a checkpoint: name the model as {CHECKPOINT}FOLDER"
            )
        if self.dtype is not None and self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        for option, count in (("--batch-size", self.batch_size), ("--context", self.context)):
            if count is not None:
                check_count(option, count, 1)

    @property
    def checkpoint(self) -> str:
        """The folder of the checkpoint; empty where the model is none."""
        return self.model.removeprefix(CHECKPOINT) if self.model.startswith(CHECKPOINT) else ""

    @property
    def graph(self) -> str:
        """The ONNX file; empty where the model is none."""
        return self.model.removeprefix(ONNX) if self.model.startswith(ONNX) else ""

    def network(self, *, weights: bool = True) -> nn.Module:
        """Load the network; without weights only for a checkpoint, on the meta device."""
        torch = require_torch()
        if self.graph:
            if self.dtype is not None or self.device not in (None, "cpu"):
                raise InvalidInput(
                    f"--model {self.model} is computed by ONNX Runtime, on the processor and in the graph's own types: "
                    "leave --dtype and --device away"
                )
            from ..onnx_models import load_onnx

            return load_onnx(self.graph)
        dtype = None if self.dtype is None else getattr(torch, self.dtype)
        if self.checkpoint:
            from ..network.huggingface import load_model as load_checkpoint

            network = load_checkpoint(self.checkpoint, dtype=dtype, weights=weights)
        else:
            network = load_model(self.model)
            if dtype is not None:
                network = network.to(dtype)
        return network if self.device is None or not weights else network.to(self._usable_device(torch))

    def _usable_device(self, torch: Any) -> Any:
        """The device; raises InvalidInput, in words, for one that does not exist or is not here."""
        name = device_of_rank(str(self.device))
        kind = name.partition(":")[0]
        if kind not in DEVICES:
            raise InvalidInput(
                f"--device {name!r} is no device: write cpu, cuda (or cuda:1, ...) for GPUs of NVIDIA and AMD, mps on "
                "a Mac, or xpu for those of Intel"
            )
        try:
            device = torch.device(name)
            torch.empty(1, device=device)  # whether it is here shows when it is used
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            said = str(error).partition("\n")[0].rstrip(".")
            raise InvalidInput(f"--device {name!r} cannot be used here: PyTorch says {said!r}") from error
        return device

    def some_batches(self, network: nn.Module, most: int | None) -> list[Any]:
        """The first batches, at most so many, or all; what comes behind them is not read."""
        if most is not None:
            check_count("--max-batches", most, 1)
        return list(itertools.islice(self.batches(network), most))

    def batches(self, network: nn.Module) -> Iterable[Any]:
        """The batches, one by one where the data allows it."""
        if self.data is not None:
            size = _FILE_BATCH if self.batch_size is None else self.batch_size
            if self.graph and self.data.endswith(".npz"):
                from ..onnx_models import OnnxNetwork, read_inputs

                assert isinstance(network, OnnxNetwork)
                return read_inputs(self.data, network, size)
            read = stream_batches(self.data, size)
            if self.dtype is None or not self.data.endswith(".npz"):
                return read
            dtype: torch.dtype = getattr(require_torch(), self.dtype)
            return [_cast(batch, dtype) for batch in read]
        if self.calibration is None:
            raise InvalidInput("Missing option '--calibration' (or '--data'): say where the batches come from")
        from ..network.huggingface import load_tokenizer, text_batches

        return text_batches(
            load_tokenizer(self.checkpoint),
            self.calibration,
            tokens=self._tokens(network),
            batch_size=_TEXT_BATCH if self.batch_size is None else self.batch_size,
        )

    def first_batch(self, network: nn.Module) -> Any:
        """One batch for planning; for a checkpoint its contents do not matter."""
        if self.data is not None:
            return next(iter(self.batches(network)), ())
        size = _TEXT_BATCH if self.batch_size is None else self.batch_size
        return {"input_ids": require_torch().zeros(size, self._tokens(network), dtype=require_torch().int64)}

    def _tokens(self, network: nn.Module) -> int:
        longest = getattr(getattr(network, "config", None), "max_position_embeddings", None)
        if self.context is None:
            return min(_CONTEXT, longest) if isinstance(longest, int) else _CONTEXT
        if isinstance(longest, int) and self.context > longest:
            raise InvalidInput(f"--context is {self.context}, but the model takes at most {longest} tokens")
        return self.context


@dataclass(frozen=True)
class JudgedOutputsOptions(OutputsOptions):
    """What the network's outputs mean, and what people judge them by."""

    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="FILE.py:FUNCTION",
            rich_help_panel=OUTPUTS,
            help="A figure of your own: a function of the logits and targets of a batch that returns one number a "
            "sample.",
        ),
    ] = None

    def read(self, network: object = None) -> Outputs:
        """The same for the library; raises InvalidInput where a value cannot be used."""
        found = super().read(network)
        return found if self.metric is None else dataclasses.replace(found, metric=load_metric(self.metric))


def announce(batches: Iterable[Any], passes: str, most: int | None = None) -> None:
    """Say on stderr how much will run, before it does.

    Parameters
    ----------
    batches
        The batches, which are not read.
    passes
        What is done with them.
    most
        How many are read at most.
    """
    try:
        count = len(batches)  # type: ignore[arg-type]
    except TypeError:
        count = None
    if most is not None:
        count = most if count is None else min(most, count)
    known = f"{count} batch{'' if count == 1 else 'es'}" if count is not None else "all batches that the data gives"
    note(f"to run on {known}: {passes}")


@dataclass(frozen=True)
class NamedFirst(Source):
    """The same for a command whose first argument is the network."""

    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]


def _cast(batch: Any, dtype: torch.dtype) -> Any:
    """The inputs of a batch of a file in the network's type, unless they are whole numbers."""
    if isinstance(batch, tuple):
        return (_cast(batch[0], dtype), batch[1])
    return batch.to(dtype) if batch.is_floating_point() else batch
