from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import mckp_quant
from benchmarks.policies import networks
from mckp_quant import Policy, apply
from mckp_quant.export import export
from mckp_quant.network.discovery import discover

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def study(folder: Path) -> networks.Study:
    return networks.resnet20(networks.load_networks(folder), folder)


def divergences(reference: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Nats of every sample."""
    p, q = reference.double().log_softmax(1), logits.double().log_softmax(1)
    return (p.exp() * (p - q)).sum(1)


@pytest.mark.slow
def test_held_out_divergence_in_onnx_runtime_is_that_of_the_simulation(
    data: Path, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("onnxruntime")
    found = study(data)
    model, images = found.model, torch.cat([inputs for inputs, _ in found.held_out])
    layers = discover(model, images[:2])
    formats = ["w8" if at % 3 == 0 else "w4" for at in range(len(layers))]
    policy = Policy(tuple(layer.name for layer in layers), tuple(map(mckp_quant.Format.named, formats)))
    report = export(policy, "onnxruntime", model=model, output=tmp_path / "made", batches=[images[:4]])
    assert report.overhead_bytes == 0
    runtime: Any = __import__("onnxruntime")
    session = runtime.InferenceSession(tmp_path / "made" / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        reference, simulated = model(images), apply(model, policy)(images)
    own, theirs = divergences(reference, simulated), divergences(reference, torch.from_numpy(np.array(logits)))
    stderr = float((own - theirs).std()) / math.sqrt(len(images))
    off = abs(float(own.mean() - theirs.mean()))
    assert float(own.mean()) > 1e-3
    assert off <= max(0.1 * float(own.mean()), 2 * stderr)
