"""A weight bank: the codes of every layer in every format, so that nothing that was rounded is rounded again."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ..common.documents import write_document
from ..errors import InvalidInput, unknown
from ..network.fingerprint import tensor_digest
from ..network.weight_uses import uses_in
from .banks.document import DOCUMENT, KIND, VERSION, bank_document
from .banks.folder import open_folder, whole_folder
from .banks.foreign import stored_weights
from .banks.memory import Memory
from .encoded import decode_weight

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

    from ..formats.format import Format
    from ..formats.ranges import ActivationRanges
    from ..layers import Layer
    from .banks.folder import Folder
    from .banks.memory import Store
    from .encoded import EncodedWeight, StoredWeight


@dataclass(frozen=True, eq=False)
class WeightBank:
    """The weights of a network in every format of a menu, as one rounder made them.

    A format is kept under its whole name: in ``w4a8`` weights were rounded for inputs of eight bits, and in ``w4`` for
    others. Formats that leave weights float, such as ``a8``, need no codes and are not here.

    Attributes
    ----------
    layers
        The layers.
    formats
        The formats of their weights.
    rounder
        The rounder with its options, such as ``"gptq(damping=0.01)"``.
    target
        The export target whose storage the scales have; empty for the formats' own.
    weights
        From the name of a layer to the digest of its float weight.
    data
        The digest of the batches that the inputs come from; empty where none were used.
    samples
        How many samples that were.
    as_nearest
        The layers that were rounded to nearest, because no input of theirs was seen.
    store
        Where the codes are.
    ranges
        Of the inputs for which weights were rounded; None where no format stores inputs in a fixed range.
    """

    layers: tuple[Layer, ...]
    formats: tuple[Format, ...]
    rounder: str
    target: str
    weights: Mapping[str, str]
    data: str
    samples: int
    as_nearest: tuple[str, ...]
    store: Store = field(repr=False)
    ranges: ActivationRanges | None = None

    @property
    def digest(self) -> str:
        """Forty hexadecimal digits that tell this bank from any other: rounder, target, weights, data, formats."""
        parts = (self.rounder, self.target, self.data, self.as_nearest, sorted(self.weights.items()))
        names = [entry.name for entry in self.formats]
        return hashlib.sha256(repr((parts, names)).encode()).hexdigest()[:40]

    @property
    def in_memory(self) -> int:
        """Bytes that the codes take in memory; 0 where they are read from a folder."""
        return sum(each.nbytes for each in self.store.codes.values()) if isinstance(self.store, Memory) else 0

    def layer(self, name: str) -> Layer:
        """The layer of this name, or whose weight the module of this name shares; raises InvalidInput for another."""
        found = next((layer for layer in self.layers if name in (layer.name, *layer.ties)), None)
        if found is None:
            raise unknown("layer of the bank", name, [layer.name for layer in self.layers])
        return found

    def holds(self, name: str, entry: Format) -> bool:
        """Whether there are codes for a layer in a format."""
        known = any(name in (layer.name, *layer.ties) for layer in self.layers)
        return known and any(entry.name == own.name for own in self.formats)

    def encoded(self, name: str, entry: Format) -> StoredWeight:
        """Give the codes of a layer in a format.

        Parameters
        ----------
        name
            The layer's name, or that of another module with the same weight.
        entry
            The format.

        Returns
        -------
        encoded
            Codes, scales and zero points.

        Raises
        ------
        InvalidInput
            When the bank lacks the layer or the format.
        """
        layer = self.layer(name)
        if all(entry.name != own.name for own in self.formats):
            raise InvalidInput(
                f"the bank holds no weights in {entry.name!r}, but in {', '.join(own.name for own in self.formats)}: "
                "round the network to this format too"
            )
        return self.store.read(layer, entry)

    def weight(self, name: str, entry: Format, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weight of a layer in a format, ``layer.shape``; raises InvalidInput as `encoded` does."""
        return decode_weight(self.encoded(name, entry), entry, self.layer(name), dtype)

    def document(self, *, finished: bool = True) -> dict[str, Any]:
        """The bank in plain types, without its codes; `finished` says whether these are all there."""
        return bank_document(
            {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}, finished=finished
        )

    def save(self, folder: str | os.PathLike[str]) -> WeightBank:
        """Write the bank: a document, and a file of codes for every layer; each file whole or not at all.

        Parameters
        ----------
        folder
            Where to write; folders that are missing are made.

        Returns
        -------
        bank
            The same, which reads its codes from the folder.

        Raises
        ------
        InvalidInput
            When the folder holds another bank.
        OSError
            When a file cannot be written.
        """
        held = open_folder(folder, self.document(finished=False))
        for layer in self.layers:
            codes = {entry: self.store.read(layer, entry) for entry in self.formats}
            held.write(layer, codes, seen=layer.name not in self.as_nearest)
        return self.finished_in(held)

    def finished_in(self, folder: Folder) -> WeightBank:
        """The bank with its codes in a folder that holds all of them, which its document says from now on."""
        write_document(folder.path / DOCUMENT, KIND, VERSION, self.document())
        return dataclasses.replace(self, store=folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> WeightBank:
        """Read a bank that `save` or `round_weights` wrote; its codes are read when they are asked for.

        Parameters
        ----------
        folder
            The folder.

        Returns
        -------
        bank
            The bank. A user's own format keeps its stored bits, but not its quantizer.

        Raises
        ------
        InvalidInput
            When there is none, its document is damaged, or the codes of a layer are missing.
        """
        held, fields = whole_folder(folder)
        return cls(store=held, **fields)

    @classmethod
    def of_weights(
        cls,
        model: nn.Module,
        weights: Mapping[str, Mapping[str | Format, EncodedWeight | Tensor]],
        *,
        rounder: str,
    ) -> WeightBank:
        """Make a bank of weights that another tool has rounded.

        Parameters
        ----------
        model
            The float network.
        weights
            From the name of a layer and a format to its weight: codes, or the weight itself, ``layer.shape``, whose
            codes are found where it is made of some. The same formats for every layer.
        rounder
            The name of the tool, as tables and policies are to give it.

        Returns
        -------
        bank
            In memory. What data the tool saw is not known.

        Raises
        ------
        InvalidInput
            When there is no layer of a name, layers have other formats than the first, or a weight does not fit.
        """
        if not rounder or not weights:
            raise InvalidInput("there is nothing to keep, or rounder is empty: give weights and the name of their tool")
        layers, formats, codes = stored_weights(model, weights)
        uses = uses_in(model)
        digests = {layer.name: tensor_digest(uses[layer.name].weight) for layer in layers}
        return cls(layers, formats, rounder, "", digests, "", 0, (), Memory(codes))

    def check(self, model: nn.Module, names: Iterable[str] | None = None) -> None:
        """Refuse a network whose weights are not those that were rounded.

        Parameters
        ----------
        model
            The float network.
        names
            The layers that matter; None for all of the bank's.

        Raises
        ------
        InvalidInput
            When a layer is missing, or its weight differs.
        """
        uses = uses_in(model)
        for layer in self.layers if names is None else [self.layer(name) for name in names]:
            if layer.name not in uses:
                raise InvalidInput(f"the bank has a layer {layer.name!r}, which the network lacks: it is another's")
            if tensor_digest(uses[layer.name].weight) != self.weights[layer.name]:
                raise InvalidInput(
                    f"the weight of layer {layer.name!r} is not the one that the bank was rounded from: round this "
                    "network's weights, with round_weights"
                )


def rounder_of_bank(bank: WeightBank | None) -> str:
    """What weights are rounded by: the bank's rounder, round-to-nearest without a bank."""
    return "nearest" if bank is None else bank.rounder


def check_rounder(what: str, rounder: str, bank: WeightBank | None, other_rounder: bool) -> None:
    """Refuse weights of one rounder for what was predicted with another.

    Parameters
    ----------
    what
        What was predicted, such as ``"the policy"``.
    rounder
        The rounder that its prediction is about; empty where there is none.
    bank
        The weights; None for round-to-nearest.
    other_rounder
        Whether the user wants it nevertheless.

    Raises
    ------
    InvalidInput
        When they differ.
    """
    own = rounder_of_bank(bank)
    # The last pass only improves what its rounder makes: its codes go with that rounder's predictions.
    if not rounder or rounder == own or other_rounder or own.startswith(f"finish({rounder}, "):
        return
    cure = "give the bank that its table was measured with" if bank is None else "give its own bank"
    raise InvalidInput(
        f"{what} is about weights rounded by {rounder}, but these are rounded by {own}: {cure} (bank=), or say "
        "other_rounder=True, and the prediction does not hold"
    )
