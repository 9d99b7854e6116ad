"""Costs that were measured or worked out elsewhere: a named integer for every layer and format."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..common.renamed import renamed_fields
from ..errors import InvalidInput, unknown
from .cells import unmasked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ..formats.format import Format
    from ..layers import Layer

NOT_MEASURED = -1


@renamed_fields(layers="layer_names")
@dataclasses.dataclass(frozen=True, eq=False)
class CostTable:
    """What every layer costs in every format, such as nanoseconds measured on a device.

    Attributes
    ----------
    name
        What a budget calls it, such as ``"latency"``.
    unit
        What the integers count, such as ``"ns"``; amounts may then say ``"1.5ms"``.
    layer_names
        The names of the rows.
    formats
        The names of the columns.
    cost
        ``(n_layers, n_formats)`` int64, at least 0; -1, nan, None or a mask where nothing was measured.

    Raises
    ------
    InvalidInput
        When shapes disagree, a name stands twice, or an entry is no whole number that is at least -1.
    """

    name: str
    unit: str
    layer_names: tuple[str, ...]
    formats: tuple[str, ...]
    cost: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Copy, check and freeze."""
        object.__setattr__(self, "layer_names", tuple(self.layer_names))
        object.__setattr__(self, "formats", tuple(self.formats))
        for kind, names in (("layer", self.layer_names), ("format", self.formats)):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise InvalidInput(f"{kind} {twice!r} stands twice in the costs {self.name!r}: names must differ")
        cost = _whole(self.name, self.cost, self.layer_names, self.formats)
        cost.setflags(write=False)
        object.__setattr__(self, "cost", cost)
        object.__setattr__(self, "_row", {name: row for row, name in enumerate(self.layer_names)})
        object.__setattr__(self, "_column", {name: column for column, name in enumerate(self.formats)})

    def of(self, layer: Layer, entry: Format) -> int:
        """What the layer costs in the format.

        Parameters
        ----------
        layer
            The layer; the name of another module that uses the same weight will do.
        entry
            The format.

        Returns
        -------
        cost
            -1 where nothing was measured for this pair.

        Raises
        ------
        InvalidInput
            When the layer has no row at all.
        """
        rows: dict[str, int] = self.__dict__["_row"]
        row = next((rows[name] for name in (layer.name, *layer.ties) if name in rows), None)
        if row is None:
            raise unknown(f"layer in the costs {self.name!r}:", layer.name, self.layer_names)
        column = self.__dict__["_column"].get(entry.name)
        return NOT_MEASURED if column is None else int(self.cost[row, column])


def _whole(name: str, cost: ArrayLike, layers: Sequence[str], formats: Sequence[str]) -> NDArray[np.int64]:
    try:
        array = np.array(unmasked(cost, NOT_MEASURED))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"the costs {name!r} are not rectangular: {error}") from error
    shape = (len(layers), len(formats))
    if array.shape != shape:
        raise InvalidInput(f"the costs {name!r} have the shape {array.shape}: it must be {shape}, layers by formats")
    if array.dtype.kind not in "biuf":
        raise InvalidInput(f"the costs {name!r} hold {array.dtype}: give whole numbers")
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), NOT_MEASURED, array)
    wrong = (array < NOT_MEASURED) | (array != np.floor(array)) | (array >= 2.0**63)
    if wrong.any():
        row, column = (int(at) for at in np.argwhere(wrong)[0])
        raise InvalidInput(
            f"the costs {name!r} of layer {layers[row]!r} in format {formats[column]!r} are {array[row, column]}: "
            "give whole numbers in a unit that is small enough, at least 0"
        )
    return array.astype(np.int64)
