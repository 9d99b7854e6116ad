"""Keeps on disk what was read, after every batch, so that an interrupted measurement can be taken up again."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..common.documents import field, read_document, write_document
from ..errors import InvalidInput
from .totals import Totals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..formats.format import Format
    from ..formats.ranges import ActivationRanges
    from ..network.outputs import Outputs
    from .estimator import Estimator
    from .task import Task

KIND = "measurement"
VERSION = 1


def settings_of(
    estimator: Estimator, outputs: Outputs, seed: int, formats: Sequence[Format], ranges: ActivationRanges | None
) -> str:
    """All that a measurement depends on besides the weights and the batches, as text that is the same in every process.

    Functions among the options are left out: they have no text that lasts.
    """
    options = {each.name: getattr(estimator, each.name) for each in dataclasses.fields(estimator)}  # type: ignore[arg-type]
    probes = options.pop("probes", 1)
    further = {name: option for name, option in options.items() if not callable(option)}
    names = [entry.name for entry in formats]
    # The first part is the text of version 0.1, so that its checkpoints are still taken.
    settings = repr((estimator.name, outputs.likelihood, seed, probes, outputs.class_dim, names))
    if further:
        settings += repr(further)
    return settings if ranges is None else settings + repr(ranges.document())


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds an unfinished measurement.

    Attributes
    ----------
    path
        The file; it need not exist yet.
    settings
        All that the numbers depend on besides the weights and the batches, see `settings_of`. A file with other
        settings is refused.
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
                "alone": totals.single_stderr,
                "surprises": totals.surprises,
                "unit": totals.unit,
                "generator": bytes(task.state.generator.get_state().tolist()).hex(),
                "per_batch": sorted(task.state.per_batch),
                "checked_samples": task.state.checked_samples,
            },
        )

    def load(self, task: Task) -> Totals:
        """Read the file back, if there is one, and put the draws where they were.

        Parameters
        ----------
        task
            What is being measured; its state is changed.

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
        try:
            self._fill(task, totals, document)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise InvalidInput(f"{source} has an entry that cannot be read: {error}") from error
        return totals

    def _fill(self, task: Task, totals: Totals, document: dict[str, Any]) -> None:
        totals.moments.restore({name: _tensor(rows) for name, rows in document["moments"].items()})
        totals.contributions = list(_tensor(document["contributions"]))
        totals.sizes = [float(size) for size in document["sizes"]]
        totals.samples = [int(count) for count in document["samples"]]
        totals.single_stderr = None if document["alone"] is None else _tensor(document["alone"])
        totals.surprises = [float("nan") if each is None else float(each) for each in document["surprises"]]
        totals.unit = str(document["unit"])
        state = torch.tensor(list(bytes.fromhex(document["generator"])), dtype=torch.uint8)
        task.state.generator.set_state(state)
        task.state.per_batch.update(int(row) for row in document["per_batch"])
        task.state.checked_samples = int(document["checked_samples"])

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
