"""Twenty architectures of transformers against targets that write files: written and loaded, or refused with a rule.

    python -m benchmarks.exports.architectures [--architecture NAME,NAME] [--target NAME,NAME] [--output FILE.csv]
        [--page FILE]

Networks are small, with random weights. Every layer has a format that the target takes, or stays in float where it
takes none. The artefact is loaded by the runtime's own call, in `loading`, and runs on an input: its outputs are held
against those of the simulated policy. vLLM is not run: its configuration is read by compressed-tensors, and
transformers loads its checkpoint. Cells that are in FILE.csv are not made again. Exit code 1 where one is neither
written and loaded nor refused.
"""

from __future__ import annotations

import csv
import re
import tempfile
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import mckp_quant as mq
from mckp_quant.export import export
from mckp_quant.formats import TARGETS
from mckp_quant.network.discovery import discover

from ..command_line import Command, WrongInput, say
from ..pages import fill, table
from .loading import LOADERS, PARSED
from .small_networks import NAMES, small_network

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from torch import nn

# From a target to its row of capabilities, and the formats that its layers get, the first that it takes.
MENUS = {
    "torchao": ("torchao", ("w8",)),
    "hf": ("compressed_tensors", ("w4g32", "w8")),
    "hf_torchao": ("torchao", ("w8",)),
    "vllm": ("vllm", ("w4g32", "w8")),
    "onnxruntime": ("onnxruntime", ("w8",)),
    "gguf_tensors": ("gguf", ("w8g32",)),
}
LOADED, REFUSED, FAILED = "loaded", "refused", "failed"
_LEAST = 30.0  # dB
_LONGEST = 400  # letters of a reason that are kept


@dataclass(frozen=True)
class Cell:
    """What came of one architecture and target.

    Attributes
    ----------
    architecture, target
        Which.
    outcome
        ``"loaded"``, ``"parsed"``, ``"refused"`` or ``"failed"``.
    layers
        How many layers are quantised, and of how many.
    decibels
        The ratio of the outputs to their difference from the simulated policy; empty where nothing was run.
    reason
        Why it was refused, or failed.
    """

    architecture: str
    target: str
    outcome: str
    layers: str = ""
    decibels: str = ""
    reason: str = ""

    @property
    def shown(self) -> str:
        """The cell of the table."""
        if self.outcome in (REFUSED, FAILED):
            return self.outcome
        ratio = "the same" if self.decibels == "inf" else f"{self.decibels} dB"
        return f"{self.outcome}, {self.layers}" + (f", {ratio}" if self.decibels else "")


def policy_for(model: nn.Module, batch: dict[str, Any], target: str) -> mq.Policy:
    """Every layer in the first format of the target's menu that it takes; in float where it takes none."""
    capability, menu = TARGETS[MENUS[target][0]], [mq.Format.named(name) for name in MENUS[target][1]]
    layers = discover(model, batch)
    leave = mq.Format.named("float")
    formats = [next((entry for entry in menu if capability.takes(layer, entry)), leave) for layer in layers]
    return mq.Policy(tuple(layer.name for layer in layers), tuple(formats))


def cell_of(architecture: str, target: str) -> Cell:
    """Export one network to one target, load it, and run it."""
    model, batch = small_network(architecture)
    layers = ""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "artefact"
        try:
            policy = policy_for(model, batch, target)
            count = sum(entry.name != "float" for entry in policy.formats)
            layers = f"{count} of {len(policy)}"
            batches = [batch] if target == "onnxruntime" else []
            export(policy, target, model=model, output=output, batches=batches)
        except mq.InvalidInput as error:
            if output.exists():
                return Cell(architecture, target, FAILED, layers, reason="refused, but something was written")
            return Cell(architecture, target, REFUSED, layers, reason=_short(error))
        except Exception as error:  # noqa: BLE001 - a traceback is what this looks for
            return Cell(architecture, target, FAILED, layers, reason=_short(error))
        try:
            found = LOADERS[target](output, model, batch)
        except Exception as error:  # noqa: BLE001 - as above
            return Cell(architecture, target, FAILED, layers, reason=f"loading: {_short(error)}")
    if found is None:
        return Cell(architecture, target, PARSED, layers)
    with torch.no_grad():
        wanted = mq.apply(model, policy)(**batch).logits.double().numpy()
    noise = float(((wanted - found) ** 2).sum())
    ratio = float("inf") if noise == 0 else float(10 * np.log10((wanted**2).sum() / noise))
    outcome = LOADED if ratio > _LEAST else FAILED
    return Cell(architecture, target, outcome, layers, f"{ratio:.0f}", "" if outcome == LOADED else "outputs differ")


def _short(error: Exception) -> str:
    return re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")[:_LONGEST]


def read_cells(path: Path) -> list[Cell]:
    """The cells of a file that was written before; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [Cell(**row) for row in csv.DictReader(file)]


def add_cell(path: Path, cell: Cell) -> None:
    """Add a cell to a file."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow([field.name for field in fields(Cell)])
        writer.writerow(astuple(cell))


def markdown(cells: Sequence[Cell]) -> str:
    """The table of the page, and below it each rule by which something was refused."""
    by_place = {(each.architecture, each.target): each for each in cells}
    rows = [
        (name, *(by_place[name, target].shown if (name, target) in by_place else "not run" for target in MENUS))
        for name in NAMES
    ]
    text = table(("architecture", *(f"`{target}`" for target in MENUS)), rows)
    reasons: dict[str, list[str]] = {}
    for each in cells:
        if each.reason:
            rule = each.reason.removeprefix("InvalidInput: ")
            reasons.setdefault(rule, []).append(f"{each.architecture} to `{each.target}`")
    return "\n".join([text.rstrip("\n"), "", *(f"- {', '.join(who)}: {rule}" for rule, who in reasons.items())])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 1 where a cell failed."""
    command = Command(__doc__)
    command.several("--architecture", str, ",".join(NAMES), "which architectures", "NAME,NAME")
    command.several("--target", str, ",".join(MENUS), "which targets", "NAME,NAME")
    command.file("--output", help="a file of cells: those that it has are not made again")
    command.file("--page", help="a page to write the table into")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    for option, known, given in (
        ("--architecture", NAMES, options.architecture),
        ("--target", MENUS, options.target),
    ):
        unknown = next((name for name in given if name not in known), None)
        if unknown is not None:
            raise WrongInput(f"{option} {unknown}: there is none of this name; known are {', '.join(known)}")
    torch.set_num_threads(1)
    cells = [] if options.output is None else read_cells(options.output)
    done = {(each.architecture, each.target) for each in cells}
    for architecture in options.architecture:
        for target in options.target:
            if (architecture, target) in done:
                continue
            cell = cell_of(architecture, target)
            say(f"{architecture}, {target}: {cell.shown} {cell.reason}")
            cells.append(cell)
            if options.output is not None:
                add_cell(options.output, cell)
    text = markdown(cells)
    if options.page is None:
        print(text)
    else:
        fill(options.page, {"architectures": text})
    return int(any(each.outcome == FAILED for each in cells))


if __name__ == "__main__":
    raise SystemExit(main())
