"""NVIDIA ModelOpt: `auto_quantize` with the methods "gradient" and "kl_div", or one format for all layers.

The weights of every format are calibrated by squared error ("mse"), which is better here than its default ("max").
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import modelopt
import modelopt.torch.quantization as mtq
from torch.nn import functional as F

from .job import Chosen, Job, work

if TYPE_CHECKING:
    from torch import Tensor, nn


def recipe(bits: int, job: Job) -> dict[str, Any]:
    """Weights alone, one scale for each output channel."""
    entries: list[dict[str, Any]] = [{"quantizer_name": "*", "enable": False}]
    entries.append({"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": bits, "axis": 0}, "enable": True})
    if job.method == "uniform" and job.network == "chargpt":  # other layers than these stay in floating point
        entries += [{"quantizer_name": f"{name}.weight_quantizer", "enable": False} for name in ("tok", "pos")]
    return {"quant_cfg": entries, "algorithm": "mse"}


def choose(job: Job, model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Chosen:
    """Its policy for the average, and the weights of it."""

    def run(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        logits: Tensor = network(batch[0])
        return logits

    def loss(logits: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(logits.flatten(0, -2), batch[1].flatten())

    if job.method == "uniform":
        made = mtq.quantize(model, recipe(int(job.average), job), lambda network: [run(network, e) for e in batches])
    else:
        formats = [recipe(bits, job) for bits in job.bits]
        made, _ = mtq.auto_quantize(
            model,
            constraints={"effective_bits": job.average},
            data_loader=batches,
            forward_step=run,
            loss_func=loss if job.method == "gradient" else None,
            disabled_layers=["tok", "pos"] if job.network == "chargpt" else None,
            num_calib_steps=len(batches),
            num_score_steps=len(batches),
            method=job.method,
            # Without this every layer might stay in floating point, which is no format of this comparison.
            module_search_spaces=[
                {"module_name_patterns": ["*"], "quantization_formats": formats, "allow_no_quant": False}
            ],
        )
    layers = dict(made.named_modules())
    quantizers = {name: layers[name].weight_quantizer for name in job.layers}
    return Chosen(
        {name: int(each.num_bits) if each.is_enabled else 32 for name, each in quantizers.items()},
        {name: each(layers[name].weight) for name, each in quantizers.items()},
    )


if __name__ == "__main__":
    raise SystemExit(work(sys.argv[1:], f"nvidia-modelopt {modelopt.__version__}", choose))
