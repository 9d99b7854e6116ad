"""Blocks of GGUF files: how many weights one holds, its bytes, and the types that are formats of this project."""

from __future__ import annotations

# From a type of GGUF files to the weights in one of its blocks, and the bytes of a block with its scales.
GGUF_BLOCKS: dict[str, tuple[int, int]] = {
    **{"Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34)},
    **{"IQ4_NL": (32, 18), "MXFP4": (32, 17), "NVFP4": (64, 36), "Q1_0": (128, 18)},
    **{"Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210)},
    **{"IQ1_S": (256, 50), "IQ1_M": (256, 56), "IQ2_XXS": (256, 66), "IQ2_XS": (256, 74), "IQ2_S": (256, 82)},
    **{"IQ3_XXS": (256, 98), "IQ3_S": (256, 110), "IQ4_XS": (256, 136), "TQ1_0": (256, 54), "TQ2_0": (256, 66)},
    **{"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2)},
}
GGML = "ggml"  # the family of formats whose weights are such blocks
# The formats that are blocks of ggml, and the bits of a code in each.
GGML_FORMATS: dict[str, int] = {
    **{"q2_k": 2, "q3_k": 3, "q4_k": 4, "q5_k": 5, "q6_k": 6},
    **{"q4_0": 4, "q4_1": 4, "q5_0": 5, "q5_1": 5, "q8_0": 8, "iq4_nl": 4, "iq4_xs": 4},
}


def block_of(name: str) -> tuple[int, int]:
    """The weights in a block of a format of `GGML_FORMATS`, and its bytes."""
    return GGUF_BLOCKS[name.upper()]
