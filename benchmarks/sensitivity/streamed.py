"""Measures a checkpoint of random bfloat16 weights block by block, and prints what it took beside what was planned.

    python -m benchmarks.sensitivity.streamed [--folder FOLDER] [--blocks N] [--width N] [--inner N] [--vocabulary N]
        [--heads N] [--shared-heads N] [--formats F,F] [--windows N] [--tokens N] [--memory-limit 4GB] [--threads N]
        [--float32]

The defaults are the shapes of Llama-3-8B with 2 of its 32 blocks. The checkpoint is written into the folder where there
is none. Memory is what cannot be dropped and read again (RssAnon, on Linux), watched while the network is measured.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import mckp_quant as mq
from mckp_quant.common.packages import require
from mckp_quant.network.huggingface import load_model
from mckp_quant.report.planned import duration

from ..command_line import Command, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

BLOCKS = 32  # of Llama-3-8B
_STATUS = Path("/proc/self/status")
_POOL = 2**22  # random numbers, from which all weights are cut


def checkpoint(folder: Path, options: argparse.Namespace) -> None:
    """Write a checkpoint of random weights, a file for every block; nothing where there is one."""
    if (folder / "config.json").exists():
        return
    transformers: Any = require("transformers", "hf", without="there is no other source of the network")
    safetensors: Any = require("safetensors.torch", "torch", without="weights cannot be written")
    config = transformers.LlamaConfig(
        vocab_size=options.vocabulary,
        hidden_size=options.width,
        intermediate_size=options.inner,
        num_hidden_layers=options.blocks,
        num_attention_heads=options.heads,
        num_key_value_heads=options.shared_heads,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    with torch.device("meta"):
        shapes = transformers.LlamaForCausalLM(config).state_dict()
    pool = torch.randn(_POOL, generator=torch.Generator().manual_seed(0)) * 0.02
    files: dict[str, dict[str, torch.Size]] = {}
    for name, tensor in shapes.items():
        found = re.search(r"layers\.(\d+)\.", name)
        files.setdefault(f"model-{found[1] if found else 'rest'}.safetensors", {})[name] = tensor.shape
    folder.mkdir(parents=True, exist_ok=True)
    places: dict[str, str] = {}
    for file, named in files.items():
        tensors = {name: _weight(pool, shape, len(places) + at) for at, (name, shape) in enumerate(named.items())}
        safetensors.save_file(tensors, folder / file, {"format": "pt"})
        places |= dict.fromkeys(named, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    config.save_pretrained(folder)


def _weight(pool: torch.Tensor, shape: torch.Size, seed: int) -> torch.Tensor:
    """Numbers of the pool from an odd place on, over and over; of a norm ones."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    rolled = pool.roll(-(seed * 7919 % _POOL)).to(torch.bfloat16)
    return rolled.repeat(-(-math.prod(shape) // _POOL))[: math.prod(shape)].reshape(shape).contiguous()


@contextlib.contextmanager
def watched() -> Iterator[list[int]]:
    """Bytes of anonymous memory before, and the most while something runs."""
    found = [anonymous(), 0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            found[1] = max(found[1], anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        stop.set()
        watcher.join()


def anonymous() -> int:
    """Bytes of this process in memory that lie in no file."""
    found = re.search(r"RssAnon:\s+(\d+)", _STATUS.read_text(encoding="utf-8")) if _STATUS.exists() else None
    return 1024 * int(found[1]) if found else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the checkpoint, measure it, and print what it took; 0."""
    command = Command(__doc__)
    command.folder("--folder", Path("streamed-checkpoint"), "of the checkpoint")
    command.whole("--blocks", 2)
    command.whole("--width", 4096)
    command.whole("--inner", 14336)
    command.whole("--vocabulary", 128256)
    command.whole("--heads", 32)
    command.whole("--shared-heads", 8)
    command.text("--formats", "w2,w3,w4,w8")
    command.whole("--windows", 2, "sequences in the batch")
    command.whole("--tokens", 128, "of each sequence")
    command.text("--memory-limit", "4GB", "", "BYTES")
    command.whole("--threads", 1, "of PyTorch")
    command.flag("--float32", "compute in float32, which takes twice the memory")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    checkpoint(options.folder, options)
    model = load_model(options.folder, dtype=torch.float32 if options.float32 else None)
    generator = torch.Generator().manual_seed(1)
    batch = {"input_ids": torch.randint(0, options.vocabulary, (options.windows, options.tokens), generator=generator)}
    run = mq.RunOptions(memory_limit=options.memory_limit)
    planned = mq.plan(model, batch, formats=options.formats, batches=1, run=run)
    say(f"planned: {planned.peak / 1e9:.2f} GB, {duration(planned.seconds)}; least {planned.least / 1e9:.2f} GB")
    begun, worked = time.perf_counter(), time.process_time()
    with watched() as found:
        table = mq.measure(model, [batch], formats=options.formats, run=run)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - worked
    taken = found[1] - found[0]
    begun = time.process_time()
    with torch.no_grad():
        model(**batch, use_cache=False)
    forward = time.process_time() - begun
    whole = BLOCKS / options.blocks
    lines = [
        f"{planned.parameters / 1e9:.3f} billion weights, {len(table.layers)} layers x {len(table.formats)} formats, "
        f"{options.windows} sequences of {options.tokens} tokens, {options.threads} threads, {planned.blocks} blocks "
        "computed again",
        f"memory           {taken / 1e9:.2f} GB beside {found[0] / 1e9:.2f} GB before, none of it in files "
        f"(planned {planned.peak / 1e9:.2f} GB)",
        f"time             {duration(seconds)}, {duration(cpu)} of the processors "
        f"(planned {duration(planned.seconds)})",
        f"a forward pass takes {duration(forward)} of the processors",
        f"{BLOCKS} blocks would take {whole:.3g} times the time of {options.blocks}, less what is not in blocks",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
