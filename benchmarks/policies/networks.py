"""Mixed against uniform precision on two real networks: what is predicted, and what held-out data say.

    python -m benchmarks.policies.networks --data FOLDER [--network resnet20|chargpt|all] [--output FILE]

FOLDER holds `networks.py`, which gives the networks and their data, and the files that it reads. Prints a markdown
table; --output also writes it to a .md file (between markers, so that the rest of the file stays) or to a .csv file.
"""

from __future__ import annotations

import csv
import datetime
import io
import math
import platform
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import mckp_quant as mq
from mckp_quant.common.files import write_text

from ..command_line import Command, WrongInput, say
from ..loading import load_module
from ..pages import fill, markers

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import ModuleType

    from torch import Tensor, nn

    from mckp_quant.evaluation.validation import Row

# The formats of most published tables, so that figures compare. With w1 and w7 too (--formats), KL at 3 bits and above
# stays within its error.
FORMATS = "w2,w3,w4,w5,w6,w8"
AVERAGES = (Fraction("2.25"), Fraction("2.5"), Fraction(3), Fraction("3.5"), Fraction(4))
FILES = {
    "resnet20": ("networks.py", "resnet20_cifar10.safetensors", "cifar10_exact.npz"),
    "chargpt": ("networks.py", "chargpt_shakespeare.safetensors", "tinyshakespeare.txt"),
}
HELP = """\
The folder is not part of the repository. It needs:
  networks.py                      resnet20(folder), cifar10(folder, split), chargpt(folder), shakespeare(folder, split)
  resnet20_cifar10.safetensors     ResNet-20 of github.com/akamaster/pytorch_resnet_cifar10, as safetensors
  cifar10_exact.npz                test_x (n, 3, 32, 32) uint8 and test_y of CIFAR-10 (at least 1,017 images)
  chargpt_shakespeare.safetensors  a character transformer trained on the first 90 % of the text
  tinyshakespeare.txt              github.com/karpathy/char-rnn, data/tinyshakespeare/input.txt
Name it with --data FOLDER; --network runs one of the two networks alone."""


@dataclass(frozen=True)
class Study:
    """A network, and the disjoint data on which it is measured and judged."""

    name: str
    model: nn.Module
    calibration: list[tuple[Tensor, Tensor]]
    held_out: list[tuple[Tensor, Tensor]]
    description: str


@dataclass(frozen=True)
class Line:
    """One policy of one network at one budget."""

    network: str
    average: str
    row: Row


def resnet20(networks: Any, folder: Path) -> Study:
    images, labels = networks.cifar10(folder, "test")
    calibration, held_out = slice(0, 512), slice(512, 1017)
    return Study(
        "ResNet-20",
        networks.resnet20(folder),
        _split(images[calibration], labels[calibration], 64),
        _split(images[held_out], labels[held_out], 101),
        "ResNet-20, CIFAR-10: measured on test images 0 to 511, judged on the other 505, 512 to 1016. "
        "Training images would not do: the network has memorised them and looks ten times less sensitive on them.",
    )


def chargpt(networks: Any, folder: Path) -> Study:
    inputs, targets = networks.shakespeare(folder, "validation")
    calibration, held_out = slice(0, 256), slice(len(inputs) - 384, len(inputs))
    return Study(
        "character transformer",
        networks.chargpt(folder),
        _split(inputs[calibration], targets[calibration], 16),
        _split(inputs[held_out], targets[held_out], 32),
        "Character transformer, tiny Shakespeare: measured on the first 256 windows of 128 characters of the validation"
        " text, judged on its last 384; figures are per character, standard errors over windows.",
    )


STUDIES = {"resnet20": resnet20, "chargpt": chargpt}


def _split(inputs: Tensor, targets: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def budget_bytes(layers: Sequence[mq.Layer], average: Fraction) -> int:
    """Bytes of the weights at `average` bits each and of one float32 scale a channel, rounded up per layer.

    Scales come on top, as with uniform formats, so that at an average of 3 bits uniform w3 fits to the byte.
    """
    return sum(math.ceil((average * layer.elements + 32 * (layer.channels or 0)) / 8) for layer in layers)


def run(study: Study, formats: str, seed: int) -> list[Line]:
    say(f"{study.name}: measuring")
    began = time.perf_counter()
    table = mq.measure(study.model, study.calibration, formats=formats, run=mq.RunOptions(seed=seed))
    say(f"{study.name}: measured {table.loss.size} cells in {time.perf_counter() - began:.1f} s")
    lines: list[Line] = []
    for average in AVERAGES:
        budget = {"weight_bytes": budget_bytes(table.layers, average)}
        others = {}
        if average.denominator == 1 and f"w{average}" in table.format_names:
            others["uniform"] = mq.Policy.uniform(table, f"w{average}")
        others["greedy"] = mq.allocate(table, budget, solver="greedy", seed=seed).policy
        exact = mq.allocate(table, budget, solver="exact", seed=seed).policy
        say(f"{study.name}, {float(average)} bits: {exact.status}; judging {len(others) + 1} policies")
        validation = mq.validate(study.model, exact, study.held_out, against=others)
        if not lines:
            lines.append(Line(study.name, "32", validation.rows[0]))
        lines += [Line(study.name, f"{float(average):g}", row) for row in validation.rows[1:]]
    return lines


HEADINGS = (
    "network",
    "average bits",
    "policy",
    "bytes",
    "predicted KL",
    "held-out KL",
    "KL above exact",
    "held-out loss",
    "top-1 %",
    "agreement %",
)


def _cells(line: Line) -> tuple[str, ...]:
    row, measured = line.row, line.row.measured
    return (
        line.network,
        line.average,
        _policy_name(row),
        f"{row.weight_bytes:,}",
        _number(row.predicted, row.predicted_stderr),
        _number(measured.kl, measured.kl_stderr) if row.policy else "",
        _number(row.kl_difference, row.kl_difference_stderr) if row.policy else "",
        f"{measured.loss:.4f}",
        f"{100 * measured.accuracy:.2f}",
        f"{100 * measured.agreement:.2f}" if row.policy else "",
    )


def _policy_name(row: Row) -> str:
    return "exact" if row.name == "policy" else row.name


def _number(value: float, stderr: float) -> str:
    if math.isnan(value):
        return ""
    if value == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(stderr))) if stderr > 0 else 4
    return f"{value:.{digits}f} ± {stderr:.{digits}f}"


