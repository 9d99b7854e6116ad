"""Tiny networks of every kind of transformers that people quantise, and what is special about each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

_WORDS = 96
_DECODER = {
    "vocab_size": _WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
}
_GROUPED = {**_DECODER, "num_key_value_heads": 2}
_SMALL_HEADS = {**_GROUPED, "head_dim": 8}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_PAIR = {
    "vocab_size": _WORDS,
    "d_model": 32,
    **{f"{side}_layers": 1 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 48 for side in ("encoder", "decoder")},
}
_PICTURES = {**_DECODER, "image_size": 32, "patch_size": 8, "num_labels": 10}
_LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}


def words(count: int = 8) -> Tensor:
    return torch.randint(40, 90, (2, count))


def tokens() -> dict[str, Tensor]:
    return {"input_ids": words()}


def pictures() -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(2, 3, 32, 32)}


def both() -> dict[str, Tensor]:
    return {"input_ids": words(), "decoder_input_ids": words(6)}


def sound() -> dict[str, Tensor]:
    return {"input_features": torch.randn(2, 8, 32), "decoder_input_ids": words(6)}


@dataclass(frozen=True)
class Architecture:
    """A network and what `measure` finds in it.

    Attributes
    ----------
    what
        What it stands for, as docs/networks.md says it.
    name
        The family, as transformers calls its classes.
    head
        What stands behind the family in the name of the network's class.
    values
        Of its configuration.
    layers
        How many layers are found.
    outside
        The names, without what stands before the last two dots, of what is in no layer.
    batch
        What it is run on.
    config
        What stands behind the family in the name of the configuration's class.
    """

    what: str
    name: str
    head: str
    values: dict[str, Any] = field(repr=False)
    layers: int
    outside: tuple[str, ...] = ()
    batch: Any = tokens
    config: str = "Config"

    def network(self) -> nn.Module:
        """The network with random weights, in eval mode."""
        import transformers

        torch.manual_seed(0)
        config = getattr(transformers, self.name + self.config)(**self.values)
        made: nn.Module = getattr(transformers, self.name + self.head)(config)
        return made.eval()


_GPT = {"vocab_size": _WORDS, "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 32}
_LINEAR = {
    "num_hidden_layers": 2,
    "layer_types": ["linear_attention", "full_attention"],
    "shared_expert_intermediate_size": 16,
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_OPT = {
    "vocab_size": _WORDS,
    "hidden_size": 32,
    "ffn_dim": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "word_embed_proj_dim": 32,
}
_WHISPER = {
    **_PAIR,
    "max_source_positions": 16,
    "max_target_positions": 32,
    "num_mel_bins": 8,
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1},
}
_CAUSAL, _CLASSES, _IMAGES, _CONDITIONAL = (
    "ForCausalLM",
    "ForSequenceClassification",
    "ForImageClassification",
    "ForConditionalGeneration",
)
_POSITIONS = ("embeddings.cls_token", "embeddings.position_embeddings")
_ROUTER, _TABLE = ("mlp.gate.weight",), "relative_position_bias.relative_position_bias_table"

ARCHITECTURES = (
    Architecture("dense decoders", "Llama", _CAUSAL, _GROUPED, 9),
    Architecture("dense decoders", "Qwen3", _CAUSAL, _SMALL_HEADS, 9),
    Architecture("dense decoders", "Mistral", _CAUSAL, _GROUPED, 9),
    Architecture("dense decoders", "Phi3", _CAUSAL, {**_GROUPED, "pad_token_id": 0}, 6),
    Architecture("dense decoders", "GPTNeoX", _CAUSAL, _DECODER, 6),
    Architecture("embedding and head tied", "Gemma3", _CAUSAL, _SMALL_HEADS, 8, config="TextConfig"),
    Architecture("learned positions", "OPT", _CAUSAL, _OPT, 8),
    Architecture("`Conv1D`: weights of (in, out)", "GPT2", "LMHeadModel", _GPT, 6),
    Architecture("mixtures of experts", "Mixtral", _CAUSAL, {**_GROUPED, "num_local_experts": 4}, 8, _ROUTER),
    Architecture("mixtures of experts", "Qwen3Moe", _CAUSAL, {**_SMALL_HEADS, **_EXPERTS}, 8, _ROUTER),
    Architecture(
        "experts of (in, out)",
        "GptOss",
        _CAUSAL,
        {**_SMALL_HEADS, "num_local_experts": 4, "num_experts_per_tok": 2},
        8,
        ("mlp.router.weight", "experts.gate_up_proj_bias", "experts.down_proj_bias"),
    ),
    Architecture(
        "experts of (in, out)",
        "Llama4",
        _CAUSAL,
        {**_SMALL_HEADS, "num_local_experts": 4, "intermediate_size_mlp": 48, "interleave_moe_layer_step": 1},
        12,
        config="TextConfig",
    ),
    Architecture(
        "latent attention (MLA) and experts",
        "DeepseekV3",
        _CAUSAL,
        {
            **_DECODER,
            **_EXPERTS,
            **_LATENT,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 0,
        },
        12,
        _ROUTER,
    ),
    Architecture(
        "linear attention", "Qwen3Next", _CAUSAL, {**_SMALL_HEADS, **_EXPERTS, **_LINEAR}, 22, (*_ROUTER, *_ROUTER)
    ),
    Architecture(
        "state spaces",
        "Mamba",
        _CAUSAL,
        {"vocab_size": _WORDS, "hidden_size": 32, "num_hidden_layers": 1, "state_size": 4},
        6,
        ("mixer.A_log",),
    ),
    Architecture(
        "encoder and decoder",
        "T5",
        _CONDITIONAL,
        {"vocab_size": _WORDS, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4},
        19,
        batch=both,
    ),
    Architecture("encoder and decoder", "Bart", _CONDITIONAL, {**_PAIR, "max_position_embeddings": 32}, 19, batch=both),
    Architecture("speech", "Whisper", _CONDITIONAL, _WHISPER, 21, batch=sound),
    Architecture("encoders", "Bert", _CLASSES, _DECODER, 11),
    Architecture("encoders", "DebertaV2", _CLASSES, _DECODER, 10),
    Architecture("pictures", "ViT", _IMAGES, _PICTURES, 8, _POSITIONS, pictures),
    Architecture(
        "pictures",
        "Swin",
        _IMAGES,
        {
            "image_size": 32,
            "patch_size": 4,
            "embed_dim": 16,
            "depths": [1, 1],
            "num_heads": [2, 2],
            "window_size": 4,
            "num_labels": 10,
        },
        15,
        (_TABLE, _TABLE),
        pictures,
    ),
    Architecture(
        "pictures",
        "ConvNext",
        _IMAGES,
        {"image_size": 32, "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "num_labels": 10},
        9,
        batch=pictures,
    ),
)
