"""Keeps what was read on disk after every batch, so that an interrupted measurement can be taken up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..common.documents import field, read_document, write_document
from ..common.files import readable
from ..errors import InvalidInput
from .totals import Totals

if TYPE_CHECKING:
    from pathlib import Path

    from .task import Task

KIND = "measurement"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds an unfinished measurement.

    Attributes
    ----------
    path
        The file; it need not exist yet.
    settings
        All that the numbers depend on besides the weights and the batches: what differs must not be mixed.
    """

    path: Path
    settings: str

    def save(self, task: Task, totals: Totals) -> None:
        """Write what was read and the state of the draws, whole or not at all. Numbers survive to the last bit."""
        write_document(
            self.path,
            KIND,
            VERSION,
            {
                "fingerprint": self._fingerprint(task),
                "moments": totals.moments.state(),
                "contributions": torch.stack(totals.contributions),
                "sizes": totals.sizes,
                "samples": totals.samples,
                "alone": totals.alone,
                "surprises": totals.surprises,
                "unit": totals.unit,
                "generator": bytes(task.memory.generator.get_state().tolist()).hex(),
                "per_batch": sorted(task.memory.per_batch),
                "checked_samples": task.memory.checked_samples,
            },
        )

    def load(self, task: Task) -> Totals:
        """Read the file back, if there is one, and put the draws where they were.

        Parameters
        ----------
        task
            What is being measured; its memory is changed.

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
        if field(document, "fingerprint", source) != self._fingerprint(task):
            raise InvalidInput(
                f"{source} is of another measurement: its weights, layers, formats or settings differ; delete it, or "
                "name another file"
            )
        with readable(source):
            self._fill(task, totals, document)
        return totals

    def _fill(self, task: Task, totals: Totals, document: dict[str, Any]) -> None:
        totals.moments.restore({name: _tensor(rows) for name, rows in document["moments"].items()})
        totals.contributions = list(_tensor(document["contributions"]))
        totals.sizes = [float(size) for size in document["sizes"]]
        totals.samples = [int(count) for count in document["samples"]]
        totals.alone = None if document["alone"] is None else _tensor(document["alone"])
        totals.surprises = [float("nan") if each is None else float(each) for each in document["surprises"]]
        totals.unit = str(document["unit"])
        state = torch.tensor(list(bytes.fromhex(document["generator"])), dtype=torch.uint8)
        task.memory.generator.set_state(state)
        task.memory.per_batch.update(int(row) for row in document["per_batch"])
        task.memory.checked_samples = int(document["checked_samples"])

    def _fingerprint(self, task: Task) -> str:
        content = hashlib.sha256(self.settings.encode())
        for weight in task.weights:
            content.update(weight.digest)
        return content.hexdigest()


def _tensor(rows: Any) -> torch.Tensor:
    """Float64 from lists in which nan is None."""
    if isinstance(rows, list):
        return torch.stack([_tensor(row) for row in rows]) if rows else torch.zeros(0, dtype=torch.float64)
    return torch.tensor(float("nan") if rows is None else float(rows), dtype=torch.float64)
