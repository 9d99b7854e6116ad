"""What `gauss_newton` costs on the pretrained ResNet-20, in gradient evaluations.

    python benchmarks/sensitivity.py --data FOLDER

One gradient evaluation is a forward and a backward pass to all parameters on one batch. All layers are measured in four
formats on the same batches, in the same process and in alternating order; times are CPU times of one thread, medians
over rounds. The rounding of the weights, done once before the batches, is timed by itself and left out of the ratio.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mckp_quant as mq
from mckp_quant.batches import as_batches, evaluating
from mckp_quant.discovery import discover
from mckp_quant.formats import as_formats
from mckp_quant.sensitivity import gauss_newton
from mckp_quant.sensitivity._estimator import Task
from mckp_quant.sensitivity._measure import layer_weights
from mckp_quant.sensitivity.likelihood import Categorical

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

FORMATS = "w8,w4,w3,w2"
GOAL = 1.5  # gradient evaluations
NEEDED = ("networks.py", "resnet20_cifar10.safetensors", "cifar10_exact.npz")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help=f"folder with {', '.join(NEEDED)}")
    parser.add_argument("--batch", type=int, default=32, help="images per batch")
    parser.add_argument("--batches", type=int, default=4, help="batches per round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    missing = [name for name in NEEDED if options.data is None or not (options.data / name).is_file()]
    if missing:
        where = "no --data folder is given" if options.data is None else f"{options.data} lacks {', '.join(missing)}"
        print(
            f"{where}: name a folder that holds {', '.join(NEEDED)}. The weights are those of "
            "github.com/akamaster/pytorch_resnet_cifar10 (ResNet-20) as safetensors, the images the CIFAR-10 test set, "
            "and networks.py defines resnet20(folder) and cifar10(folder, split).",
            file=sys.stderr,
        )
        return 2
    torch.set_num_threads(1)
    networks = load_module(options.data / "networks.py")
    model: nn.Module = networks.resnet20(options.data)
    images, labels = networks.cifar10(options.data, "test")
    count = options.batch * options.batches
    batches = list(zip(images[:count].split(options.batch), labels[:count].split(options.batch), strict=True))

    began = time.process_time()
    layers = discover(model, batches[0])
    weights = layer_weights(model, layers, as_formats(FORMATS))
    rounding = time.process_time() - began
    tasks: dict[str, Callable[[], object]] = {
        "gradient": lambda: gradients(model, batches),
        "gauss_newton": lambda: estimated(Task(model, weights, Categorical(), None, 0, 1), batches),
    }
    seconds = timed(tasks, options.rounds)
    report(seconds, rounding, len(layers), options)
    return 0


def load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gradients(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    """One forward and backward pass to all parameters for each batch: the unit of cost."""
    for inputs, targets in batches:
        torch.autograd.grad(F.cross_entropy(model(inputs), targets), list(model.parameters()))


def estimated(task: Task, batches: list[tuple[Tensor, Tensor]]) -> None:
    with evaluating(task.model):
        gauss_newton.estimate(task, as_batches(batches))


def timed(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every task in every round; the order alternates, and a first round warms up uncounted."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name in list(tasks) if number % 2 else list(reversed(tasks)):
            began = time.process_time()
            tasks[name]()
            if number:
                seconds[name].append(time.process_time() - began)
    return seconds


def report(seconds: dict[str, list[float]], rounding: float, layers: int, options: argparse.Namespace) -> None:
    unit = statistics.median(seconds["gradient"])
    print(
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, mckp-quant {mq.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}, 1 thread"
    )
    print(
        f"ResNet-20, {layers} layers x {len(as_formats(FORMATS))} formats ({FORMATS}), {options.batches} batches of "
        f"{options.batch} images, {options.rounds} rounds, CPU seconds"
    )
    print(f"{'':14s}{'median':>9s}{'min':>9s}{'max':>9s}{'gradient evaluations':>23s}")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:14s}{median:9.3f}{min(values):9.3f}{max(values):9.3f}{median / unit:23.2f}")
    print(f"rounding the weights, once: {rounding:.3f}")
    ratio = statistics.median(seconds["gauss_newton"]) / unit
    print(f"goal: at most {GOAL} gradient evaluations: {'met' if ratio <= GOAL else 'MISSED'} ({ratio:.2f})")


if __name__ == "__main__":
    sys.exit(main())
