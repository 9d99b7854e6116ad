"""Options that several commands share, and how their values are read; `request_options` has those of a request."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.documents import PREFIX, write_document
from ..common.run_options import RunOptions
from ..errors import InvalidInput
from ..tables import Handling, read_table
from ..tables.findings import ANSWERS
from .console import note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from ..common.run_options import Progress
    from ..rounding.chosen_weights import Weights
    from ..tables.table import SensitivityTable
    from ..tuning.finished import Finished
    from .option_groups import Inputs

RUNNING = "How it is run"

OnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="KIND=ANSWER",
        help="What to do about odd cells of a .csv or .npz; may be repeated: "
        + "; ".join(f"{kind}={'|'.join(answers)}" for kind, answers in ANSWERS.items())
        + ".",
    ),
]
ShapesOption = Annotated[
    Path | None,
    typer.Option(
        "--shapes",
        metavar="FILE",
        help="Sizes of the layers, for a table that lacks them: shapes by layer as JSON, a table with bytes, "
        ".safetensors, .map, or a folder of these two.",
    ),
]
SecondsOption = Annotated[float, typer.Option("--seconds", help="Time limit of each solver.")]
SeedOption = Annotated[
    int, typer.Option("--seed", rich_help_panel=RUNNING, help="Seed of whatever draws random numbers.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace a result that was made from other inputs, or is something else.")
]
FolderOption = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the results.")]
MADE_FROM = "made_from"  # the entry of a result that holds the digest of its inputs, right behind the schema
_MADE_FROM, _HEAD = re.compile(rb'"made_from": "([0-9a-f]{32})"'), 4096
_PAIRS = {"--budget": "NAME=VALUE, such as weight_bytes=90kB", "--pin": "LAYER=FORMAT, such as head=w8"}
DEMO_FOLDER = Path("demo-output")
PolicyArgument = Annotated[Path, typer.Argument(metavar="POLICY", help="A policy, as 'solve' writes it.")]
MaybeTableOption = Annotated[
    Path | None,
    typer.Option(
        "--table",
        metavar="TABLE",
        help="The table that predicts; its uniform policies run too, with --bank the best uniform one of the bank.",
    ),
]
FinishedOption = Annotated[
    Path | None,
    typer.Option("--finished", metavar="FOLDER", help="The finished network of this policy, as finish wrote it."),
]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", help="Samples in a batch, for an .npz.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, for programs.")]


@dataclass(frozen=True)
class TableOptions:
    """The sensitivity table that a command works on, and what to do about its odd cells."""

    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="A sensitivity table: .json as 'measure' or another tool writes it, .csv (wide, long, transposed), "
            ".npz.",
        ),
    ]
    on: OnOption = None
    shapes: ShapesOption = None

    def read(self) -> SensitivityTable:
        """Read the table; raises InvalidInput where that cannot be done."""
        return table_from(self.table, self.on, self.shapes)


@dataclass(frozen=True)
class RunningOptions:
    """How something long is run: the options of `RunOptions`."""

    seed: SeedOption = 0
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            rich_help_panel=RUNNING,
            help="Keeps what was measured; a later run goes on from there.",
        ),
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="FOLDER",
            rich_help_panel=RUNNING,
            help="Where to keep what was searched to round weights.",
        ),
    ] = None
    memory_limit: Annotated[
        str | None,
        typer.Option(
            "--memory-limit",
            rich_help_panel=RUNNING,
            help="Bytes in memory, such as 4GB: kept by measuring block by block, or refused with the least that "
            "works; for round, of sums of inputs.",
        ),
    ] = None
    max_batches: Annotated[
        int | None, typer.Option("--max-batches", rich_help_panel=RUNNING, help="Stop after so many batches.")
    ] = None

    def run(self, progress: Progress | None = None) -> RunOptions:
        """The same for the library; raises InvalidInput where a value cannot be used."""
        return RunOptions(
            seed=self.seed,
            checkpoint=self.checkpoint,
            cache=self.cache,
            memory_limit=self.memory_limit,
            max_batches=self.max_batches,
            progress=progress,
        )


@dataclass(frozen=True)
class BankOptions:
    """What weights are rounded to: the options of every command that runs the network under policies."""

    bank: Annotated[
        Path | None,
        typer.Option(
            "--bank",
            metavar="FOLDER",
            help="The weights in every format, as round wrote them; by default they are rounded to nearest.",
        ),
    ] = None
    other_rounder: Annotated[
        bool,
        typer.Option(
            "--other-rounder",
            help="Take a table or policy of another rounder, whose prediction does not hold.",
        ),
    ] = False

    def read(self) -> Weights:
        """Open the bank; raises InvalidInput where the folder holds none."""
        from ..rounding.bank import WeightBank
        from ..rounding.chosen_weights import Weights

        return Weights(None if self.bank is None else WeightBank.load(self.bank), self.other_rounder)


@dataclass(frozen=True)
class MaybeResultOptions:
    """Where the result may go: a file that says what it was made from, so that no other is replaced by mistake."""

    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write the result; by default nowhere."),
    ] = None
    force: ForceOption = False

    def check(self, inputs: Inputs) -> None:
        """Refuse, before any work, an output that cannot be written or that holds another result."""
        if self.output is not None:
            check_output(self.output)
            check_replaced(self.output, inputs, force=self.force)

    def write(self, kind: str, version: int, document: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
        """Write one JSON document with what it was made from, and say so; give it back with its schema."""
        whole = {MADE_FROM: inputs.digest, **document}
        if self.output is not None:
            write_document(self.output, kind, version, whole)
            note(f"wrote {self.output}")
        return {"schema": f"{PREFIX}/{kind}/{version}", **whole}


@dataclass(frozen=True)
class ResultOptions(MaybeResultOptions):
    """Where the result goes."""

    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the result.")] = field()


def check_replaced(path: Path, inputs: Inputs, *, force: bool) -> None:
    """Refuse to replace a regular file that was not made from the same inputs; raises InvalidInput."""
    if force or not path.is_file():
        return
    with path.open("rb") as file:
        found = _MADE_FROM.search(file.read(_HEAD))
    if found is None or found[1].decode() != inputs.digest:
        what = "does not say from what it was made" if found is None else "was made from other inputs"
        raise InvalidInput(f"-o {str(path)!r} exists already and {what}: name another file, or replace it with --force")


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Read repeated ``NAME=VALUE`` options.

    Parameters
    ----------
    option
        The option, for the error.
    texts
        What the user wrote.

    Returns
    -------
    pairs
        From names to values.

    Raises
    ------
    InvalidInput
        When there is no ``=``, a side is empty, or a name stands twice.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise InvalidInput(f"{option} {text!r} cannot be read: write {option} {_PAIRS.get(option, 'NAME=VALUE')}")
        if name in found:
            raise InvalidInput(f"{option} {name!r} is given twice ({found[name]!r} and {value!r}): give it once")
        found[name] = value
    return found


def names(text: str) -> list[str]:
    """Split a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def table_from(path: Path, answers: Sequence[str] | None, shapes: Path | None = None) -> SensitivityTable:
    """Read the table, doing about odd cells what ``--on`` says, with the sizes that ``--shapes`` gives."""
    return read_table(path, handling=Handling.of(pairs("--on", answers)), shapes=shapes).table


def finished_from(folder: Path, network: nn.Module) -> Finished:
    """What finish wrote into a folder; raises InvalidInput where it is damaged or another network's."""
    from ..tuning.finished import Finished

    return Finished.load(folder, network)


def check_output(path: Path, option: str = "-o") -> None:
    """Refuse an output that cannot be written, before any work is done for it; raises InvalidInput."""
    if path.is_dir():
        raise InvalidInput(f"{option} {str(path)!r} is a folder: name a file, such as {str(path / 'result')!r}")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidInput(
            f"{option} {str(path)!r} cannot be written: {str(folder)!r} is no folder that can be written to; name "
            "another file"
        )
