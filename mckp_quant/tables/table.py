"""The table that measuring makes and solving reads: predicted loss per layer and format, with standard errors."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.checks import check_count
from ..common.display import counted
from ..common.documents import check_schema, entries, field, read_document, whole, write_document
from ..common.files import readable
from ..common.renamed import renamed_fields
from ..errors import InvalidInput, unknown
from ..formats.file_facts import FileFacts
from ..formats.format import FLOAT, Format, format_document, format_from
from ..formats.ranges import ActivationRanges
from ..layers import Activation, Layer
from .cells import unmasked
from .face import losses_grid, table_face
from .parts.part import Part

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from ..common.display import Face

KIND = "table"
VERSION = 1


@renamed_fields(weights="batch_sizes")
@dataclasses.dataclass(frozen=True, eq=False)
class SensitivityTable:
    """Predicted increase of the loss for every layer in every format.

    Entries are kept as they were measured: negative and non-monotone ones too.

    Attributes
    ----------
    layers
        The rows, in network order.
    formats
        The columns.
    loss
        ``(n_layers, n_formats)`` float64, in `unit`; nan, or a mask, where the format is not allowed for the layer.
    unit
        ``"nats per sample"``, ``"nats per token"``, or the metric's own.
    stderr
        ``(n_layers, n_formats)`` float64 standard errors of `loss`; nan where unknown.
    contributions
        ``(n_batches, n_layers, n_formats)`` float64 or None: the mean over each batch's samples. Cells share samples,
        so their errors are correlated, and a bootstrap draws batches.
    batch_sizes
        ``(n_batches,)`` float64 or None: samples in each batch, so that ``loss`` is their weighted mean.
    method
        The estimator that made it.
    samples
        How many samples it saw.
    seed
        The seed of its random draws.
    activations
        The activation tensors of the network, for budgets on peak memory; empty where they are not known.
    ranges
        The ranges of the layers' inputs that formats of activations were measured with; None where there are none.
    likelihood
        What the outputs were taken for, ``"categorical"`` or ``"gaussian"``; empty where that is not known.
    classes
        How many classes the outputs tell apart, so that a loss can be set beside that of a guess; 0 where that is not
        known, or there are none.
    rounder
        What rounded the weights that the losses are about, with its options, such as ``"nearest"``; empty where that is
        not known.
    files
        What the network takes in the files of export targets, for the budget ``"file_bytes"``; empty where that is not
        known.
    outside
        How many weights of the network are in none of these layers, and stay in floating point; 0 where that is not
        known.
    part
        Where the table is of a part of the batches only, for `merge`: which part, and what was added up.

    Raises
    ------
    InvalidInput
        When shapes disagree, a name stands twice, or an entry is infinite.
    """

    layers: tuple[Layer, ...]
    formats: tuple[Format, ...]
    loss: NDArray[np.float64]
    stderr: NDArray[np.float64]
    unit: str = "nats per sample"
    contributions: NDArray[np.float64] | None = None
    batch_sizes: NDArray[np.float64] | None = None
    method: str = "given"
    samples: int = 0
    seed: int = 0
    activations: tuple[Activation, ...] = ()
    ranges: ActivationRanges | None = None
    likelihood: str = ""
    classes: int = 0
    rounder: str = ""
    files: tuple[FileFacts, ...] = ()
    outside: int = 0
    part: Part | None = None

    def __post_init__(self) -> None:
        """Copy, check and freeze."""
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "formats", tuple(self.formats))
        object.__setattr__(self, "activations", tuple(self.activations))
        object.__setattr__(self, "files", tuple(self.files))
        for each in self.files:
            if len(each.names) != len(self.layers):
                raise InvalidInput(
                    f"the file {each.form!r} has {len(each.names)} layers, but the table has {len(self.layers)}: it is "
                    "another network's"
                )
        shape = (len(self.layers), len(self.formats))
        if 0 in shape:
            raise InvalidInput(f"a table of {shape[0]} layers and {shape[1]} formats is empty: both must be at least 1")
        for kind, names in (("layer", self.layer_names), ("format", self.format_names)):
            name, count = Counter(names).most_common(1)[0]
            if count > 1:
                raise InvalidInput(f"{kind} {name!r} stands twice in the table: names must differ")
        check_count("classes", self.classes, 0)
        check_count("outside", self.outside, 0)
        self._freeze("loss", shape)
        self._freeze("stderr", shape)
        if self.contributions is not None:
            batches = len(self.contributions)
            self._freeze("contributions", (batches, *shape))
            if self.batch_sizes is None:
                raise InvalidInput("contributions come without batch_sizes: give the number of samples in each batch")
            self._freeze("batch_sizes", (batches,))
            unknown_sizes = np.flatnonzero(np.isnan(self.batch_sizes))
            if len(unknown_sizes):
                raise InvalidInput(f"batch_sizes[{unknown_sizes[0]}] is nan: give the number of samples in every batch")

    def _freeze(self, name: str, shape: tuple[int, ...]) -> None:
        given = unmasked(getattr(self, name), np.nan)
        odd = self._odd_cell(given) if len(shape) == 2 else ""
        if odd:
            raise InvalidInput(f"{name} is not a table of numbers: {odd}")
        try:
            array = np.array(given, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidInput(f"{name} is not a table of numbers: {error}") from error
        if array.shape != shape:
            raise InvalidInput(f"{name} has the shape {array.shape}: it must be {shape}")
        if np.isinf(array).any():
            index = tuple(int(i) for i in np.argwhere(np.isinf(array))[0])
            cell = index[-2:]
            where = (
                f" (layer {self.layers[cell[0]].name!r}, format {self.formats[cell[1]].name!r})"
                if len(shape) > 1
                else ""
            )
            raise InvalidInput(
                f"{name}{list(index)}{where} is {array[index]}: entries must be finite, or nan where the format "
                "is not allowed"
            )
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def _odd_cell(self, entries: object) -> str:
        """The first row or entry of a matrix that cannot be read; empty where it is no matrix of this table."""
        if not isinstance(entries, (list, tuple)) or len(entries) > len(self.layers):
            return ""
        for layer, (row, cells) in zip(self.layers, enumerate(entries), strict=False):
            where = f"row {row} (layer {layer.name!r})"
            if not isinstance(cells, (list, tuple)):
                return f"{where} is {cells!r}, no list"
            for column, (entry, cell) in enumerate(zip(self.formats, cells, strict=False)):
                if cell is not None and (isinstance(cell, bool) or not isinstance(cell, (int, float, np.number))):
                    return f"{where}, column {column} (format {entry.name!r}) is {cell!r}, no number"
            columns = len(self.formats)
            if len(cells) != columns and any(len(entries[0]) != len(other) for other in entries):
                return f"{where}, column {min(len(cells), columns)}: {len(cells)} entries for {columns} formats"
        return ""

    def __repr__(self) -> str:
        """What the table is about, in a few lines."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook, with the losses."""
        return self._face().html(losses_grid(self.layer_names, self.format_names, self.loss, self.stderr))

    def _face(self) -> Face:
        batches = "" if self.batch_sizes is None else f" in {counted(len(self.batch_sizes), 'batch', 'batches')}"
        facts = [("method", f"{self.method}, on {counted(self.samples, 'sample')}{batches}, seed {self.seed}")]
        facts += [("rounded", f"by {self.rounder}")] if self.rounder else []
        facts += [] if self.part is None else [("part", f"{self.part.share}: merge it with the others")]
        return table_face(self.format_names, self.loss, self.unit, tuple(facts))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the rows."""
        return tuple(layer.name for layer in self.layers)

    @property
    def format_names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(entry.name for entry in self.formats)

    @property
    def guessing(self) -> float:
        """The most that guessing loses, ``ln(classes)`` in nats; inf where losses are not in nats, or K is not known.

        It is the divergence of equal probabilities from certainty. A format that loses more is worse than useless, and
        a quadratic form that says so is outside the range in which it means anything.
        """
        known = self.likelihood == "categorical" and self.classes > 1 and self.unit.startswith("nats per ")
        return math.log(self.classes) if known else math.inf

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when a name, a shape or a loss does; policies keep them.

        A column ``"float"`` at the end that loses nothing says nothing new, and does not count: a policy may leave a
        layer as it is whatever the table was measured in.
        """
        content = hashlib.sha256()
        for layer in self.layers:
            content.update(repr((layer.name, layer.kind, layer.shape, layer.channels, layer.macs)).encode())
        free = (
            self.format_names[-1] == FLOAT.name and len(self.formats) > 1 and not np.nan_to_num(self.loss[:, -1]).any()
        )
        columns = len(self.formats) - free
        content.update(repr(self.format_names[:columns]).encode())
        content.update(np.ascontiguousarray(self.loss[:, :columns]).tobytes())
        return content.hexdigest()[:16]

    def check_likelihood(self, likelihood: str) -> None:
        """Refuse to set beside this table what is measured with another likelihood; raises InvalidInput."""
        if self.likelihood not in {"", likelihood}:
            raise InvalidInput(
                f"the table was measured with likelihood={self.likelihood!r}, not {likelihood!r}: give the same one, "
                "so that what is measured is what is predicted"
            )

    def row(self, layer: str) -> int:
        """The row of the layer of this name; raises InvalidInput, with the nearest name, where there is none."""
        if layer not in self.layer_names:
            raise unknown("layer", layer, self.layer_names)
        return self.layer_names.index(layer)

    def column(self, name: str) -> int:
        """The column of the format of this name; raises InvalidInput, with the nearest name, where there is none."""
        if name not in self.format_names:
            raise unknown("format", name, self.format_names)
        return self.format_names.index(name)

    def with_float(self) -> SensitivityTable:
        """The table with one more column, the format ``"float"``: the layer is left as it is and loses nothing."""
        if FLOAT.name in self.format_names:
            return self
        layers, batches = len(self.layers), self.contributions
        zeros = np.zeros((layers, 1))
        return dataclasses.replace(
            self,
            formats=(*self.formats, FLOAT),
            loss=np.hstack([self.loss, zeros]),
            stderr=np.hstack([self.stderr, zeros]),
            contributions=None if batches is None else np.dstack([batches, np.zeros((len(batches), layers, 1))]),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as one JSON document, whole or not at all."""
        write_document(path, KIND, VERSION, self.document())

    def document(self) -> dict[str, Any]:
        """The table in plain types and arrays, as `save` writes it."""
        return {
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
            "formats": [
                format_document(entry, {layer.name: entry.storage_bits(layer) for layer in self.layers})
                for entry in self.formats
            ],
            "loss": self.loss,
            "stderr": self.stderr,
            "unit": self.unit,
            "contributions": self.contributions,
            "weights": self.batch_sizes,
            "method": self.method,
            "samples": self.samples,
            "seed": self.seed,
            **({"likelihood": self.likelihood} if self.likelihood else {}),
            **({"classes": self.classes} if self.classes else {}),
            **({"rounder": self.rounder} if self.rounder else {}),
            **({"outside": self.outside} if self.outside else {}),
            **({"files": [each.document() for each in self.files]} if self.files else {}),
            "activations": [dataclasses.asdict(tensor) for tensor in self.activations],
            **({} if self.ranges is None else {"activation_ranges": self.ranges.document()}),
            **({} if self.part is None else {"part": self.part.document()}),
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SensitivityTable:
        """Read a table that `save` wrote.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        table
            The same table; a user's own formats keep their stored bits but not their quantizer.

        Raises
        ------
        InvalidInput
            When the file is missing, truncated, foreign, newer, or its content does not fit together.
        """
        return cls._named(read_document(path, KIND, VERSION), str(path))

    @classmethod
    def from_document(cls, document: object, path: str) -> SensitivityTable:
        """The table that a JSON document holds; `path` is its file, for the InvalidInput where that cannot be read."""
        return cls._named(check_schema(document, path, KIND, VERSION), path)

    @classmethod
    def _named(cls, document: dict[str, Any], path: str) -> SensitivityTable:
        source = f"the table {path!r}"
        with readable(source):
            return cls._from(document, source)

    @classmethod
    def _from(cls, document: dict[str, Any], source: str) -> SensitivityTable:
        layers = tuple(_layer(entry, row, source) for row, entry in enumerate(entries(document, "layers", source)))
        counts = ("samples", "seed", "classes", "outside")
        samples, seed, classes, outside = (whole(document.get(name, 0), name, source) for name in counts)
        formats = tuple(format_from(entry, source) for entry in entries(document, "formats", source))
        return cls(
            layers=layers,
            formats=formats,
            loss=field(document, "loss", source),
            stderr=field(document, "stderr", source),
            unit=str(document.get("unit", "nats per sample")),
            contributions=document.get("contributions"),
            batch_sizes=document.get("weights"),
            method=str(document.get("method", "given")),
            samples=samples,
            seed=seed,
            likelihood=str(document.get("likelihood", "")),
            classes=classes,
            rounder=str(document.get("rounder", "")),
            outside=outside,
            activations=_activations(document, source),
            files=_files(document, source),
            part=None if document.get("part") is None else Part.from_document(document["part"], source),
            ranges=None
            if document.get("activation_ranges") is None
            else ActivationRanges.from_document(document["activation_ranges"], source),
        )


def _layer(entry: Any, row: int, source: str) -> Layer:
    try:
        return Layer(**{**entry, "shape": tuple(entry["shape"]), "ties": tuple(entry.get("ties", ()))})
    except InvalidInput as error:
        raise InvalidInput(f"{source}, layers, row {row}: {error}") from error
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise InvalidInput(f"{source}, layers, row {row} has an entry that cannot be read: {error}") from error


def _files(document: dict[str, Any], source: str) -> tuple[FileFacts, ...]:
    found = entries(document, "files", source) if "files" in document else []
    return tuple(FileFacts.from_document(entry, f"{source}, files, row {row}") for row, entry in enumerate(found))


def _activations(document: dict[str, Any], source: str) -> tuple[Activation, ...]:
    found = entries(document, "activations", source) if "activations" in document else []
    return tuple(
        Activation.from_document(entry, f"{source}, activations, row {row}") for row, entry in enumerate(found)
    )
