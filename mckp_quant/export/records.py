"""What an export reports: for each layer what was asked, what the artefact says, and the bytes of both."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

KIND = "export"
REPORT = "export.json"
VERSION = 1


@dataclass(frozen=True)
class LayerRecord:
    """One layer of an artefact.

    Attributes
    ----------
    layer
        The layer's name in the policy.
    place
        Its name in the artefact.
    asked
        The name of the format that the policy gives it.
    found
        The name of the format that the artefact says it has; equal to `asked`, or the export fails.
    asked_bytes
        Bytes that the format takes, scales counted, as in the policy's ``weight_bytes``.
    stored_bytes
        Bytes that the layer takes in the artefact.
    """

    layer: str
    place: str
    asked: str
    found: str
    asked_bytes: int
    stored_bytes: int


@dataclass(frozen=True)
class FileSize:
    """How large the files are that hold the network.

    Attributes
    ----------
    files
        Their names.
    nbytes
        Their size on disk.
    parts
        Where the bytes are: what they are for, and how many.
    budget
        The budget ``file_bytes`` of the policy; None where it has none.
    predicted
        What the policy says that the file takes at most; None where it does not.
    """

    files: tuple[str, ...]
    nbytes: int
    parts: tuple[tuple[str, int], ...]
    budget: int | None = None
    predicted: int | None = None


@dataclass(frozen=True)
class ExportReport:
    """What was written, after it was read back and compared.

    Attributes
    ----------
    target
        The exporter's name.
    output
        The folder that holds the artefact.
    files
        The names of its files.
    layers
        One record per layer of the policy.
    container
        Why a layer may take more or less in the artefact than its format does.
    versions
        The packages that wrote and read the artefact, with their versions.
    notes
        Sentences about what the artefact does not hold or the target does otherwise.
    rounder
        What the weights were rounded by, with its options; empty where the artefact holds no codes.
    bank
        The digest of the bank that the codes come from; empty for weights rounded to nearest without one.
    size
        How large the files are that hold the network; None where the target only describes it.
    """

    target: str
    output: Path
    files: tuple[str, ...]
    layers: tuple[LayerRecord, ...]
    container: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    rounder: str = ""
    bank: str = ""
    size: FileSize | None = None

    @property
    def file_bytes(self) -> int:
        """Bytes on disk of the files that hold the network; 0 where the target only describes it."""
        return 0 if self.size is None else self.size.nbytes

    @property
    def asked_bytes(self) -> int:
        """Bytes of the weights in the policy's formats; a policy made for a target may count what the target stores."""
        return sum(each.asked_bytes for each in self.layers)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the same weights in the artefact."""
        return sum(each.stored_bytes for each in self.layers)

    @property
    def overhead_bytes(self) -> int:
        """By how much the artefact's weights are larger than the policy's; negative where they are smaller."""
        return self.stored_bytes - self.asked_bytes

    def document(self) -> dict[str, Any]:
        """The report in plain types, for JSON."""
        return {
            "target": self.target,
            "files": list(self.files),
            "asked_bytes": self.asked_bytes,
            "stored_bytes": self.stored_bytes,
            "overhead_bytes": self.overhead_bytes,
            "size": None if self.size is None else {**asdict(self.size), "parts": dict(self.size.parts)},
            "container": self.container,
            "versions": dict(self.versions),
            "notes": list(self.notes),
            "rounder": self.rounder,
            "bank": self.bank,
            "layers": [
                {
                    "layer": each.layer,
                    "place": each.place,
                    "asked": each.asked,
                    "found": each.found,
                    "asked_bytes": each.asked_bytes,
                    "stored_bytes": each.stored_bytes,
                }
                for each in self.layers
            ],
        }
