"""Activation tensors from files."""

from __future__ import annotations

import os

from ...common.files import read_json, readable
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
    entries = read_json(path, "activations")
    if not isinstance(entries, list):
        raise InvalidInput(f"{source} must hold a list of activation tensors")
    with readable(source):
        return tuple(Activation.from_document(entry, f"{source}, row {row}") for row, entry in enumerate(entries))
