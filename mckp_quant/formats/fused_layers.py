"""Which layers runtimes load into one module: these must have one format, or what is computed is garbage.

The facts are those of the runtimes' own mappings from checkpoints to modules, in the versions of `VERSIONS`: vLLM's and
SGLang's ``packed_modules_mapping`` and ``stacked_params_mapping``, and TensorRT-LLM's weight mappers. A row stands for
every architecture that it names; names of modules that other architectures use for something else come with what tells
them apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VERSIONS = {
    "vllm": "0.33.0",
    "sglang": "0.5.23",
    "tensorrt_llm": "its main branch, weight mappers at 088aa36 and 04666e2, DeepSeek-V3 at a43cf9e",
}

_VLLM, _SGLANG, _TENSORRT = VERSIONS
_ALL = (_VLLM, _SGLANG, _TENSORRT)
_BOTH = (_VLLM, _SGLANG)


@dataclass(frozen=True)
class FusedLayers:
    """Sibling modules of a checkpoint that a runtime loads as one.

    Attributes
    ----------
    parts
        Their names under the module that holds them all.
    architectures
        What has them.
    runtimes
        The keys of `VERSIONS` that fuse them.
    without
        Names of siblings that show that the parts are something else.
    """

    parts: tuple[str, ...]
    architectures: str
    runtimes: tuple[str, ...]
    without: tuple[str, ...] = ()

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches a layer of the set; layers whose names differ only in the group ``part`` are one set."""
        return re.compile(r"(?:^|\.)(?P<part>" + "|".join(map(re.escape, self.parts)) + r")(?:$|\.)")


_ATTENTION, _LINEAR_ATTENTION = ("q_proj", "k_proj", "v_proj"), "Kimi Linear, Kimi-K3"
FUSED_LAYERS: tuple[FusedLayers, ...] = (
    FusedLayers(_ATTENTION, "Llama, Qwen, Mistral, Gemma, and most others", _ALL),
    FusedLayers(("query", "key", "value"), "BERT, RoBERTa", _BOTH),
    FusedLayers(("wq", "wk", "wv"), "Molmo 2", (_VLLM,)),
    FusedLayers(("attn.q", "attn.k", "attn.v"), "vision encoders of Qwen2.5-Omni, Qwen3-VL, openPangu-VL", _BOTH),
    FusedLayers(("query_net", "key_net", "value_net"), "Cohere ASR", (_VLLM,)),
    FusedLayers(("key_proj", "value_proj"), "the n-gram embedding of Qwen4", (_VLLM,)),
    FusedLayers(("wq_du", "wk_dv", "wv_dv", "wr_du"), "Inkling", (_VLLM,)),
    FusedLayers((*_ATTENTION, "output_gate_proj"), "Beam", (_VLLM,)),
    FusedLayers((*_ATTENTION, "index_q_proj", "index_k_proj"), "MiniMax-M3", (_VLLM,)),
    FusedLayers(("index_q_proj", "index_k_proj"), "MiniMax-M3", (_SGLANG,)),
    FusedLayers(("gate_proj", "up_proj"), "Llama, Qwen, Mistral, Gemma, and most others", _ALL),
    FusedLayers(("w1", "w3"), "InternLM 2, LFM2, DeepSeek-V4", _BOTH),
    FusedLayers(("w1", "w2"), "Qwen", (_SGLANG,), without=("w3",)),
    FusedLayers(("c_fc_0", "c_fc_1"), "EXAONE", _BOTH),
    FusedLayers(("fc1", "fc3"), "dots.ocr", (_VLLM,)),
    FusedLayers(("gate_proj", "dense_h_to_4h"), "GLM-4V", (_VLLM,)),
    FusedLayers(("in_proj_qkv", "in_proj_z"), "Qwen3.5, Qwen4, MiniCPM-V 4.6", _ALL),
    FusedLayers(("in_proj_b", "in_proj_a"), "Qwen3.5, Qwen4, MiniCPM-V 4.6", _ALL),
    FusedLayers(("in_proj_q", "in_proj_k", "in_proj_v", "in_proj_z"), "Qwen3.5 split further", (_TENSORRT,)),
    FusedLayers(("q_a_proj", "kv_a_proj_with_mqa"), "DeepSeek-V2, V3 and R1, Kimi-K2, GLM-4.7-Flash, LongCat", _ALL),
    FusedLayers(("q_a_proj", "kv_a_proj_with_mqa", "g_proj"), "dots3", _BOTH),
    FusedLayers(("wk", "weights_proj"), "the indexer of DeepSeek-V3.2", (_VLLM,)),
    FusedLayers(("wq_a", "wkv"), "DeepSeek-V4", _BOTH),
    FusedLayers(("wkv", "wgate"), "the compressor of DeepSeek-V4", _BOTH),
    FusedLayers((*_ATTENTION, "g_proj"), "OLMo Hybrid, Kimi-K3", _BOTH),
    FusedLayers((*_ATTENTION, "b_proj"), "Bailing-MoE V3", (_VLLM,)),
    FusedLayers((*_ATTENTION, "b_proj", "f_a_proj"), f"{_LINEAR_ATTENTION}, Alice AI", (_VLLM,)),
    FusedLayers((*_ATTENTION, "b_proj", "f_a_proj", "g_a_proj"), f"{_LINEAR_ATTENTION}, Bailing-MoE V3", _BOTH),
    FusedLayers((*_ATTENTION, "b_proj", "f_proj", "g_proj"), "Bailing-MoE V3", (_SGLANG,)),
    FusedLayers((*_ATTENTION, "a_proj", "b_proj", "g_proj"), "Jet-Nemotron", (_SGLANG,)),
    FusedLayers(("f_b_proj", "g_b_proj"), f"{_LINEAR_ATTENTION}, Bailing-MoE V3, GLM-5", (_SGLANG,)),
    FusedLayers(("input_mix_weight_down", "block_inject_weight"), "Qwen4", (_VLLM,)),
)
# A mixture of experts is one module with one scheme for all experts and for gate, up and down projections.
EXPERTS = re.compile(r"\.experts\.(?P<part>.+)$")


def fused_by(runtime: str) -> tuple[FusedLayers, ...]:
    """The rows of a runtime; `EXPERTS` holds for each of them too."""
    return tuple(row for row in FUSED_LAYERS if runtime in row.runtimes)
