"""Twenty small networks of transformers with random weights, one of each architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

VOCABULARY, _TOKENS = 64, 8
_PLAIN = {"vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1}
_HEADS = {
    **_PLAIN,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
_BERT = {**_PLAIN, "num_attention_heads": 4, "max_position_embeddings": 32, "pad_token_id": 0}
_EXPERTS = {**_HEADS, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 16}
_IMAGES = {"image_size": 32, "num_channels": 3}
# From an architecture to its configuration, the class of its network, and options.
_MADE: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "Llama": ("LlamaConfig", "LlamaForCausalLM", _HEADS),
    "Mistral": ("MistralConfig", "MistralForCausalLM", {**_HEADS, "sliding_window": None}),
    "Qwen2": ("Qwen2Config", "Qwen2ForCausalLM", _HEADS),
    "Qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {**_HEADS, "head_dim": 16}),
    "Gemma 2": ("Gemma2Config", "Gemma2ForCausalLM", {**_HEADS, "head_dim": 16}),
    "Phi-3": ("Phi3Config", "Phi3ForCausalLM", {**_HEADS, "bos_token_id": 1, "eos_token_id": 2}),
    "Mixtral": ("MixtralConfig", "MixtralForCausalLM", {**_HEADS, "num_local_experts": 4}),
    "Qwen3-MoE": ("Qwen3MoeConfig", "Qwen3MoeForCausalLM", _EXPERTS),
    "gpt-oss": ("GptOssConfig", "GptOssForCausalLM", {**_HEADS, "num_local_experts": 4, "head_dim": 16}),
    "GPT-2": ("GPT2Config", "GPT2LMHeadModel", {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 1, "n_head": 4}),
    "GPT-NeoX": ("GPTNeoXConfig", "GPTNeoXForCausalLM", {**_PLAIN, "num_attention_heads": 4}),
    "Falcon": ("FalconConfig", "FalconForCausalLM", {**_PLAIN, "num_attention_heads": 4}),
    "OPT": (
        "OPTConfig",
        "OPTForCausalLM",
        {**_BERT, "ffn_dim": 96, "word_embed_proj_dim": 64, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "BLOOM": ("BloomConfig", "BloomForCausalLM", {**_PLAIN, "n_layer": 1, "n_head": 4}),
    "Mamba": ("MambaConfig", "MambaForCausalLM", {**_PLAIN, "state_size": 8}),
    "BERT": ("BertConfig", "BertForSequenceClassification", _BERT),
    "ModernBERT": (
        "ModernBertConfig",
        "ModernBertForMaskedLM",
        {**_BERT, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "T5": (
        "T5Config",
        "T5ForConditionalGeneration",
        {"vocab_size": VOCABULARY, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 1, "num_heads": 4},
    ),
    "ViT": ("ViTConfig", "ViTForImageClassification", {**_PLAIN, **_IMAGES, "num_attention_heads": 4, "patch_size": 8}),
    "Swin": (
        "SwinConfig",
        "SwinForImageClassification",
        {**_IMAGES, "embed_dim": 32, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4, "patch_size": 4},
    ),
}
NAMES = tuple(_MADE)


def small_network(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network of an architecture, and an input for it by the names of its arguments."""
    transformers: Any = __import__("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    configuration, kind, options = _MADE[name]
    torch.manual_seed(0)
    model: Any = getattr(transformers, kind)(getattr(transformers, configuration)(**options)).eval()
    if "image_size" in options:
        return model, {"pixel_values": torch.randn(1, 3, 32, 32)}
    tokens = torch.randint(3, VOCABULARY, (1, _TOKENS))
    return model, {"input_ids": tokens, **({"decoder_input_ids": tokens} if name == "T5" else {})}
