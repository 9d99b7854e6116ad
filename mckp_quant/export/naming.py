"""Finds the built-in format of what a toolchain says: bits, what shares a scale, zero points, activations."""

from __future__ import annotations

from ..formats.format import Format


def integer_format(
    bits: int, *, group: int | None = None, tensor: bool = False, zero_point: bool = False, activations: str = ""
) -> Format:
    """The format with integer weights that a toolchain describes.

    Parameters
    ----------
    bits
        Bits per weight.
    group
        Weights that share a scale; None for one a channel or tensor.
    tensor
        Whether the whole tensor shares one scale.
    zero_point
        Whether scales come with zero points.
    activations
        The part of the name that says how the layer's input is stored, such as ``"a8d"``; empty where it stays float.

    Returns
    -------
    entry
        The built-in format.

    Raises
    ------
    InvalidInput
        When no built-in format is like this, such as one with groups of 48.
    """
    shared = "t" if tensor else "" if group is None else f"g{group}"
    return Format.named(f"w{bits}{shared}{'z' if zero_point else ''}{activations}")
