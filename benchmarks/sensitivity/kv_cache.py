"""Predicted against measured KL of keys and values in every format, and a joint budget that is proved.

    python -m benchmarks.sensitivity.kv_cache --data FOLDER [--samples N]

Two networks: the character transformer, whose folder holds networks.py, its weights and tinyshakespeare.txt; and a tiny
Llama of transformers with two heads of keys for four of queries, with random weights as large as trained ones. Each row
of the table is one attention's keys or values in one format, all else float; the KL is measured on other samples.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import mckp_quant as mq
from mckp_quant.common.packages import require

from ..command_line import Command
from ..ranks import rank_correlation

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

FORMATS = "kv16,kv8,kv4,kv2,kv_fp8"
CONTEXT, SEQUENCES = 8192, 1


@dataclass(frozen=True)
class Case:
    """A network with samples to measure on and others to judge by."""

    name: str
    network: nn.Module
    measured: list[Any]
    judged: list[Any]


def transformer(folder: Path, samples: int) -> Case:
    """The character transformer on the text that it was not trained on."""
    sys.path.insert(0, str(folder))
    networks: Any = __import__("networks")
    inputs, _ = networks.shakespeare(folder, "validation")
    halves = inputs[: 2 * samples].split(samples)
    return Case("character transformer", networks.chargpt(folder), *(list(half.split(8)) for half in halves))


def llama(samples: int) -> Case:
    """A tiny Llama on random tokens."""
    transformers: Any = require("transformers", "hf", without="the character transformer alone")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.15,
        use_cache=False,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    tokens = torch.randint(0, 256, (2, samples, 96))
    return Case("tiny Llama", model, *([{"input_ids": each} for each in half.split(8)] for half in tokens))


def measured_kl(case: Case, table: mq.SensitivityTable) -> NDArray[np.float64]:
    """``(n_layers, n_formats)``: the mean KL of one row in one format."""
    found = np.zeros(table.loss.shape)
    for (row, name), (column, entry) in itertools.product(enumerate(table.layer_names), enumerate(table.formats)):
        model = mq.apply(case.network, mq.Policy((name,), (entry,)))
        found[row, column] = mq.evaluate(model, case.network, case.judged).kl
    return found


def report(case: Case) -> str:
    """What is predicted and measured, and what a joint budget gives."""
    table = mq.measure_kv_cache(case.network, case.measured, context=CONTEXT, sequences=SEQUENCES, formats=FORMATS)
    found = measured_kl(case, table)
    each = [
        f"{name} {rank_correlation(table.loss[:, at], found[:, at]):.2f}" for at, name in enumerate(table.format_names)
    ]
    ratio = np.median(table.loss / found)
    joint = mq.with_kv_cache(mq.measure(case.network, case.measured, formats="w2,w3,w4,w8"), table)
    lines = [
        f"{case.name}: {len(table.layers)} rows x {len(table.formats)} formats",
        f"rank correlation {rank_correlation(table.loss.ravel(), found.ravel()):.3f} over all; within a format "
        f"{', '.join(each)}",
        f"predicted / measured, median {ratio:.2f}",
    ]
    for budgets in ({"weight_bytes": "40%", "kv_cache_bytes": "40%"}, {"memory_bytes": "30%"}):
        allocation = mq.allocate(joint, budgets)
        costs = ", ".join(f"{name} {allocation.policy.costs[name]:,}" for name in budgets)
        said = ", ".join(f"{name}={asked}" for name, asked in budgets.items())
        measured = mq.evaluate(mq.apply(case.network, allocation.policy), case.network, case.judged)
        lines.append(
            f"{said}: {allocation.policy.status}, {costs}; predicted {allocation.policy.expected.loss:.4f}, "
            f"measured {measured.kl:.4f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both networks."""
    command = Command(__doc__)
    command.folder("--data", help="the folder of the character transformer")
    command.whole("--samples", 64, "samples to measure on, and as many to judge by")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    cases = [llama(options.samples)]
    if options.data is not None:
        cases.insert(0, transformer(Path(options.data), options.samples))
    for case in cases:
        sys.stdout.write(report(case) + "\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
