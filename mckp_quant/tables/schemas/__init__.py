"""The published JSON Schemas of the documents that are written."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from ...errors import unknown

KINDS = ("table", "policy", "problem", "request", "bank", "recipe", "provenance", "front", "report")


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of document.

    Parameters
    ----------
    kind
        ``"table"``, ``"policy"``, ``"problem"``, ``"request"``, ``"bank"``, ``"recipe"``, ``"provenance"``,
        ``"front"`` or ``"report"``.

    Returns
    -------
    schema
        The schema of the version that is written.

    Raises
    ------
    InvalidInput
        When there is no such kind.
    """
    if kind not in KINDS:
        raise unknown("kind of document", kind, KINDS)
    text = resources.files(__name__).joinpath(f"{kind}-1.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
