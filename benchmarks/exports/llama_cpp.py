"""Files that `gguf` writes, run by llama.cpp itself.

    python -m benchmarks.exports.llama_cpp --library FOLDER [--network llama,mixtral] [--format NAME,NAME] [--page FILE]

FOLDER holds llama.cpp's shared libraries; the npm package ``@node-llama-cpp/linux-x64`` has a build of them in
``bins/linux-x64``. Networks are small, with random weights: that outputs agree shows that llama.cpp reads what was
written, and nothing of quality. Every linear layer and expert gets the same format; the table has the signal-to-noise
ratio of llama.cpp's logits against those of the finished network. llama.cpp rounds inputs to eight bits by itself, so a
ratio of some 37 dB is its own. Exit code 1 where it does not load a file, or the ratio is below 30 dB.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import mckp_quant as mq
from mckp_quant.export import export
from mckp_quant.formats.blocks import GGML_FORMATS
from mckp_quant.network.discovery import discover

from ..command_line import Command, WrongInput, say
from ..pages import fill, table
from .float_gguf import write_float_file
from .llama_library import LlamaLibrary

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from torch import nn

FORMATS = (*GGML_FORMATS, "w4g32", "w5g32", "w8g32")
_VOCABULARY, _TOKENS = 128, 12
_LEAST = 30.0  # dB
_HEADER = ("network", "format", "bytes", "llama.cpp against the finished network, dB", "that against float, dB")


def networks() -> dict[str, nn.Module]:
    """Small networks of transformers whose rows are whole blocks, by name."""
    transformers: Any = __import__("transformers")
    shape = dict(vocab_size=_VOCABULARY, hidden_size=256, intermediate_size=256, num_hidden_layers=1)
    heads = dict(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=False)
    torch.manual_seed(0)
    return {
        "llama": transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, **heads)).eval(),
        "mixtral": transformers.MixtralForCausalLM(
            transformers.MixtralConfig(**shape, **heads, num_local_experts=4, sliding_window=None)
        ).eval(),
    }


def rows_of(
    name: str, model: nn.Module, library: LlamaLibrary, formats: Sequence[str]
) -> Iterator[tuple[str, str, int, float | None, float]]:
    """Export a network in each format and run it; one row each, with None where llama.cpp does not load the file."""
    tokens = torch.randint(0, _VOCABULARY, (1, _TOKENS), generator=torch.Generator().manual_seed(1))
    layers = [each for each in discover(model, {"input_ids": tokens}) if each.kind in ("linear", "experts")]
    wanted = _logits(model, tokens)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.gguf"
        write_float_file(model, source)
        for entry in formats:
            policy = mq.Policy(tuple(each.name for each in layers), (mq.Format.named(entry),) * len(layers))
            report = export(policy, "gguf", model=source, output=Path(folder) / entry)
            found = library.logits(Path(folder) / entry / "model.gguf", tokens[0].tolist(), _VOCABULARY)
            finished = _logits(mq.apply(model, policy), tokens)
            ratio = None if found is None else _decibels(finished, found)
            yield name, entry, report.file_bytes, ratio, _decibels(wanted, finished)


def _logits(model: nn.Module, tokens: torch.Tensor) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        made: np.ndarray[Any, Any] = model(tokens).logits[0].double().numpy()
    return made


def _decibels(signal: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(10 * np.log10((signal**2).sum() / ((signal - other) ** 2).sum()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 1 where llama.cpp does not load a file or computes something else."""
    command = Command(__doc__)
    command.folder("--library", help="llama.cpp's shared libraries")
    command.several("--network", str, "llama,mixtral", "which networks", "NAME,NAME")
    command.several("--format", str, ",".join(FORMATS), "which formats", "NAME,NAME")
    command.file("--page", help="a page to write the table into")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if options.library is None:
        raise WrongInput("--library is missing: name the folder that holds libllama.so")
    torch.set_num_threads(1)
    library, every = LlamaLibrary(options.library.resolve()), networks()
    rows = []
    for name in options.network:
        for row in rows_of(name, every[name], library, options.format):
            say(" ".join(map(str, row)))
            rows.append(row)
    shown = [
        (name, f"`{entry}`", f"{size:,}", "not loaded" if found is None else f"{found:.1f}", f"{other:.1f}")
        for name, entry, size, found, other in rows
    ]
    text = table(_HEADER, shown)
    if options.page is None:
        print(text)
    else:
        fill(options.page, {"llama.cpp": text})
    return int(any(found is None or found < _LEAST for _, _, _, found, _ in rows))


if __name__ == "__main__":
    raise SystemExit(main())
