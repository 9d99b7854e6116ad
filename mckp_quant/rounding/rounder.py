"""What every rounder is: from a layer's weight, formats and the statistics of its inputs to codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ..formats.format import Format
    from ..layers import Layer
    from .encoded import StoredWeight

NOTHING, INPUTS = "nothing", "inputs"  # what a rounder may need besides the weight


@dataclass(frozen=True, eq=False)
class InputStatistics:
    """Sums over the rows of inputs that a layer multiplies its weight with.

    A row is what one output entry is made of: the input of a linear layer, the patch under a kernel of a convolution.
    A grouped convolution, and a mixture of experts, has a matrix for each group, or expert.

    Attributes
    ----------
    gram
        ``(groups, n, n)`` float64: the sum of ``x x'`` over rows ``x``.
    rows
        ``(groups,)`` float64: how many rows that is over.
    cross
        ``(groups, n, n)`` float64: the sum of ``y x'``, where ``y`` is the same row in the float network. The weight
        is then rounded so that on ``x`` it gives what the float weight gives on ``y``. None where they are the same.
    """

    gram: Tensor
    rows: Tensor
    cross: Tensor | None = None


class Rounder(Protocol):
    """A frozen dataclass whose fields are its options.

    Attributes
    ----------
    name
        How it is called.
    reference
        Its source.
    needs
        ``"nothing"``, or ``"inputs"`` where it uses the statistics of a layer's inputs.
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    needs: ClassVar[str]

    def encode(
        self, weight: Tensor, layer: Layer, formats: Sequence[Format], inputs: InputStatistics | None
    ) -> list[StoredWeight]:
        """Round a weight to formats.

        Parameters
        ----------
        weight
            ``layer.shape``, finite, floating point.
        layer
            The facts about it.
        formats
            Formats of weights; what they say of activations does not matter here.
        inputs
            The statistics of its inputs, as these formats see them; None where there are none.

        Returns
        -------
        encoded
            One for each format. The same arguments give the same codes.
        """
