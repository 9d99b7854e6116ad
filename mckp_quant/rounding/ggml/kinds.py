"""The types of ggml: their blocks, the codes that a weight may have, and the scales that a block holds."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import unknown
from ...formats.blocks import block_of

# The numbers that four bits stand for in the types that are not linear.
TABLE = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


@dataclass(frozen=True)
class Kind:
    """A type of ggml.

    Attributes
    ----------
    name
        The format's, such as ``"q4_k"``.
    sub
        Weights that share a scale.
    bits
        Bits of a code.
    least, most
        The numbers that the least and the largest code stand for, times the scale.
    scales
        The least and the largest code of a scale of `sub` weights; None where the block's own scale is that of all.
    minima
        Whether a minimum of `sub` weights is added; with codes of scales it is taken away, and not negative.
    table
        Whether codes stand for the numbers of `TABLE`.
    """

    name: str
    sub: int
    bits: int
    least: int
    most: int
    scales: tuple[int, int] | None = None
    minima: bool = False
    table: bool = False

    @property
    def block(self) -> int:
        """Weights in a block."""
        return block_of(self.name)[0]

    @property
    def nbytes(self) -> int:
        """Bytes of a block."""
        return block_of(self.name)[1]


KINDS: dict[str, Kind] = {
    each.name: each
    for each in (
        Kind("q4_0", 32, 4, -8, 7),
        Kind("q5_0", 32, 5, -16, 15),
        Kind("q8_0", 32, 8, -127, 127),
        Kind("q4_1", 32, 4, 0, 15, minima=True),
        Kind("q5_1", 32, 5, 0, 31, minima=True),
        Kind("iq4_nl", 32, 4, TABLE[0], TABLE[-1], table=True),
        Kind("q2_k", 16, 2, 0, 3, (0, 15), minima=True),
        Kind("q3_k", 16, 3, -4, 3, (-32, 31)),
        Kind("q4_k", 32, 4, 0, 15, (0, 63), minima=True),
        Kind("q5_k", 32, 5, 0, 31, (0, 63), minima=True),
        Kind("q6_k", 16, 6, -32, 31, (-128, 127)),
        Kind("iq4_xs", 32, 4, TABLE[0], TABLE[-1], (-32, 31), table=True),
    )
}


def kind_of(name: str) -> Kind:
    """The type of this name; raises InvalidInput, with the nearest name, for another."""
    if name not in KINDS:
        raise unknown("type of ggml", name, KINDS)
    return KINDS[name]
