"""Measures a causal language model of 50 million parameters, or plans one of any size, and prints what it took."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

import mckp_quant as mq
from mckp_quant.report.planned import duration, plan_report
from mckp_quant.report.text import as_text
from mckp_quant.solvers.errors import require

if TYPE_CHECKING:
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan, then measure and print time and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="50M")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--windows", type=int, default=2, help="sequences in a batch")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--memory-limit", default="300MB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dry-run", action="store_true", help="only print the plan, without any weights")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    size = SIZES[chosen.size]
    model = network(size, "meta" if chosen.dry_run else "cpu")
    one = next(batches(size, 1, chosen.windows, chosen.tokens))
    run = mq.RunOptions(memory_limit=chosen.memory_limit)
    planned = mq.plan(model, one, formats=FORMATS, batches=chosen.batches, run=run)
    sys.stdout.write(as_text(plan_report(planned)) + "\n")
    if chosen.dry_run:
        return
    # Before the measurement, whose peak is to be told from it.
    before = peak()
    start = time.perf_counter()
    table = mq.measure(
        model,
        batches(size, chosen.batches, chosen.windows, chosen.tokens),
        formats=FORMATS,
        run=run,
    )
    seconds = time.perf_counter() - start
    measured = peak()
    unit = gradient_evaluation(model, one)
    lines = [
        f"measured {len(table.layers)} layers x {len(table.formats)} formats on {table.samples} sequences of "
        f"{chosen.tokens} tokens with {chosen.threads} threads",
        f"time             {duration(seconds)} (planned {duration(planned.seconds)})",
        f"peak memory      {measured / 1e9:.2f} GB, before measuring {before / 1e9:.2f} GB "
        f"(planned {planned.peak / 1e9:.2f} GB without Python and its packages)",
        f"a gradient evaluation of one batch takes {duration(unit)}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def peak() -> int:
    """The most bytes that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
