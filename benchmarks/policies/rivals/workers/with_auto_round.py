"""auto-round: `AutoScheme`, then its own rounding by signed gradients ("tuned") or to nearest ("nearest").

It takes models of transformers only, so the character transformer's weights go into an OPT model, which computes the
same: layer norm before each part, learned positions, exact GELU, no biases. The texts go in through a tokenizer of
single characters and a file.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from auto_round import AutoRound, AutoScheme
from auto_round.schemes import QuantizationScheme
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

from .job import Chosen, Job, work

if TYPE_CHECKING:
    from torch import Tensor, nn

PARTS = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.out_proj"}
PARTS |= {"up": "fc1", "down": "fc2", "n1": "self_attn_layer_norm", "n2": "final_layer_norm"}
OFFSET = 2  # rows of the positions of an OPT model that no position uses
SCORED = 128  # inputs that its scores look at, the least that it recommends where 2 bits are a choice
HEAD = 8  # bits of the last layer in its mixed policies: of its own accord it never gives it fewer than 6
STEPS = 200  # of its rounding, as its documentation recommends


def renamed(name: str) -> str:
    """The name of a layer of the character transformer in the OPT model."""
    if found := re.fullmatch(r"blocks\.(\d+)\.(\w+)", name):
        return f"model.decoder.layers.{found[1]}.{PARTS[found[2]]}"
    return {"head": "lm_head", "norm": "model.decoder.final_layer_norm"}[name]


def as_opt(model: nn.Module) -> Any:
    """The same network as an OPT model."""
    held = model.state_dict()
    vocabulary, width = held["tok.weight"].shape
    context, blocks = len(held["pos.weight"]), 1 + max(int(n.split(".")[1]) for n in held if n.startswith("blocks."))
    config = OPTConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        word_embed_proj_dim=width,
        num_hidden_layers=blocks,
        ffn_dim=4 * width,
        num_attention_heads=4,
        max_position_embeddings=context,
        activation_function="gelu",
        enable_bias=False,
        dropout=0.0,
        tie_word_embeddings=False,
        use_cache=False,
    )
    config.architectures = ["OPTForCausalLM"]
    made: Any = OPTForCausalLM(config)
    made.eval()
    own = {"model.decoder.embed_tokens.weight": held.pop("tok.weight")}
    positions = made.model.decoder.embed_positions.weight.detach().clone()
    positions[OFFSET:] = held.pop("pos.weight")
    own["model.decoder.embed_positions.weight"] = positions
    for name, value in held.items():
        layer, _, kind = name.rpartition(".")
        own[f"{renamed(layer)}.{kind}"] = value
    made.load_state_dict(own)
    return made


def tokenizer_of(vocabulary: int) -> Any:
    """One token for each of as many printable characters; which character stands for which token does not matter."""
    words = {chr(0x4E00 + at): at for at in range(vocabulary)}
    made = Tokenizer(models.WordLevel(words, unk_token=chr(0x4E00)))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=made, pad_token=chr(0x4E00))


def choose(job: Job, model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Chosen:
    """Its policy for the average, and the weights of it."""
    network = as_opt(model)
    inputs = torch.cat([each for each, _ in batches])
    with torch.no_grad():
        difference = float((network(inputs[:8]).logits - model(inputs[:8])).abs().max())
    if difference > 1e-3:
        raise ValueError(f"the OPT model differs from the character transformer by {difference}")
    method, _, rounding = job.method.partition(", ")
    schemes = [scheme(bits) for bits in job.bits]
    names = {name: renamed(name) for name in job.layers}
    elements = sum(network.get_submodule(each).weight.numel() for each in names.values())
    channels = sum(len(network.get_submodule(each).weight) for each in names.values())
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AR_AUTO_SCHEME_CACHE"] = folder  # scores of an earlier run would hide what they take
        texts = Path(folder) / "texts.json"
        rows = ["".join(chr(0x4E00 + token) for token in row) for row in inputs.tolist()]
        texts.write_text(json.dumps(rows), encoding="utf-8")
        tool = AutoRound(
            network,
            tokenizer=tokenizer_of(network.config.vocab_size),
            scheme=scheme(int(job.average))
            if method == "uniform"
            else AutoScheme(
                # It counts 16 bits a scale in the average.
                avg_bits=job.average + 16 * channels / elements,
                options=schemes,
                dataset=str(texts),
                seqlen=inputs.shape[1],
                nsamples=min(SCORED, len(inputs)),
                low_cpu_mem_usage=False,  # else it looks for the files of the model
            ),
            dataset=str(texts),
            seqlen=inputs.shape[1],
            nsamples=len(inputs),
            iters=STEPS if rounding == "tuned" else 0,
            # Its scheme leaves the head in floating point where nothing is said of it.
            layer_config={"lm_head": asdict(scheme(int(job.average) if method == "uniform" else HEAD))},
            enable_torch_compile=False,
            device_map="cpu",
            disable_opt_rtn=rounding == "nearest",
        )
        made, config = tool.quantize()
    layers = dict(made.named_modules())
    return Chosen(
        {name: int(config[other]["bits"]) for name, other in names.items()},
        {name: layers[other].weight for name, other in names.items()},
    )


def scheme(bits: int) -> QuantizationScheme:
    """Weights alone, one scale a channel."""
    return QuantizationScheme(bits=bits, group_size=-1, sym=True, data_type="int", act_bits=16)


if __name__ == "__main__":
    raise SystemExit(work(sys.argv[1:], f"auto-round {version('auto-round')}", choose))
