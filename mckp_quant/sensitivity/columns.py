"""The columns of a table as combinations: what is stored of the weights, and what of the layer's input."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import nn

from ..errors import InvalidInput
from ..formats.format import FLOAT
from ..network.weight_uses import MIXTURES
from ..rounding.inputs import InputRounding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..formats.format import Format
    from ..formats.ranges import ActivationRanges
    from ..formats.schemes import ActivationScheme
    from ..layers import Layer


@dataclass(frozen=True, eq=False)
class Menu:
    """Formats, taken apart so that nothing is computed twice.

    Attributes
    ----------
    weights
        The distinct formats of weights: rounding errors of weights are known for these, in this order. Where a bank
        holds the weights, a format that stores both halves stands here whole, because its weights are its own.
    schemes
        The distinct schemes of inputs.
    columns
        For each format of the table its weights and its scheme by their positions; None where the input stays float.
    roundings
        For each module that a scheme can be used on, what rounds its input in each scheme.
    """

    weights: tuple[Format, ...]
    schemes: tuple[ActivationScheme, ...]
    columns: tuple[tuple[int, int | None], ...]
    roundings: Mapping[nn.Module, tuple[InputRounding, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, formats: Sequence[Format], *, banked: bool = False) -> Menu:
        """Take formats apart; `banked` says that the weights come from a bank."""
        stored = [entry if banked and stores_weights(entry) else entry.weights_only for entry in formats]
        weights = tuple(dict.fromkeys(stored))
        schemes = tuple(
            dict.fromkeys(entry.activation_scheme for entry in formats if entry.activation_scheme is not None)
        )
        columns = tuple(
            (
                weights.index(own),
                None if entry.activation_scheme is None else schemes.index(entry.activation_scheme),
            )
            for own, entry in zip(stored, formats, strict=True)
        )
        return cls(weights, schemes, columns)

    def columns_with(self, scheme: int | None) -> list[int]:
        """The positions of the formats that store inputs in this scheme."""
        return [column for column, (_, found) in enumerate(self.columns) if found == scheme]

    def rounded_weights(self, columns: Iterable[int]) -> list[int]:
        """The positions of the formats of weights that these columns use, without the one that leaves weights float."""
        used = {self.columns[column][0] for column in columns}
        return sorted(weight for weight in used if self.weights[weight] != FLOAT)

    def on(self, layers: Iterable[Layer], modules: Mapping[str, nn.Module], ranges: ActivationRanges | None) -> Menu:
        """The menu with what rounds the inputs of each module.

        Parameters
        ----------
        layers
            The layers.
        modules
            The modules by the names of layers and ties.
        ranges
            The ranges of inputs; None where no scheme needs any.

        Returns
        -------
        menu
            Modules that have no range for a scheme, because no batch has called them, are left out, and so are
            embeddings, whose inputs are whole numbers.

        Raises
        ------
        InvalidInput
            When a layer holds experts.
        """
        found: dict[nn.Module, tuple[InputRounding, ...]] = {}
        for layer in layers if self.schemes else ():
            if layer.kind in MIXTURES:
                raise InvalidInput(
                    f"layer {layer.name!r} holds experts, whose inputs are not all seen from outside: measure formats "
                    "of weights, or name the other layers with layers="
                )
            for name in (layer.name, *layer.ties):
                known = all(
                    not scheme.calibrated or (ranges is not None and (name, scheme.name) in ranges.ranges)
                    for scheme in self.schemes
                )
                if known and not isinstance(modules[name], nn.Embedding):
                    found[modules[name]] = tuple(_rounding(name, scheme, ranges) for scheme in self.schemes)
        return replace(self, roundings=found)

    def roundings_at(self, module: nn.Module, layer: str) -> tuple[InputRounding, ...] | None:
        """What rounds the input of a module that is called now.

        Parameters
        ----------
        module
            The module.
        layer
            Its layer's name, for the message.

        Returns
        -------
        roundings
            One for each scheme; None for an embedding, and where there are no schemes.

        Raises
        ------
        InvalidInput
            When it has no range.
        """
        if not self.schemes or isinstance(module, nn.Embedding):
            return None
        if module not in self.roundings:
            raise InvalidInput(
                f"the input of layer {layer!r} has no range for {', '.join(each.name for each in self.schemes)}: no "
                "batch that ranges were calibrated on has called it; calibrate on more with calibrate_ranges and give "
                "measure(..., activation_range=ranges)"
            )
        return self.roundings[module]


def stores_weights(entry: Format) -> bool:
    """Whether a format does anything to weights."""
    return entry.weights_only != FLOAT


def _rounding(name: str, scheme: ActivationScheme, ranges: ActivationRanges | None) -> InputRounding:
    if not scheme.calibrated or ranges is None:
        return InputRounding(scheme)
    return InputRounding(scheme, *ranges.of(name, scheme))
