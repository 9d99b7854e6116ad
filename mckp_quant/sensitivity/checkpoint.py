"""Keeps on disk what was read, after every batch, so that an interrupted measurement can be taken up again."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..common.documents import check_seal, field, read_document, sealed, write_document
from ..common.files import readable
from ..errors import InvalidInput
from ..network.fingerprint import Fingerprint, batch_digest
from .totals import Totals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..formats.format import Format
    from ..formats.ranges import ActivationRanges
    from ..network.batch import Batch
    from ..network.outputs import Outputs
    from ..rounding.bank import WeightBank
    from .estimator import Estimator
    from .reach import Reach
    from .task import Task

KIND = "measurement"
VERSION = 3


def options_of(
    estimator: Estimator,
    outputs: Outputs,
    seed: int,
    formats: Sequence[Format],
    ranges: ActivationRanges | None,
    bank: WeightBank | None = None,
) -> dict[str, str]:
    """All that a measurement depends on besides the network and the batches, as text that is the same in any process.

    A function among the options is known by its name: it has no text that lasts.
    """
    own = {each.name: getattr(estimator, each.name) for each in dataclasses.fields(estimator)}  # type: ignore[arg-type]
    return {
        "version": __version__,
        "method": estimator.name,
        "seed": repr(seed),
        "formats": ", ".join(entry.name for entry in formats),
        "likelihood": outputs.distribution.name,
        "class_dim": repr([each.class_dim for each in outputs.heads] if outputs.heads else outputs.class_dim),
        **{
            name: getattr(each, "__qualname__", "a function") if callable(each) else repr(each)
            for name, each in own.items()
        },
        "activation ranges": "None" if ranges is None else repr(ranges.document()),
        **({} if bank is None else {"bank": f"{bank.digest} ({bank.rounder})"}),
    }


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds an unfinished measurement.

    Attributes
    ----------
    path
        The file; it need not exist yet.
    fingerprint
        What it belongs to besides its batches. A file that belongs to something else is refused.
    batches
        Digests of the batches that were read, in order; they grow as the measurement goes on.
    """

    path: Path
    fingerprint: Fingerprint
    batches: list[str] = dataclasses.field(default_factory=list)

    def check_batch(self, position: int, batch: Batch) -> None:
        """Refuse a batch that is not the one that was read at this position; raises InvalidInput."""
        if batch_digest(batch) != self.batches[position]:
            raise InvalidInput(
                f"the checkpoint {str(self.path)!r} is of other calibration data: batch {position} differs; resume "
                "with the same batches in the same order, delete it, or name another file"
            )

    def check_count(self, batches: int) -> None:
        """Refuse fewer batches than were read, whose sums cannot be taken apart; raises InvalidInput."""
        if batches < len(self.batches):
            raise InvalidInput(
                f"the checkpoint {str(self.path)!r} holds {len(self.batches)} batches, and only {batches} are asked "
                "for: give at least as many, delete it, or name another file"
            )

    def save(self, task: Task, totals: Totals, reach: Reach) -> None:
        """Write what was read, whole or not at all. Numbers survive to the last bit."""
        write_document(
            self.path,
            KIND,
            VERSION,
            sealed(
                {
                    "fingerprint": self.fingerprint.document(),
                    "layers": self._layers(task),
                    "batches": self.batches,
                    **totals.state(),
                    "per_batch": sorted(task.state.per_batch),
                    "checked_samples": task.state.checked_samples,
                    "reach": reach.document(),
                }
            ),
        )

    def load(self, task: Task, reach: Reach) -> Totals:
        """Read the file back, if there is one.

        Parameters
        ----------
        task
            What is being measured; its state is changed.
        reach
            What reached which layer; it is filled.

        Returns
        -------
        totals
            What had been read; nothing where there is no file.

        Raises
        ------
        InvalidInput
            When the file is damaged, or of another measurement.
        """
        totals = Totals(task.shape)
        if not self.path.exists():
            return totals
        source = f"the checkpoint {str(self.path)!r}"
        document = read_document(self.path, KIND, VERSION)
        known = field(document, "fingerprint", source)
        if not isinstance(known, dict):
            raise InvalidInput(
                f"{source} was written by version 0.1, which did not note the network and the data that it belongs to: "
                "measure anew, with another file or without this one"
            )
        with readable(source):
            if "high" not in document["moments"]:
                raise InvalidInput(
                    f"{source} was written by an earlier version, which drew its probes otherwise: measure anew, with "
                    "another file or without this one"
                )
            differs = self.fingerprint.difference(known)
            if not differs:
                check_seal(document, source)
            if not differs and document["layers"] != self._layers(task):
                differs = "the layers, or how they are rounded, differ"
            self.batches[:] = [str(each) for each in document["batches"]]
            if not differs:
                self._fill(task, totals, document)
                reach.restore(document["reach"])
        if differs:
            raise InvalidInput(f"{source} is of another measurement: {differs}; delete it, or name another file")
        return totals

    def _fill(self, task: Task, totals: Totals, document: dict[str, Any]) -> None:
        totals.restore(document)
        task.state.per_batch.update(int(row) for row in document["per_batch"])
        task.state.checked_samples = int(document["checked_samples"])

    def _layers(self, task: Task) -> str:
        content = hashlib.sha256()
        for weight in task.weights:
            content.update(weight.digest)
        return content.hexdigest()
