"""Hugging Face checkpoints: a folder that ``from_pretrained`` loads, in the form of torchao or compressed-tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.files import write_text
from ...errors import InvalidInput, unknown
from ..contract import ExportMismatch
from ..readers.from_compressed_tensors import CONFIG
from .to_compressed_tensors import CompressedTensors
from .to_torchao import Torchao

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ...policy.policy import Policy
    from ..contract import Exporter, Job, Stored

_UNPACKED = (
    "the network reads the weight of a layer instead of calling it, so transformers unpacks weights when it loads "
    "them: there it multiplies float16 scales in float16, which changes weights in groups by up to 1 part in 2,000"
)
_FORMS: dict[str, Exporter] = {"compressed_tensors": CompressedTensors(), "torchao": Torchao()}


@dataclass(frozen=True)
class HuggingFace:
    """Writes what the form writes, and lets ``from_pretrained`` load it before it counts.

    Attributes
    ----------
    form
        ``"compressed_tensors"``, packed, or ``"torchao"``, a byte per weight.

    Raises
    ------
    InvalidInput
        When there is no such form.
    """

    form: str = "compressed_tensors"

    name: ClassVar[str] = "hf"
    extra: ClassVar[str | None] = "export"

    def __post_init__(self) -> None:
        """Refuse forms that do not exist."""
        if self.form not in _FORMS:
            raise unknown("form of Hugging Face checkpoints", self.form, _FORMS)

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages of the form, and transformers."""
        return (*_FORMS[self.form].packages, "transformers")

    @property
    def capability(self) -> str | None:
        """The row of capabilities of the form."""
        return _FORMS[self.form].capability

    @property
    def file(self) -> str:
        """The files of the form that hold the network."""
        return _FORMS[self.form].file

    @property
    def container(self) -> str:
        """What the form says of its container."""
        return _FORMS[self.form].container

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        """The policy's layers in a model of transformers; raises InvalidInput where it is something else."""
        if not (hasattr(model, "save_pretrained") and hasattr(model, "config")):
            raise InvalidInput(
                f"model is a {type(model).__name__}: the target 'hf' takes a model of transformers; use "
                f"{self.form!r} for other networks"
            )
        return _FORMS[self.form].prepare(policy, model, batches)

    def check(self, job: Job) -> None:
        """Refuse what the form refuses; raises InvalidInput."""
        _FORMS[self.form].check(job)

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write the checkpoint."""
        notes = _FORMS[self.form].write(job, folder)
        if self.form != "compressed_tensors" or not _reads_weights(job, folder):
            return notes
        if any(entry.activation_scheme is not None for entry in job.formats):
            raise InvalidInput(
                f"hf: {type(job.model).__name__} reads the weight of a layer that transformers keeps packed, and can "
                "only run unpacked, where inputs are not rounded: leave out formats of inputs"
            )
        kinds = sorted({entry.name for _, entry in job.chosen})
        if len(kinds) > 1:
            raise InvalidInput(
                f"hf: {type(job.model).__name__} reads the weight of a layer instead of calling it, and transformers, "
                f"which then unpacks weights when it loads them, unpacks all by one format: these are in "
                f"{', '.join(kinds)}; give all layers one format, or leave them in float"
            )
        _load_dense(folder / CONFIG)
        return (*notes, _UNPACKED)

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """Read the checkpoint, and let Hugging Face load it."""
        _, loading = type(job.model).from_pretrained(folder, output_loading_info=True, local_files_only=True)
        left = {kind: sorted(names) for kind, names in loading.items() if names}
        if left:
            raise ExportMismatch(f"hf: from_pretrained reports {left}")
        return _FORMS[self.form].read(folder, job)


def _reads_weights(job: Job, folder: Path) -> bool:
    """Whether transformers looks for the weight of a packed layer: when it loads the network, or when that runs."""
    from torch import no_grad

    from ...network.batches import as_batch, call, evaluating
    from ..sources import trial

    batch = trial(job)
    try:
        loaded = type(job.model).from_pretrained(folder, local_files_only=True)
        if batch is not None:
            with evaluating(loaded), no_grad():
                call(loaded, as_batch(batch).head(1))
    except (AttributeError, InvalidInput) as error:
        return "has no attribute 'weight'" in str(error)
    return False


def _load_dense(path: Path) -> None:
    """Let transformers unpack weights when it loads them, and not when a layer is called."""
    described = json.loads(path.read_text(encoding="utf-8"))
    described["quantization_config"]["dequantize"] = True
    write_text(path, json.dumps(described, indent=1) + "\n")
