"""Weights as blocks of GGUF files: how the types of llama.cpp lay codes and scales out, and codes that fit a weight.

The layouts are those that the file format prescribes (ggml-org, *GGUF*); scales and codes are found here.
"""
