"""The size of what was written: by file, beside the budget, and where its bytes are."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ...costs.costs import FILE_BYTES
from ..contract import ExportMismatch
from ..records import FileSize

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ...policy.policy import Policy
    from ..contract import Exporter
    from ..records import LayerRecord


class FileTooLarge(ExportMismatch):
    """The file is larger than the budget ``file_bytes``. The message says by how much, and where its bytes are."""


def size_of(exporter: Exporter, folder: Path, layers: Sequence[LayerRecord], policy: Policy) -> FileSize | None:
    """Weigh the files that hold the network.

    Parameters
    ----------
    exporter
        What wrote them.
    folder
        Where they are.
    layers
        What was read back of the layers.
    policy
        The policy, with its budgets.

    Returns
    -------
    size
        None where the target writes no file that holds the network.

    Raises
    ------
    FileTooLarge
        When the policy has a budget ``file_bytes``, and the files are larger.
    """
    paths = sorted(folder.glob(exporter.file)) if exporter.file else []
    if not paths:
        return None
    nbytes = sum(path.stat().st_size for path in paths)
    weights = sum(each.stored_bytes for each in layers)
    headers = sum(map(_header, paths))
    rest = nbytes - weights - headers
    parts = [("weights of the policy", weights)]
    if headers:
        parts += [("other tensors", rest), ("names, shapes and metadata", headers)]
    else:
        parts += [("other tensors, names and metadata", rest)]
    limits = [each.limit for each in policy.budgets if each.name == FILE_BYTES and not each.least]
    size = FileSize(
        tuple(path.name for path in paths),
        nbytes,
        tuple(parts),
        min(limits, default=None),
        policy.costs.get(FILE_BYTES),
    )
    if size.budget is not None and nbytes > size.budget:
        where = ", ".join(f"{name} {count:,}" for name, count in parts)
        raise FileTooLarge(
            f"{exporter.name}: the file takes {nbytes:,} bytes, {nbytes - size.budget:,} more than the budget "
            f"{FILE_BYTES} = {size.budget:,}: {where}; nothing was written. Allocate for this target, so that its own "
            "container counts, or with a smaller budget"
        )
    return size


def _header(path: Path) -> int:
    """Bytes of the header of a safetensors file; 0 for other files."""
    if path.suffix != ".safetensors":
        return 0
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    return 8 + int(length)
