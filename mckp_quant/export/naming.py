"""Finds the built-in format of what a toolchain says, and the names of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..formats.format import Format

if TYPE_CHECKING:
    from ..layers import Layer


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


def parameter_of(name: str, layer: Layer) -> str:
    """The name of a layer's weight among a network's parameters: of experts its own, as they are no module."""
    return name if layer.kind in ("experts", "experts_transposed") else f"{name}.weight"
