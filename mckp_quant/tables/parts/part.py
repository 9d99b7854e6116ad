"""What a table of a part of the batches keeps, so that parts can be put together as if one process had read all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.documents import field, whole
from ...common.run_options import Share
from ...errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Part:
    """Which part a table is, and what its losses and errors were computed from.

    Attributes
    ----------
    share
        Its number, and of how many.
    batches
        How many batches all parts have together.
    data
        A digest of all of them, those of the other parts too.
    fingerprint
        Of the network, the first batch and the options, as `mckp_quant.network.fingerprint` writes it.
    sums
        What was added up over this part's batches, in plain types, as `mckp_quant.sensitivity` writes it.
    """

    share: Share
    batches: int
    data: str
    fingerprint: Mapping[str, Any]
    sums: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """The part in plain types."""
        return {
            "number": self.share.number,
            "of": self.share.of,
            "batches": self.batches,
            "data": self.data,
            "fingerprint": self.fingerprint,
            "sums": self.sums,
        }

    @classmethod
    def from_document(cls, document: Any, source: str) -> Part:
        """Read back what `document` gave; raises InvalidInput, naming `source`, where it cannot be."""
        if not isinstance(document, dict):
            raise InvalidInput(f"{source}, part is {document!r}: expected its number, fingerprint and sums")
        number, of, batches = (
            whole(field(document, name, source), name, source) for name in ("number", "of", "batches")
        )
        fingerprint, sums = (field(document, name, source) for name in ("fingerprint", "sums"))
        if not isinstance(fingerprint, dict) or not isinstance(sums, dict):
            raise InvalidInput(f"{source}, part: fingerprint and sums must be objects; write the part anew")
        return cls(Share(number, of), batches, str(field(document, "data", source)), fingerprint, sums)
