"""NNCF: `compress_weights` to 4 and 8 bits with `ratio`, for each of its sensitivity metrics; or 4 bits for all.

The scales of 4-bit weights are its `scale_estimation`, which looks at the inputs of the layers. AWQ is left out: it
changes norms as well, so that its weights alone would be judged wrongly.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import nncf
import torch

from .job import Chosen, Job, work

if TYPE_CHECKING:
    from torch import Tensor, nn

LOW, HIGH = 4, 8


def choose(job: Job, model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Chosen:
    """Its policy for the average, and the weights of it."""
    uniform = job.method == "uniform"
    made = nncf.compress_weights(
        model,
        mode=nncf.CompressWeightsMode.INT4_SYM,
        ratio=1.0 if uniform else (HIGH - job.average) / (HIGH - LOW),
        group_size=-1,  # one scale a channel
        all_layers=True,
        backup_mode=nncf.BackupMode.INT8_SYM,
        sensitivity_metric=None if uniform else nncf.SensitivityMetric[job.method.upper()],
        dataset=nncf.Dataset([inputs for inputs, _ in batches]),
        subset_size=len(batches),
        scale_estimation=True,
        ignored_scope=nncf.IgnoredScope(patterns=["tok.*"]),  # other layers than these stay in floating point
    )
    bits: dict[str, int] = {}
    weights: dict[str, Tensor] = {}
    with torch.no_grad():
        for name in job.layers:
            hook = made.get_submodule(f"__nncf_hooks.post_hooks.{name.replace('.', ':')}:weight__0.0")
            bits[name] = LOW if type(hook).__name__.startswith("INT4") else HIGH
            weights[name] = hook(made.get_submodule(name).weight)
    return Chosen(bits, weights)


if __name__ == "__main__":
    raise SystemExit(work(sys.argv[1:], f"nncf {nncf.__version__}", choose))
