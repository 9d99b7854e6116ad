"""Float GGUF files of small Llama and Mixtral networks, as llama.cpp's converter makes them, without a tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gguf

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

_CONTEXT = 128


def write_float_file(model: nn.Module, path: Path) -> None:
    """Write a network of transformers, ``LlamaForCausalLM`` or ``MixtralForCausalLM``, as one float32 file."""
    config: Any = model.config
    experts = int(getattr(config, "num_local_experts", 0) or 0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        for place, made in _tensors(name, tensor.detach().float(), config, table):
            writer.add_tensor(place, made.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(name: str, tensor: Tensor, config: Any, table: Any) -> list[tuple[str, Tensor]]:
    """The tensors of a parameter: gates and ups of experts apart, queries and keys in the order of llama.cpp."""
    if name.endswith("experts.gate_up_proj"):
        block = name.split(".")[2]
        gate, up = tensor.chunk(2, dim=1)
        return [(f"blk.{block}.ffn_gate_exps.weight", gate), (f"blk.{block}.ffn_up_exps.weight", up)]
    if name.endswith("experts.down_proj"):
        return [(f"blk.{name.split('.')[2]}.ffn_down_exps.weight", tensor)]
    heads = {"q_proj.weight": config.num_attention_heads, "k_proj.weight": config.num_key_value_heads}
    count = next((count for end, count in heads.items() if name.endswith(end)), None)
    if count is not None:
        pairs = tensor.reshape(count, 2, -1, tensor.shape[1])
        tensor = pairs.transpose(1, 2).reshape(tensor.shape)
    place = table.get_name(name, try_suffixes=(".weight",))
    if place is None and name.endswith("mlp.gate.weight"):
        place = f"blk.{name.split('.')[2]}.ffn_gate_inp.weight"
    assert place is not None, name
    return [(place, tensor)]
