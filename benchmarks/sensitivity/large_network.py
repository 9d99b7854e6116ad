"""Measures a causal language model of 50 million parameters, or plans one of any size, and prints what it took.

    python -m benchmarks.sensitivity.large_network [--size tiny|50M|1B] [--batches N] [--windows N] [--tokens N]
        [--memory-limit 300MB] [--threads N] [--dry-run | --bank FOLDER]

The network is a Llama configuration with random weights and reads random tokens: only time and memory mean anything.
--dry-run prints the plan alone, which needs no weights, so it works for networks that this machine cannot hold. With
--bank the weights are rounded by GPTQ into a folder in place of measuring.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

import mckp_quant as mq
from mckp_quant.common.packages import require
from mckp_quant.report.planned import duration, plan_report
from mckp_quant.report.text import as_text

from ..command_line import Command, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from torch import nn

FORMATS = "w2,w3,w4,w8"


@dataclass(frozen=True)
class Size:
    """The sizes of a Llama configuration."""

    vocabulary: int
    width: int
    inner: int
    depth: int
    heads: int
    shared_heads: int


SIZES = {
    "tiny": Size(vocabulary=256, width=64, inner=128, depth=2, heads=4, shared_heads=2),
    "50M": Size(vocabulary=16_000, width=512, inner=1_408, depth=12, heads=8, shared_heads=4),
    "1B": Size(vocabulary=32_000, width=2_048, inner=5_632, depth=22, heads=32, shared_heads=4),
}


def network(size: Size, device: str) -> nn.Module:
    """Make a network with random weights; on the meta device without any."""
    transformers: Any = require("transformers", "hf", without="there is no other source of the network")
    config = transformers.LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        num_key_value_heads=size.shared_heads,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model: nn.Module = transformers.LlamaForCausalLM(config)
    return model.eval()


def batches(size: Size, count: int, windows: int, tokens: int) -> Iterator[dict[str, torch.Tensor]]:
    """Random tokens, batch by batch."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield {"input_ids": torch.randint(0, size.vocabulary, (windows, tokens), generator=generator)}


def gradient_evaluation(model: nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """Seconds of one gradient evaluation: the faster of two."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        model(**batch).logits.square().mean().backward()
        times.append(time.perf_counter() - start)
        model.zero_grad(set_to_none=True)
    return min(times)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the plan, then measure and print time and peak memory; 0."""
    command = Command(__doc__)
    command.choice("--size", SIZES, "50M")
    command.whole("--batches", 8)
    command.whole("--windows", 2, "sequences in a batch")
    command.whole("--tokens", 256, "of each sequence")
    command.text("--memory-limit", "300MB", "of the estimator", "BYTES")
    command.whole("--threads", 2, "of PyTorch")
    command.flag("--dry-run", "only print the plan, without any weights")
    command.folder("--bank", help="round the weights into it, in place of measuring")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    size = SIZES[options.size]
    model = network(size, "meta" if options.dry_run else "cpu")
    one = next(batches(size, 1, options.windows, options.tokens))
    if options.bank is not None:
        return _round(options, size, model)
    run = mq.RunOptions(memory_limit=options.memory_limit)
    planned = mq.plan(model, one, formats=FORMATS, batches=options.batches, run=run)
    sys.stdout.write(as_text(plan_report(planned)) + "\n")
    if options.dry_run:
        return 0
    # Before the measurement, whose peak is to be told from it.
    before = peak()
    start = time.perf_counter()
    table = mq.measure(
        model,
        batches(size, options.batches, options.windows, options.tokens),
        formats=FORMATS,
        run=run,
    )
    seconds = time.perf_counter() - start
    measured = peak()
    unit = gradient_evaluation(model, one)
    lines = [
        f"measured {len(table.layers)} layers x {len(table.formats)} formats on {table.samples} sequences of "
        f"{options.tokens} tokens with {options.threads} threads",
        f"time             {duration(seconds)} (planned {duration(planned.seconds)})",
        f"peak memory      {measured / 1e9:.2f} GB, before measuring {before / 1e9:.2f} GB "
        f"(planned {planned.peak / 1e9:.2f} GB without Python and its packages)",
        f"a gradient evaluation of one batch takes {duration(unit)}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _round(options: argparse.Namespace, size: Size, model: nn.Module) -> int:
    before, began, worked = peak(), time.perf_counter(), time.process_time()
    bank = mq.round_weights(
        model,
        batches(size, options.batches, options.windows, options.tokens),
        FORMATS,
        output=options.bank,
        run=mq.RunOptions(progress=lambda done, of: say(f"{done} of {of} layers")),
    )
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    weights = sum(layer.elements for layer in bank.layers)
    sys.stdout.write(
        f"rounded {weights / 1e6:.1f} million weights, {len(bank.layers)} layers x {len(bank.formats)} formats, on "
        f"{bank.samples} sequences of {options.tokens} tokens with {options.threads} threads\n"
        f"time             {duration(seconds)}, {duration(cpu)} of one core\n"
        f"peak memory      {peak() / 1e9:.2f} GB, before rounding {before / 1e9:.2f} GB\n"
    )
    return 0


def peak() -> int:
    """The most bytes that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    raise SystemExit(main())