def markdown(lines: Sequence[Line], studies: Sequence[Study], formats: str, network: str, seed: int) -> str:
    """The table, with what is needed to read it and to make it again."""
    versions = f"mckp-quant {mq.__version__}, torch {torch.__version__}, numpy {np.__version__}"
    asked = "" if network == "all" else f" --network {network}"
    asked += "" if formats == FORMATS else f" --formats {formats}"
    asked += "" if seed == 0 else f" --seed {seed}"
    known = sorted({line.row.policy.status for line in lines if line.row.policy and _policy_name(line.row) == "exact"})
    rows = [HEADINGS, ("---", "---:", "---", *["---:"] * 7), *(_cells(line) for line in lines)]
    text = [
        f"    python -m benchmarks.policies.networks --data FOLDER{asked}",
        "",
        f"{datetime.datetime.now(datetime.UTC).date()}, Python {platform.python_version()}, {versions}, "
        f"{torch.get_num_threads()} threads.",
        "",
        *(f"- {study.description}" for study in studies),
        f"- Weights only, every layer, formats {formats}; sensitivities by `gauss_newton`, one probe, seed {seed}. A "
        "budget of b bits is b bits for each weight and one float32 scale a channel: uniform b bits fit to the byte.",
        "- KL to the float network and loss in nats, ± one standard error. *KL above exact* is taken sample by sample, "
        f"and so is its standard error; 0 means the same formats. Policies of *exact* are {', '.join(known)}.",
        "",
        *("| " + " | ".join(cells) + " |" for cells in rows),
    ]
    return "\n".join(text) + "\n"


def as_csv(lines: Sequence[Line]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = ("kl", "kl_stderr", "loss", "loss_stderr", "accuracy", "accuracy_stderr", "agreement", "agreement_stderr")
    others = ("predicted", "predicted_stderr", "kl_difference", "kl_difference_stderr")
    writer.writerow(("network", "average_bits", "policy", "weight_bytes", *others, *names))
    for line in lines:
        row = line.row
        figures = [*(getattr(row, name) for name in others), *(getattr(row.measured, name) for name in names)]
        kept = ["" if math.isnan(each) else repr(float(each)) for each in figures]
        writer.writerow((line.network, line.average, _policy_name(row), row.weight_bytes, *kept))
    return file.getvalue()


def add_table(path: Path, text: str) -> None:
    """Write the table between its markers, which are added at the end of the page where it has none."""
    page = path.read_text(encoding="utf-8") if path.exists() else "# Results\n\n## Uniform against mixed precision\n"
    start, end = markers("networks")
    if start not in page:
        write_text(path, f"{page.rstrip()}\n\n{start}\n{end}\n")
    fill(path, {"networks": text})


def require_data(folder: Path | None, files: Iterable[str]) -> None:
    """Raise `WrongInput` where files are needed and no folder is named, or the folder lacks one of them."""
    needed = dict.fromkeys(files)
    if needed and folder is None:
        raise WrongInput(f"--data is missing.\n{HELP}")
    if lacking := [name for name in needed if folder is not None and not (folder / name).is_file()]:
        raise WrongInput(f"--data {folder} lacks {', '.join(lacking)}.\n{HELP}")


def load_networks(folder: Path) -> ModuleType:
    return load_module(folder / "networks.py", "benchmark_networks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0."""
    command = Command(__doc__)
    command.folder("--data", help="the networks and their data")
    command.choice("--network", [*STUDIES, "all"], "all")
    command.text("--formats", FORMATS, "the formats to choose from")
    command.whole("--seed", 0, "of the random probes", at_least=0)
    command.file("--output", help="a .md or .csv file to write too")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    chosen = list(STUDIES) if options.network == "all" else [options.network]
    if options.output is not None and options.output.suffix not in {".md", ".csv"}:
        raise WrongInput(f"--output {options.output}: the name must end in .md or .csv")
    require_data(options.data, (file for name in chosen for file in FILES[name]))
    networks = load_networks(options.data)
    studies = [STUDIES[name](networks, options.data) for name in chosen]
    lines = [line for study in studies for line in run(study, options.formats, options.seed)]
    text = markdown(lines, studies, options.formats, options.network, options.seed)
    print(text, end="")
    if options.output is not None:
        if options.output.suffix == ".csv":
            write_text(options.output, as_csv(lines))
        else:
            add_table(options.output, text)
        say(f"wrote {options.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
