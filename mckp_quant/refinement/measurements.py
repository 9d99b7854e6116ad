"""Runs a network under many policies, remembers what was measured, and counts what it cost."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.documents import check_seal, read_document, sealed, write_document
from ..common.files import readable
from ..errors import InvalidInput
from ..policy.policy import Policy
from .expansion import EXPANSION_PASSES

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from ..allocation.allocating import Allocation
    from ..evaluation.evaluator import Evaluator
    from ..tables.table import SensitivityTable
    from .expansion import Expander
    from .racing import Scores

logger = logging.getLogger(__name__)

KIND = "refinement"
VERSION = 3
_MODELS = 16  # quantised copies of the network that are kept
_WORTH_WRITING = 0.1  # of all measurements, that have to be new


class Measurements:
    """Measures selections of a problem on a list of batches, each selection and batch once.

    Parameters
    ----------
    evaluator
        The evaluator, with all batches.
    table, allocation
        Of which the selections are.
    search
        How many of the batches are for the search.
    checkpoint
        A file to remember measurements in, or None.
    settings
        What a checkpoint must have been written with.

    Attributes
    ----------
    spent
        Passes over the batches of the search so far, in parts where only some were read, and `EXPANSION_PASSES` for
        each expansion.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        table: SensitivityTable,
        allocation: Allocation,
        search: int,
        checkpoint: str | os.PathLike[str] | None,
        settings: str,
    ) -> None:
        self.spent = 0.0
        self.search = search
        self._evaluator = evaluator
        self._table = table
        self._allocation = allocation
        self._order: list[int] = list(range(len(evaluator.sizes)))
        self._known: dict[bytes, dict[int, Scores]] = {}
        self._models: dict[bytes, nn.Module] = {}
        self._path = None if checkpoint is None else Path(checkpoint)
        self._settings = f"{VERSION} {settings}"
        self._held = 0  # measurements, each of one selection on one batch
        self._fresh = 0  # of these, not yet in the file
        self._expander: Expander | None = None
        self._changes: dict[tuple[bytes, int], NDArray[np.float64]] = {}
        if self._path is not None and self._path.exists():
            self._load(self._path)

    def turn(self, order: NDArray[np.int64], expander: Expander | None) -> None:
        """Go on with other batches held back.

        Parameters
        ----------
        order
            Positions of the batches to search on, in the order of measuring; then those to confirm on.
        expander
            What expands the loss around a selection on those to search on, or None where that is not to be done.
        """
        self._order = order.tolist()
        self._expander = expander

    @property
    def sizes(self) -> list[int]:
        """Samples in each batch of the search, in the order of measuring."""
        return [self._evaluator.sizes[at] for at in self._order[: self.search]]

    @property
    def confirming(self) -> float:
        """What measuring one selection on the batches for confirmation costs, in passes over those of the search."""
        own = sum(self.sizes)
        return (sum(self._evaluator.sizes) - own) / own

    def measure(self, choice: NDArray[np.int64], position: int) -> Scores:
        """Measure a selection on the batch at a position of the order."""
        batch = self._order[position]
        self.spent += self._evaluator.sizes[batch] / sum(self.sizes)
        known = self._known.setdefault(choice.tobytes(), {})
        if batch not in known:
            totals, counts = self._evaluator.on_batches(self._model(choice), [batch])[0]
            known[batch] = totals[0], counts[0]
            self._held += 1
            self._fresh += 1
        return known[batch]

    def expand(
        self, choice: NDArray[np.int64], importance: Sequence[NDArray[np.float64]]
    ) -> NDArray[np.float64] | None:
        """What every choice would change around a selection, see `Expansion`; None where it cannot be known."""
        if self._expander is None:
            return None
        key = choice.tobytes(), self._order[-1]  # the last batch tells which ones are held back
        if key not in self._changes:
            try:
                expansion = self._expander.around(choice, self._model(choice), importance)
            except InvalidInput as error:
                logger.warning(
                    "the search goes by the table only, because the network cannot be differentiated: %s", error
                )
                self._expander = None
                return None
            self._changes[key] = expansion.change()
            self._held += self.search
            self._fresh += self.search
        self.spent += EXPANSION_PASSES
        return self._changes[key]

    def on_search(self, choice: NDArray[np.int64]) -> list[Scores]:
        """Measure a selection on all batches of the search."""
        return [self.measure(choice, position) for position in range(self.search)]

    def known(self, choice: NDArray[np.int64], batches: int) -> list[Scores]:
        """What is known of a selection that was measured on the first so many batches; it costs nothing."""
        scores = self._known[choice.tobytes()]
        return [scores[batch] for batch in self._order[:batches]]

    def on_rest(self, choice: NDArray[np.int64]) -> list[Scores]:
        """Measure a selection on the batches that the search does not see."""
        return [self.measure(choice, position) for position in range(self.search, len(self._order))]

    def policy(self, choice: NDArray[np.int64]) -> Policy:
        """The formats of a selection."""
        problem, index = self._allocation.problem, self._allocation.index
        return Policy.on_table(self._table, index.policy_formats(problem.label[choice]))

    def save(self, *, all_of_it: bool = False) -> None:
        """Write the checkpoint, where there is one and a tenth of it would be new; or whatever is new."""
        if self._path is None or self._fresh <= (0 if all_of_it else _WORTH_WRITING * self._held):
            return
        counts: dict[int, Any] = {}
        measured = []
        for key, known in self._known.items():
            counts |= {batch: own for batch, (_, own) in known.items()}
            choice = np.frombuffer(key, dtype=np.int64)
            measured.append({"choice": choice, "kl": {batch: totals for batch, (totals, _) in known.items()}})
        changes = [
            {"choice": np.frombuffer(key, dtype=np.int64), "last_batch": last, "change": change}
            for (key, last), change in self._changes.items()
        ]
        document = {"settings": self._settings, "counts": counts, "measured": measured, "expanded": changes}
        write_document(self._path, KIND, VERSION, sealed(document))
        self._fresh = 0

    def _model(self, choice: NDArray[np.int64]) -> nn.Module:
        key = choice.tobytes()
        if key not in self._models:
            if len(self._models) >= _MODELS:
                del self._models[next(iter(self._models))]
            self._models[key] = self._evaluator.simulator.apply(self.policy(choice))
        return self._models[key]

    def _load(self, path: Path) -> None:
        document = read_document(path, KIND, VERSION)
        if document.get("settings") != self._settings:
            raise InvalidInput(
                f"the checkpoint {str(path)!r} was written with other arguments, another table or other batches: "
                "resume with the same ones, or remove it"
            )
        check_seal(document, f"the checkpoint {str(path)!r}")
        with readable(f"the checkpoint {str(path)!r}"):
            counts = {int(batch): np.array(own, dtype=np.float64) for batch, own in document["counts"].items()}
            for entry in document["measured"]:
                key = np.array(entry["choice"], dtype=np.int64).tobytes()
                self._known[key] = {
                    int(batch): (_finite_or_inf(totals), counts[int(batch)]) for batch, totals in entry["kl"].items()
                }
            for entry in document["expanded"]:
                key = np.array(entry["choice"], dtype=np.int64).tobytes()
                self._changes[key, int(entry["last_batch"])] = np.array(entry["change"], dtype=np.float64)
            self._held = sum(map(len, self._known.values())) + self.search * len(self._changes)


def _finite_or_inf(totals: Iterable[float | None]) -> NDArray[np.float64]:
    """What was written as null was infinite: a network that overflowed."""
    return np.array([math.inf if each is None else each for each in totals], dtype=np.float64)
