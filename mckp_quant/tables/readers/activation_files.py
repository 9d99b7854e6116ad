"""Activation tensors from files."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ...errors import InvalidInput
from ...layers import Activation


def read_activations(path: str | os.PathLike[str]) -> tuple[Activation, ...]:
    """Read activation tensors from a file.

    Parameters
    ----------
    path
        JSON: a list of objects with ``elements``, ``first``, ``last`` and ``readers``.

    Returns
    -------
    tensors
        The tensors.

    Raises
    ------
    InvalidInput
        When the file cannot be read; with the place of the first entry that breaks a rule.
    """
    source = os.fspath(path)
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the activations {source!r}: {error}") from error
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{source}, row {error.lineno}, column {error.colno}: {error.msg}") from error
    if not isinstance(entries, list):
        raise InvalidInput(f"{source} must hold a list of activation tensors")
    return tuple(Activation.from_document(entry, f"{source}, row {row}") for row, entry in enumerate(entries))
