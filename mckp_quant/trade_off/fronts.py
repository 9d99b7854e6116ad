"""The trade-off of predicted loss against one budget, as plain data, JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common.display import Face, Mark, counted, draw_staircase, number
from ..common.documents import plain, write_document
from ..common.files import write_text
from ..costs.costs import RESOURCES, VARIANTS, as_budget

if TYPE_CHECKING:
    import os

    from ..allocation.request import Request
    from ..common.amounts import Amount
    from ..costs.costs import Budget
    from ..tables.table import SensitivityTable
    from .point import Point

KIND = "front"
VERSION = 1
_FIGURES = ("used", "predicted", "stderr", "gap")


@dataclass(frozen=True, eq=False)
class Front:
    """What every amount of one budget buys: policies that nothing as cheap is better than.

    Attributes
    ----------
    points
        By rising use of the budget and falling predicted loss. The first uses the least that the rest of the request
        allows, the last loses the least, whatever it uses.
    uniforms
        One format for all layers that may have it, the others as the request has them; by rising use.
    chosen
        What `allocate` chooses for the request itself; None where the request limits nothing.
    budget
        The budget that the trade-off is against, lifted; it says how amounts are written.
    limit
        What the request allows of that budget, in what it counts; None where it does not limit it.
    error
        How far the predicted loss of a point may lie above the best possible at its use, relative to how far that one
        lies above the loss of the best formats without any budget; 0.0 where all points are proved to be best.
    complete
        Whether there is no other policy between two neighbours; False where there are more than were asked for.
    table, request
        What it was made from.
    """

    points: tuple[Point, ...]
    uniforms: tuple[Point, ...]
    chosen: Point | None
    budget: Budget
    limit: int | None
    error: float
    complete: bool
    table: SensitivityTable = dataclasses.field(repr=False)
    request: Request = dataclasses.field(repr=False)

    def __len__(self) -> int:
        """How many points the front has."""
        return len(self.points)

    def __repr__(self) -> str:
        """How many points there are, and between what they lie."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook, drawn."""
        marks = [] if self.chosen is None else [self._mark(self.chosen, "own")]
        marks += [self._mark(each, "uniform") for each in self.uniforms]
        points = [(each.used, each.predicted) for each in self.points]
        about = f"A falling line of {counted(len(self), 'policy', 'policies')}, and {len(marks)} others beside it."
        title = f"Predicted loss against {self.counts}"
        return self._face().html(
            draw_staircase(points, marks, (self.counts, f"predicted loss ({self.unit})"), (title, about), 640, "front")
        )

    def _mark(self, point: Point, kind: str) -> Mark:
        words = f"{point.name}: {self.amount(point.used)}, predicted {number(point.predicted, 4)}"
        return Mark(point.used, point.predicted, kind, words, point.name)

    def _face(self) -> Face:
        first, last = self.points[0], self.points[-1]
        facts = [
            (self.along, f"{self.amount(first.used)} to {self.amount(last.used)}"),
            ("predicted", f"{number(first.predicted, 4)} to {number(last.predicted, 4)} {self.unit}"),
        ]
        facts += [("limit", self.amount(self.limit))] if self.limit is not None else []
        if self.chosen is not None:
            words = f"{self.amount(self.chosen.used)}, predicted {number(self.chosen.predicted, 4)}"
            facts.append(("chosen", words))
        known = "proved best" if self.error == 0 else f"within {number(self.error, 3)} of the best"
        rest = "" if self.complete else "; there are more between them"
        return Face(f"Front: {counted(len(self), 'policy', 'policies')}, {known}{rest}", tuple(facts))

    @property
    def along(self) -> str:
        """The name of the budget."""
        return self.budget.name

    @property
    def counts(self) -> str:
        """What `Point.used` counts, such as ``"weight_bytes"`` or, for an average, ``"stored_bits"``."""
        kind = (RESOURCES | VARIANTS).get(self.along)
        return self.along if kind is None else kind.counts

    @property
    def unit(self) -> str:
        """The unit of the predicted loss."""
        return self.table.unit

    def amount(self, used: int) -> str:
        """An amount of the budget with its unit, as people read it; averages are rounded up."""
        return self.budget.in_units(used, up=True)

    def counted(self, amount: Amount) -> int:
        """An amount of the budget as a person writes it, in what `Point.used` counts, rounded down.

        Parameters
        ----------
        amount
            A number, or text such as ``"90kB"`` or ``"25%"``.

        Returns
        -------
        counted
            The whole number.

        Raises
        ------
        InvalidInput
            When the amount cannot be read.
        """
        return as_budget(self.along, amount, self.table, self.request.costs, target=self.request.target).limit

    def document(self) -> dict[str, Any]:
        """The front in plain types, as `save` writes it; nan is None."""
        document: dict[str, Any] = plain(
            {
                "along": self.along,
                "counts": self.counts,
                "limit": self.limit,
                "unit": self.unit,
                "rounder": self.table.rounder,
                "table": self.table.digest,
                "error": self.error,
                "complete": self.complete,
                "request": self.request.document(),
                "layers": self.table.layer_names,
                "points": [each.document() for each in self.points],
                "uniforms": [each.document() for each in self.uniforms],
                "chosen": None if self.chosen is None else self.chosen.document(),
            }
        )
        return document

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the front as one JSON document, whole or not at all."""
        write_document(path, KIND, VERSION, self.document())

    def as_csv(self) -> str:
        """One row for each point, uniform policy and the chosen one, with the format of every layer.

        Returns
        -------
        text
            The columns are ``name``, what the budget counts, ``predicted``, ``stderr``, ``gap`` and the layers.
        """
        file = io.StringIO()
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["name", self.counts, *_FIGURES[1:], *self.table.layer_names])
        for each in (*self.points, *self.uniforms, *([] if self.chosen is None else [self.chosen])):
            figures = [getattr(each, name) for name in _FIGURES]
            cells = ["" if math.isnan(figure) else figure for figure in figures]
            rows.writerow([each.name or "front", *cells, *(entry.name for entry in each.formats)])
        return file.getvalue()

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write what `as_csv` gives, whole or not at all."""
        write_text(path, self.as_csv())
