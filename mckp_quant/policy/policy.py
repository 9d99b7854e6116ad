"""A policy: which layer gets which format, what that is predicted to lose and costs, and how it was found."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..common.documents import read_document, write_document
from ..common.files import readable
from ..common.renamed import renamed_fields
from ..errors import InvalidInput, unknown
from ..formats.format import Format, as_formats
from ..tables.table import SensitivityTable
from .document import policy_arguments, policy_document
from .face import layers_grid, policy_face
from .prediction import Prediction, predict, totals

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from ..common.display import Face
    from ..costs.costs import Budget
    from ..formats.ranges import ActivationRanges
    from ..layers import Layer


KIND = "policy"
VERSION = 1
MADE_BY = f"mckp-quant {__version__}"


@renamed_fields(layers="layer_names", weights="n_weights")
@dataclass(frozen=True, eq=False)
class Policy:
    """One format for every layer. Two policies are equal when they give the same formats to the same layers.

    Attributes
    ----------
    layer_names
        The names of the layers.
    formats
        Their formats, in the same order.
    predicted
        The predicted increase of the loss, in `unit`; nan where it was not predicted.
    predicted_stderr
        Its standard error over the calibration batches; nan where unknown.
    corrected
        The prediction corrected for what the policy was chosen by: a policy that is best on a table looks better there
        than it is. It is what people are shown. nan where no correction was made.
    corrected_stderr
        Its error, of which two cover 95 %, however few the batches are; nan where unknown.
    correction
        How it was made, or why not, in words; empty where nobody asked for it.
    unit
        ``"nats per sample"``, ``"nats per token"``, or the metric's own.
    layer_bits
        Stored bits of every layer, scales counted; empty where unknown.
    n_weights
        How many weights the layers have together; 0 where unknown.
    costs
        Exact totals: ``"weight_bytes"``, ``"stored_bits"`` and ``"bops"`` per sample; what is unknown is not there.
    budgets
        The limits that it was made for.
    bound
        No policy within the budgets has a smaller predicted loss; nan where nothing is proved.
    status
        What is known of it, as a sentence such as ``"proved optimal"``.
    ground
        What the proof rests on: ``"dual gap closed"``, ``"search exhausted (exact)"`` with the solver whose search
        it was (older files do not name it), or ``"none"``.
    solver
        The solver that found it, with its options; empty for a policy made by hand.
    seed
        The seed that the solver was given.
    ties
        The sets of layers that were made to share one format.
    pinned
        Layer and format name of every layer whose format was given.
    tolerance
        How far below it another policy might still lie where it is proved optimal, in `unit`; nan where nothing is
        proved.
    target
        The export target whose storage its costs count; empty for the formats' own.
    table
        The digest of the table that it was made from.
    ranges
        The ranges of the inputs that its formats quantise; None where none has to be fixed, or they are not known.
    rounder
        What the weights are rounded by that its prediction is about; empty where nothing is predicted.
    made_by
        The program and its version.

    Raises
    ------
    InvalidInput
        When there is no layer, a layer stands twice, or there is not one format per layer.
    """

    layer_names: tuple[str, ...]
    formats: tuple[Format, ...]
    predicted: float = math.nan
    predicted_stderr: float = math.nan
    corrected: float = math.nan
    corrected_stderr: float = math.nan
    correction: str = ""
    unit: str = "nats per sample"
    layer_bits: tuple[int, ...] = ()
    n_weights: int = 0
    costs: Mapping[str, int] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()
    bound: float = math.nan
    status: str = "made by hand"
    ground: str = "none"
    solver: str = ""
    seed: int = 0
    ties: tuple[tuple[str, ...], ...] = ()
    pinned: tuple[tuple[str, str], ...] = ()
    tolerance: float = math.nan
    target: str = ""
    table: str = ""
    ranges: ActivationRanges | None = None
    rounder: str = ""
    made_by: str = MADE_BY

    def __post_init__(self) -> None:
        """Copy and check."""
        object.__setattr__(self, "layer_names", tuple(self.layer_names))
        object.__setattr__(self, "formats", tuple(self.formats))
        object.__setattr__(self, "layer_bits", tuple(self.layer_bits))
        object.__setattr__(self, "costs", dict(self.costs))
        if not self.layer_names:
            raise InvalidInput("a policy without layers says nothing: give at least one layer")
        if len(self.formats) != len(self.layer_names):
            raise InvalidInput(
                f"the policy has {len(self.layer_names)} layers and {len(self.formats)} formats: give one each"
            )
        if self.layer_bits and len(self.layer_bits) != len(self.layer_names):
            raise InvalidInput(
                f"the policy has {len(self.layer_names)} layers and {len(self.layer_bits)} layer_bits: give one each"
            )
        name, count = Counter(self.layer_names).most_common(1)[0]
        if count > 1:
            raise InvalidInput(f"layer {name!r} stands twice in the policy: names must differ")

    @classmethod
    def uniform(cls, layers: SensitivityTable | Iterable[Layer], entry: Format | str) -> Policy:
        """Give every layer the same format.

        Parameters
        ----------
        layers
            The layers, or a table: then the loss is predicted too.
        entry
            The format or its name; with a table, the name of one of its formats.

        Returns
        -------
        policy
            The policy, with its costs.

        Raises
        ------
        InvalidInput
            When the format is unknown.
        """
        if isinstance(layers, SensitivityTable):
            name = entry.name if isinstance(entry, Format) else entry
            return cls.on_table(layers, [layers.formats[layers.column(name)]] * len(layers.layers))
        found = tuple(layers)
        return cls(tuple(layer.name for layer in found), as_formats([entry]) * len(found))._with_costs(found)

    @classmethod
    def on_table(cls, table: SensitivityTable, formats: Sequence[Format]) -> Policy:
        """Give every layer of a table a format of the table, with predicted loss and costs.

        Parameters
        ----------
        table
            The table.
        formats
            One of its formats for each of its layers.

        Returns
        -------
        policy
            The policy; it is not known to be good.

        Raises
        ------
        InvalidInput
            When a format is not in the table, or not allowed for its layer.
        """
        found = predict(table, formats)
        policy = cls(
            table.layer_names,
            tuple(formats),
            predicted=found.loss,
            predicted_stderr=found.stderr,
            unit=table.unit,
            table=table.digest,
            ranges=_ranges(table, formats),
            rounder=table.rounder,
        )
        return policy._with_costs(table.layers)

    def _with_costs(self, layers: Sequence[Layer]) -> Policy:
        return replace(
            self,
            layer_bits=tuple(entry.storage_bits(layer) for layer, entry in zip(layers, self.formats, strict=True)),
            n_weights=sum(layer.weights for layer in layers),
            costs=totals(layers, self.formats),
        )

    def __getitem__(self, layer: str) -> Format:
        """The format of the layer; raises InvalidInput, with the nearest name, where there is no such layer."""
        if layer not in self._by_layer:
            raise unknown("layer", layer, self.layer_names)
        return self._by_layer[layer]

    def __len__(self) -> int:
        """How many layers there are."""
        return len(self.layer_names)

    def __eq__(self, other: object) -> bool:
        """Whether the other policy gives the same formats to the same layers, in any order."""
        return isinstance(other, Policy) and self._key == other._key

    def __hash__(self) -> int:
        """Equal policies have equal hashes."""
        return hash(self._key)

    def __repr__(self) -> str:
        """What is predicted and proved of the policy, in a few lines."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook, with every layer."""
        names = [each.name for each in self.formats]
        return self._face().html(layers_grid(self.layer_names, names, self.layer_bits))

    def _face(self) -> Face:
        names = [each.name for each in self.formats]
        facts = [("rounded", f"by {self.rounder}")] if self.rounder else []
        facts += [("target", self.target)] if self.target else []
        facts += [("solver", f"{self.solver}, seed {self.seed}")] if self.solver else []
        bound, bits = (self.bound, self.gap), self.bits_per_weight
        return policy_face(
            names, self.status, self.expected, self.unit, bound, self.costs, bits, self.budgets, tuple(facts)
        )

    @cached_property
    def _by_layer(self) -> dict[str, Format]:
        return dict(zip(self.layer_names, self.formats, strict=True))

    @property
    def _key(self) -> frozenset[tuple[str, str, int, int | None]]:
        # A user's own format does not get its callables back from a file, so they cannot be part of what it is.
        return frozenset(
            (layer, entry.name, entry.weight_bits, entry.activation_bits)
            for layer, entry in zip(self.layer_names, self.formats, strict=True)
        )

    @property
    def expected(self) -> Prediction:
        """What people are shown: the corrected prediction, or the plain one where no correction was made."""
        if math.isnan(self.corrected):
            return Prediction(self.predicted, self.predicted_stderr)
        return Prediction(self.corrected, self.corrected_stderr)

    @property
    def gap(self) -> float:
        """Predicted loss less the bound: the most that any other policy within the budgets could save."""
        return self.predicted - self.bound

    @property
    def bits_per_weight(self) -> float:
        """Stored bits per weight, scales counted; nan where unknown."""
        return (
            self.costs["stored_bits"] / self.n_weights if self.n_weights and "stored_bits" in self.costs else math.nan
        )

    def document(self) -> dict[str, Any]:
        """The policy in plain types, as `save` writes it; raises InvalidInput where a format cannot be written."""
        arguments = {each.name: getattr(self, each.name) for each in fields(self)}
        return policy_document({**arguments, "gap": self.gap, "bits_per_weight": self.bits_per_weight})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy as one JSON document, whole or not at all."""
        write_document(path, KIND, VERSION, self.document())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a policy that `save` wrote.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        policy
            The same policy; a user's own formats keep their stored bits but not their quantizer.

        Raises
        ------
        InvalidInput
            When the file is missing, truncated, foreign, newer, or its content does not fit together.
        """
        source = f"the policy {str(path)!r}"
        arguments = policy_arguments(read_document(path, KIND, VERSION), source)
        with readable(source):
            return cls(**arguments)


def _ranges(table: SensitivityTable, formats: Sequence[Format]) -> ActivationRanges | None:
    """Of the table's ranges those that the formats need; None where there are none."""
    if table.ranges is None:
        return None
    wanted = [
        (name, entry.activation_scheme)
        for layer, entry in zip(table.layers, formats, strict=True)
        if entry.activation_scheme is not None and entry.activation_scheme.calibrated
        for name in (layer.name, *layer.ties)
    ]
    return table.ranges.only(wanted) if wanted else None
