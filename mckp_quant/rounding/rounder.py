"""What every rounder is: from a layer's weight, formats and the statistics of its inputs to codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ..formats.format import Format
    from ..layers import Layer
    from .blocks import BlockRun
    from .encoded import StoredWeight

NOTHING, INPUTS, BLOCK = "nothing", "inputs", "block"  # what a rounder may need besides the weight


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
    block
        The block around the layer with inputs that were kept, for rounders that need it; None where there is none.
    """

    gram: Tensor
    rows: Tensor
    cross: Tensor | None = None
    block: BlockRun | None = None


class Rounder(Protocol):
    """A frozen dataclass whose fields are its options.

    Attributes
    ----------
    name
        How it is called.
    reference
        Its source.
    needs
        ``"nothing"``; ``"inputs"`` where it uses the statistics of a layer's inputs; ``"block"`` where it uses the
        block around the layer too.
    """

    name: ClassVar[str]
    reference: ClassVar[str]

    @property
    def needs(self) -> str:
        """What `encode` makes use of, see above; a name of the class, or one that hangs on the options."""

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
