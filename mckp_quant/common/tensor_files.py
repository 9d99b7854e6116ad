"""Reads the tensors of a safetensors file, whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .files import check_regular, readable

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from torch import Tensor


def read_safetensors(
    path: Path, what: str, safetensors: ModuleType, prefix: str = ""
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file.

    Parameters
    ----------
    path
        The file.
    what
        What it is thought to be, for errors.
    safetensors
        The package, which the caller's extra brings.
    prefix
        Only the tensors whose names begin with this are read.

    Returns
    -------
    tensors
        By name, sorted.
    metadata
        What the file says of itself.

    Raises
    ------
    InvalidInput
        When the file cannot be read.
    """
    check_regular(path, what)
    with readable(f"the {what} {str(path)!r}"):
        opened: Any = safetensors.safe_open(path, framework="pt")
        with opened as file:
            names = [name for name in sorted(file.keys()) if name.startswith(prefix)]
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
