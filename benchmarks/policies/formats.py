"""What the number formats store and lose; and joint formats of weights and activations on a real network.

    python -m benchmarks.policies.formats [--data FOLDER] [--output FILE.md ...]

Without --data it prints a table of formats, with stored bits and the error on normal weights. With --data it also
measures, on the ResNet-20 of `benchmarks.policies.networks`, what joint formats cost to measure, how well the estimates
rank layers, and what policies of joint formats are worth. FOLDER is that of `benchmarks.policies.networks`. --output
puts each table between its markers in the markdown files that have them.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import mckp_quant as mq
from mckp_quant.common.files import write_text
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.formats.format import as_formats
from mckp_quant.network.batches import as_batch, evaluating
from mckp_quant.network.discovery import discover, uses_of
from mckp_quant.network.likelihoods import Categorical
from mckp_quant.rounding.weights import quantize
from mckp_quant.sensitivity import GaussNewton
from mckp_quant.sensitivity.cache import layer_weights
from mckp_quant.sensitivity.columns import Menu
from mckp_quant.sensitivity.task import Task

from ..command_line import Command, say
from ..pages import replaced
from ..ranks import rank_correlation
from . import networks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

SHOWN = (
    *("w2", "w3", "w4", "w8", "w4t", "w8t", "w4z", "w4g128", "w4g32", "w4g128z", "w3g64"),
    *("fp8_e4m3", "fp8_e5m2", "mxfp4", "nvfp4"),
)
RANKED = "w2,w3,w4,a8,a4,a3,w2a8,w3a8,w4a8,w2a4,w3a4,w4a4,w3a3,w4a3"
# Sets of formats whose cost is timed: weights alone, inputs alone, and joint ones.
TIMED = {
    "4 of weights": "w2,w3,w4,w8",
    "2 of inputs": "a4,a8",
    "8 joint: 4 of weights x 2 of inputs": "w2a4,w3a4,w4a4,w8a4,w2a8,w3a8,w4a8,w8a8",
    "16 joint: 4 of weights x 4 of inputs": ",".join(f"w{w}a{a}" for w in (2, 3, 4, 8) for a in (3, 4, 6, 8)),
}
CHOICES = ",".join(f"w{w}a{a}" for w in (2, 3, 4, 6, 8) for a in (3, 4, 6, 8))  # of the mixed policies
ROUNDS = 5
JUDGED = 128  # held-out images on which the divergence is measured
CALIBRATED = 256
SEEDS = (0, 1, 2)


def formats_table() -> str:
    """Stored bits per weight and signal-to-noise ratio on normal weights, for a layer of 1,000 rows of 1,000."""
    weight = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(0))
    layer = mq.Layer("layer", "linear", (1000, 1000), 1000, 0)
    lines = [
        "| format | weights | a scale for | scale | stored bits a weight | SQNR, dB |",
        "|---|---|---|---|--:|--:|",
    ]
    for entry in as_formats(SHOWN):
        scheme = entry.weight_scheme
        if scheme is None:
            continue
        error = (quantize(weight, entry, layer) - weight).square().sum() / weight.square().sum()
        element = f"{scheme.bits}-bit integer" if scheme.family == "integer" else scheme.element.upper()
        shared = f"{scheme.group_size} weights" if scheme.group_size else scheme.granularity
        scale = scheme.scale + ("" if scheme.symmetric else " and zero point") + (", float32" * scheme.tensor_scale)
        bits = entry.storage_bits(layer) / layer.elements
        lines.append(f"| `{entry.name}` | {element} | {shared} | {scale} | {bits:.3f} | {-10 * error.log10():.1f} |")
    return "\n".join(lines) + "\n"


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def cost_of(model: nn.Module, batch: tuple[Tensor, Tensor], formats: str) -> tuple[float, float]:
    """Gradient evaluations that a batch costs, and calibrating the ranges on it once; in CPU time, alternating."""
    columns, rows = as_formats(formats), discover(model, batch[0])
    menu = Menu.of(columns)
    ranges = mq.calibrate_ranges(model, [batch], columns)
    users = {name: use.module for name, use in uses_of(model, rows).items()}
    joint = menu.on(rows, users, ranges) if menu.schemes else None
    task = Task(model, layer_weights(model, rows, menu.weights), Categorical(), None, 0, joint)

    def gradient() -> None:
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        torch.autograd.grad(torch.nn.functional.cross_entropy(model(batch[0]), batch[1]), list(model.parameters()))

    calibration = (
        cpu_seconds(lambda: mq.calibrate_ranges(model, [batch], columns))
        if any(scheme.calibrated for scheme in menu.schemes)
        else 0.0
    )
    gradients, readings = [], []
    with evaluating(model):
        for _ in range(ROUNDS + 1):
            gradients.append(cpu_seconds(gradient))
            with GaussNewton().reading(task) as read:  # its hooks must not be there while the gradient is timed
                readings.append(cpu_seconds(lambda: read(as_batch(batch))))
    unit = statistics.median(gradients[1:])  # the first round warms up, and checks the hooks
    return statistics.median(readings[1:]) / unit, calibration / unit


def mixed_table(study: Any) -> str:
    """Uniform joint formats against the best mixed policy of the same bit operations and bytes, on held-out images."""
    images = torch.cat([inputs for inputs, _ in study.calibration])[:CALIBRATED]
    table = mq.measure(study.model, images.split(32), formats=CHOICES)
    evaluator = Evaluator(study.model, study.held_out)
    lines = [
        "| uniform | 10^9 bit operations | weights, kB | uniform: KL, nats | accuracy | mixed: KL, nats | accuracy | |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name in ("w4a8", "w4a4", "w3a4"):
        uniform = mq.Policy.uniform(table, name)
        budgets = {resource: uniform.costs[resource] for resource in ("bops", "weight_bytes")}
        mixed = mq.allocate(table, budgets).policy
        cells = [f"`{name}`", f"{budgets['bops'] / 1e9:.3f}", f"{budgets['weight_bytes'] / 1e3:.1f}"]
        for found in (evaluator.evaluate(uniform), evaluator.evaluate(mixed)):
            cells += [f"{found.kl:.3f} ± {found.kl_stderr:.3f}", f"{found.accuracy:.1%}"]
        lines.append(f"| {' | '.join(cells)} | {mixed.status} |")
        say(lines[-1])
    return "\n".join(lines) + "\n"


def joint_table(study: Any) -> str:
    """Cost and rank correlation of joint formats."""
    model = study.model
    images, labels = (torch.cat(each) for each in zip(*study.calibration, strict=True))
    judged = torch.cat([inputs for inputs, _ in study.held_out])[:JUDGED]
    batches = list(images[:CALIBRATED].split(32))
    lines = ["| formats, all 20 layers | gradient evaluations a batch | ranges, once |", "|---|--:|--:|"]
    for name, formats in TIMED.items():
        cost, calibration = cost_of(model, (images[:32], labels[:32]), formats)
        lines.append(f"| {name} | {cost:.2f} | {calibration:.2f} |")
        say(lines[-1])
    ranges = mq.calibrate_ranges(model, batches, RANKED)
    measured = mq.measure(model, judged.split(64), formats=RANKED, method="measured_kl", activation_range=ranges)
    tables = [
        mq.measure(model, batches, formats=RANKED, activation_range=ranges, run=mq.RunOptions(seed=seed))
        for seed in SEEDS
    ]
    lines += ["", "| format | rank correlation of 20 layers, 3 seeds | predicted / measured, median |", "|---|---|--:|"]
    medians = []
    for column, name in enumerate(measured.format_names):
        found = sorted(rank_correlation(table.loss[:, column], measured.loss[:, column]) for table in tables)
        ratio = np.median([table.loss[:, column] / measured.loss[:, column] for table in tables])
        medians.append(found[1])
        lines.append(f"| `{name}` | {', '.join(f'{each:.2f}' for each in found)} | {ratio:.2f} |")
    lines.append(f"| median, worst | {np.median(medians):.2f}, {min(medians):.2f} | |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 0."""
    command = Command(__doc__)
    command.folder("--data", help="the networks and their data")
    command.files("--output", "markdown files with markers")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    made = {"formats": formats_table()}
    if options.data is not None:
        networks.require_data(options.data, networks.FILES["resnet20"])
        study = networks.resnet20(networks.load_networks(options.data), options.data)
        made |= {"joint": joint_table(study), "mixed": mixed_table(study)}
    print("\n".join(made.values()), end="")
    for path in options.output:
        text = path.read_text(encoding="utf-8")
        for name, table in made.items():
            text = replaced(text, name, table) or text
        write_text(path, text)
        say(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
