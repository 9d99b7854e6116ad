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
        if self.form == "compressed_tensors" and all(entry.activation_scheme is None for entry in job.formats):
            _load_dense(folder / CONFIG)
        return notes

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """Read the checkpoint, and let Hugging Face load it."""
        _, loading = type(job.model).from_pretrained(folder, output_loading_info=True, local_files_only=True)
        left = {kind: sorted(names) for kind, names in loading.items() if names}
        if left:
            raise ExportMismatch(f"hf: from_pretrained reports {left}")
        return _FORMS[self.form].read(folder, job)


def _load_dense(path: Path) -> None:
    """Let transformers unpack weights when it loads them, and not when a layer is called.

    Some networks read the weight of a layer instead of calling it, and find none while it is packed. Rounded inputs
    are only rounded in layers that stay packed.
    """
    described = json.loads(path.read_text(encoding="utf-8"))
    described["quantization_config"]["dequantize"] = True
    write_text(path, json.dumps(described, indent=1) + "\n")
