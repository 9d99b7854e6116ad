"""ONNX artefacts of finished networks on held-out data, run by ONNX Runtime as it comes, against the network itself.

    python -m benchmarks.exports.onnx_held_out --data FOLDER [--network resnet20|chargpt] [--batches N]

Each policy is finished (`finish`) and exported. KL is that from the float network, per image or per window of text; the
difference is between the artefact and the finished network on the same samples, with its standard error. FOLDER is that
of `benchmarks.policies.networks`.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import mckp_quant as mq
from mckp_quant.export import export
from mckp_quant.network.discovery import discover
from mckp_quant.rounding.calibration import calibrate_ranges

from ..command_line import Command
from ..environment import environment
from ..policies.networks import FILES, STUDIES, load_networks, require_data
from .onnx_speed import open_session

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from torch import Tensor

    from ..policies.networks import Study

# The formats of the layers, in turn.
POLICIES = {"resnet20": ("w8,w4,w4", "w8a8"), "chargpt": ("w8,w4,w4",)}


def divergences(reference: Tensor, logits: Tensor) -> Tensor:
    """``(samples,)``: nats from the float network's distribution, the mean over what a sample has."""
    p, q = reference.double().log_softmax(-1), logits.double().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).flatten(1).mean(1) if p.ndim > 2 else (p.exp() * (p - q)).sum(-1)


def compare(study: Study, formats: str, batches: int) -> tuple[float, float, float, float]:
    """KL of the finished network and of its artefact, and the difference with its standard error."""
    calibration = study.calibration[:batches]
    entries = [mq.Format.named(name) for name in formats.split(",")]
    layers = [layer.name for layer in discover(study.model, calibration[0][0][:2]) if layer.kind != "embedding"]
    policy = mq.Policy(tuple(layers), tuple(entries[at % len(entries)] for at in range(len(layers))))
    if any(entry.activation_scheme is not None for entry in entries):
        policy = replace(policy, ranges=calibrate_ranges(study.model, calibration, entries))
    done = mq.finish(study.model, policy, calibration, other_rounder=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        export(done.policy, "onnxruntime", output=made, batches=[calibration[0][0]], finished=done)
        session = open_session(made / "model.onnx")
        name = session.get_inputs()[0].name
        own, theirs = [], []
        for inputs, _ in study.held_out:
            (got,) = session.run(None, {name: inputs.numpy()})
            with torch.no_grad():
                reference = study.model(inputs)
                own.append(divergences(reference, done.model(inputs)))
                theirs.append(divergences(reference, torch.from_numpy(got)))
    mine, found = torch.cat(own), torch.cat(theirs)
    off = found - mine
    return float(mine.mean()), float(found.mean()), float(off.mean()), float(off.std()) / math.sqrt(len(off))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where an artefact is further off than two standard errors."""
    command = Command(__doc__)
    command.folder("--data", help="the networks and their data")
    command.choice("--network", list(POLICIES), "resnet20")
    command.whole("--batches", 2, "batches of the calibration data")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    require_data(options.data, FILES[options.network])
    study = STUDIES[options.network](load_networks(options.data), options.data)
    facts = environment(("torch", "onnx", "onnxruntime"))
    print(f"{study.name}; {facts['versions']}\n")
    print("| formats | KL of the finished network | of its artefact | difference | standard error |")
    print("|---|---|---|---|---|")
    within = True
    for formats in POLICIES[options.network]:
        mine, found, off, stderr = compare(study, formats, options.batches)
        within = within and abs(off) <= 2 * stderr
        print(f"| {formats} | {mine:.5f} | {found:.5f} | {off:+.2e} | {stderr:.1e} |", flush=True)
    return 0 if within else 1


if __name__ == "__main__":
    raise SystemExit(main())
