"""What a worker is asked and what it answers, as files in one folder; read and written in both environments.

The folder holds ``job.json`` and ``data.npz`` when the worker starts, and ``answer.json`` and ``weights.npz`` when it
has ended.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ....loading import load_module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn


@dataclass(frozen=True)
class Job:
    """One policy that a tool is asked for.

    Attributes
    ----------
    network
        ``"demo"``, ``"resnet20"`` or ``"chargpt"``.
    data
        The folder of `networks.py`; empty for the demo network.
    layers
        The layers that get a format; all others stay as they are.
    bits
        The bits that a layer may have, all with one scale a channel.
    average
        The most bits a weight, without scales.
    method
        The tool's own name of how it chooses; ``"uniform"``: all layers get `average` bits.
    batch
        Samples in each calibration batch.
    """

    network: str
    data: str
    layers: tuple[str, ...]
    bits: tuple[int, ...]
    average: float
    method: str
    batch: int


@dataclass(frozen=True, eq=False)
class Answer:
    """What a tool chose.

    Attributes
    ----------
    bits
        From each layer to its bits.
    weights
        From each layer to its weight after rounding, in the shape of the float weight.
    seconds
        CPU time from the float network to this answer.
    version
        Of the tool.
    """

    bits: Mapping[str, int]
    weights: Mapping[str, NDArray[np.float32]]
    seconds: float
    version: str


@dataclass(frozen=True, eq=False)
class Chosen:
    """What the function of a worker gives: the bits and the weight of each layer."""

    bits: Mapping[str, int]
    weights: Mapping[str, Tensor]


def write_job(folder: Path, job: Job, inputs: Tensor, targets: Tensor) -> None:
    """Write what a worker reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(asdict(job)), encoding="utf-8")
    np.savez(folder / "data.npz", inputs=inputs.numpy(), targets=targets.numpy())


def read_answer(folder: Path) -> Answer:
    """Read what a worker wrote."""
    document = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    with np.load(folder / "weights.npz", allow_pickle=False) as data:
        weights = {name: data[name] for name in document["bits"]}
    return Answer(document["bits"], weights, document["seconds"], document["version"])


def float_network(job: Job) -> nn.Module:
    """The network that the job names, in eval mode."""
    if job.network == "demo":
        from mckp_quant import demo

        return demo.model()
    networks: Any = load_module(Path(job.data) / "networks.py", "benchmark_networks")
    made: nn.Module = networks.resnet20(job.data) if job.network == "resnet20" else networks.chargpt(job.data)
    return made


def work(
    arguments: Sequence[str],
    version: str,
    choose: Callable[[Job, nn.Module, list[tuple[Tensor, Tensor]]], Chosen],
) -> int:
    """Read the job of the folder named, let the tool choose on one core, and write the answer; 0."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = Path(arguments[0])
    document = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    job = Job(**{**document, "layers": tuple(document["layers"]), "bits": tuple(document["bits"])})
    with np.load(folder / "data.npz", allow_pickle=False) as data:
        inputs, targets = torch.from_numpy(data["inputs"]), torch.from_numpy(data["targets"])
    batches = list(zip(inputs.split(job.batch), targets.split(job.batch), strict=True))
    model = float_network(job)
    began = time.process_time()
    chosen = choose(job, model, batches)
    seconds = time.process_time() - began
    weights = {name: each.detach().float().numpy() for name, each in chosen.weights.items()}
    np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]  # its stub takes a name for allow_pickle
    answer = {"bits": dict(chosen.bits), "seconds": seconds, "version": version}
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    return 0
