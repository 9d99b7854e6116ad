"""ONNX artefacts: how long they take beside what torch.onnx.export makes of the float network, and how exact they are.

    python -m benchmarks.exports.onnx_speed [--network resnet20|depthwise] [--data FOLDER] [--batch N] [--rounds N]
        [--weights FILE]

Every artefact runs in a process of its own with one thread. All take turns, round after round; the time is the median
over the rounds of the processor time of one call. Signal to noise is that of the outputs on held-out images against the
simulated policy. FOLDER is that of `benchmarks.policies.networks`; the weights of the depthwise network are those that
`python -m benchmarks.trained.depthwise train` writes.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file

import mckp_quant as mq
from mckp_quant.demo import digits
from mckp_quant.export import OnnxRuntime, export
from mckp_quant.network.discovery import discover
from mckp_quant.rounding.calibration import calibrate_ranges

from ..command_line import Command, WrongInput, require_file
from ..environment import environment
from ..policies.networks import FILES, load_networks, require_data, resnet20
from ..trained.depthwise import DepthwiseNetwork

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray
    from torch import Tensor, nn

# The names of the rows, their formats, and what writes them.
ROWS: dict[str, tuple[str, OnnxRuntime]] = {
    "float": ("float", OnnxRuntime()),
    "w8": ("w8", OnnxRuntime()),
    "w4": ("w4", OnnxRuntime()),
    "w8a8": ("w8a8", OnnxRuntime()),
    "w8a8, sums rounded": ("w8a8", OnnxRuntime(sums=True)),
    "w8a8, for VNNI": ("w8a8", OnnxRuntime(signed=True, sums=True)),
}
PLAIN = "torch.onnx.export"
_CALIBRATION = 64
_CALLS = 5  # of which a round takes the mean


@dataclass(frozen=True)
class Row:
    """One artefact: what it is, how long it takes, and how far its outputs are from the simulated policy."""

    name: str
    nbytes: int
    seconds: float
    decibels: float
    kernels: Mapping[str, int]


def write(model: nn.Module, images: Tensor, folder: Path) -> dict[str, Path]:
    """Write the network as torch does, and every row of the table."""
    files = {PLAIN: folder / "plain.onnx"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (images[:1],),
            files[PLAIN],
            dynamo=True,
            dynamic_shapes=({0: "batch"},),
            verbose=False,
            external_data=False,
        )
    for name in ROWS:
        made = folder / name.replace(" ", "_").replace(",", "")
        export(policy_of(model, images, name), ROWS[name][1], model=model, output=made, batches=[images])
        files[name] = made / "model.onnx"
    return files


def policy_of(model: nn.Module, images: Tensor, name: str) -> mq.Policy:
    """One format for every layer, with ranges calibrated on the images."""
    entry = mq.Format.named(ROWS[name][0])
    layers = [layer.name for layer in discover(model, images[:2]) if layer.kind != "embedding"]
    policy = mq.Policy(tuple(layers), (entry,) * len(layers))
    return (
        policy
        if entry.activation_scheme is None
        else replace(policy, ranges=calibrate_ranges(model, [images], [entry]))
    )


def kernels(path: Path) -> Counter[str]:
    """What ONNX Runtime runs after its optimiser: operations and how many of each."""
    onnx, runtime = __import__("onnx"), __import__("onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        options = runtime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        options.log_severity_level = 3
        runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def open_session(path: Path) -> Any:
    """The artefact in ONNX Runtime, with one thread and otherwise as it comes."""
    runtime = __import__("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _serve(path: Path, images: NDArray[np.float32], pipe: Connection) -> None:
    """Run the artefact whenever the parent asks, and say how many seconds of processor time a call took."""
    session = open_session(path)
    name = session.get_inputs()[0].name
    session.run(None, {name: images})
    pipe.send(0.0)
    while pipe.recv():
        before = time.process_time()
        for _ in range(_CALLS):
            session.run(None, {name: images})
        pipe.send((time.process_time() - before) / _CALLS)


def times(files: Mapping[str, Path], images: NDArray[np.float32], rounds: int) -> dict[str, float]:
    """Seconds of processor time of one call, for each artefact the median over the rounds."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    workers = []
    for name, path in files.items():
        ours, theirs = context.Pipe()
        worker = context.Process(target=_serve, args=(path, images, theirs), daemon=True)
        worker.start()
        workers.append(worker)
        pipes[name] = ours
        ours.recv()
    taken: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send(True)
            taken[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    for worker in workers:
        worker.join()
    return {name: statistics.median(each) for name, each in taken.items()}


def measure(model: nn.Module, calibration: Tensor, held_out: Tensor, batch: int, rounds: int) -> list[Row]:
    """Every row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        files = write(model, calibration, Path(folder))
        seconds = times(files, held_out[:batch].numpy(), rounds)
        rows = []
        for name, path in files.items():
            session = open_session(path)
            (got,) = session.run(None, {session.get_inputs()[0].name: held_out.numpy()})
            with torch.no_grad():
                network = model if name == PLAIN else mq.apply(model, policy_of(model, calibration, name))
                wanted = network(held_out).double().numpy()
            noise = float(((wanted - got) ** 2).sum())
            decibels = float("inf") if noise == 0 else 10 * float(np.log10((wanted**2).sum() / noise))
            rows.append(Row(name, path.stat().st_size, seconds[name], decibels, kernels(path)))
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    plain = rows[0].seconds
    lines = [
        "| artefact | bytes | ms | of plain | convolutions in integers | SQNR to the simulated policy, dB |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        integer = row.kernels["QLinearConv"]
        whole = integer + row.kernels["Conv"] + row.kernels["FusedConv"]
        lines.append(
            f"| {row.name} | {row.nbytes:,} | {1e3 * row.seconds:.2f} | {row.seconds / plain:.3f} | "
            f"{integer} of {whole} | {row.decibels:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0."""
    command = Command(__doc__)
    command.choice("--network", ["resnet20", "depthwise"], "resnet20")
    command.folder("--data", help="the networks and their data")
    command.file("--weights", help="the weights of the depthwise network")
    command.whole("--batch", 1, "images in a call")
    command.whole("--rounds", 40, "rounds of all artefacts")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    model, calibration, held_out = _network(options)
    rows = measure(model, calibration, held_out, options.batch, options.rounds)
    facts = environment(("torch", "onnx", "onnxruntime"))
    print(
        f"{options.network}, {options.batch} images in a call, one thread; {facts['versions']}; {facts['processor']}\n"
    )
    print(markdown(rows))
    return 0


def _network(options: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor]:
    """The network, images to calibrate on, and held-out ones."""
    if options.network == "resnet20":
        require_data(options.data, FILES["resnet20"])
        study = resnet20(load_networks(options.data), options.data)
        return study.model, study.calibration[0][0][:_CALIBRATION], torch.cat([images for images, _ in study.held_out])
    if options.weights is None:
        raise WrongInput("--weights is missing: python -m benchmarks.trained.depthwise train --output FILE makes them")
    require_file("--weights", options.weights, "benchmarks.trained.depthwise train --output FILE")
    model = DepthwiseNetwork()
    model.load_state_dict(load_file(options.weights))
    data = digits.load()
    return model.eval(), data.training.images[:_CALIBRATION], data.held_out.images


if __name__ == "__main__":
    raise SystemExit(main())
