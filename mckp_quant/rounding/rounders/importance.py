"""Rounds blocks of ggml with the least squared error, each weight weighed by the strength of its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...errors import InvalidInput
from ...formats.blocks import GGML
from ..rounder import INPUTS, NOTHING
from ..weights import encode_blocks
from .nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ...formats.format import Format
    from ...layers import Layer
    from ..encoded import BlockWeight, StoredWeight
    from ..ggml.imatrix import ImportanceMatrix
    from ..rounder import InputStatistics


@dataclass(frozen=True)
class Importance:
    """Round blocks of ggml as ``llama-quantize --imatrix`` does, with a search of our own; other formats to nearest.

    Attributes
    ----------
    matrix
        A file of ``llama-imatrix``, see `ImportanceMatrix.read`; None for the diagonal of the inputs' Gram matrix.
    """

    matrix: ImportanceMatrix | None = None
    name: ClassVar[str] = "importance"
    reference: ClassVar[str] = "Kawrakow (2024), llama.cpp pull request 4861: importance matrices"

    @property
    def needs(self) -> str:
        """The statistics of the layer's inputs, unless a file holds them."""
        return INPUTS if self.matrix is None else NOTHING

    def encode(
        self, weight: Tensor, layer: Layer, formats: Sequence[Format], inputs: InputStatistics | None
    ) -> list[StoredWeight]:
        """Round a weight to formats, see `Rounder.encode`.

        Raises
        ------
        InvalidInput
            As `quantize` does, when the statistics are not of this layer, and when the matrix has no entry for the
            layer or one of other inputs.
        """
        blocks = any(entry.family == GGML for entry in formats)
        found = _of_inputs(inputs, layer) if self.matrix is None or not blocks else self.matrix.of(layer)
        return [
            nearest(weight, entry, layer)
            if entry.family != GGML or found is None
            else encode_blocks(weight, entry, layer, found.to(weight.device))
            for entry in formats
        ]


def weighed_blocks(weight: Tensor, entry: Format, layer: Layer, inputs: InputStatistics) -> BlockWeight:
    """Blocks of ggml for the inputs of a layer, for rounders that have no way of their own with them."""
    return encode_blocks(weight, entry, layer, _of_inputs(inputs, layer))


def _of_inputs(inputs: InputStatistics | None, layer: Layer) -> Tensor | None:
    """The sum of squares of every input, ``(groups, n)``; None where none was seen."""
    if inputs is None or not bool((inputs.rows > 0).any()):
        return None
    diagonal = inputs.gram.diagonal(dim1=1, dim2=2)
    row = layer.elements // layer.known_channels
    if diagonal.shape[1] != row or layer.known_channels % len(diagonal):
        raise InvalidInput(
            f"the inputs of layer {layer.name!r} have a Gram matrix of shape {tuple(inputs.gram.shape)}, but its "
            f"weight has {layer.known_channels} rows of {row}: they are another layer's"
        )
    # A group that has seen nothing has no strong inputs and no weak ones.
    return torch.where((inputs.rows > 0).to(diagonal.device)[:, None], diagonal, 1)
