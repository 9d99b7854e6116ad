"""Writes plain values as TOML, which Python reads but does not write."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from ...errors import InvalidInput

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(name: str) -> str:
    """A key, in quotes where it needs them."""
    return name if _BARE.fullmatch(name) else _text(name)


def toml_value(value: Any, name: str = "a value") -> str:
    """A value on one line: text, numbers, lists, and tables inline.

    Parameters
    ----------
    value
        Plain types.
    name
        What it is, for the error.

    Returns
    -------
    text
        As TOML has it; reading it gives the same value again.

    Raises
    ------
    InvalidInput
        For None, which TOML cannot say, and for other types.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml_value(each, name) for each in value)}]"
    if isinstance(value, Mapping):
        entries = (f"{toml_key(str(key))} = {toml_value(each, str(key))}" for key, each in value.items())
        return f"{{{', '.join(entries)}}}"
    raise InvalidInput(f"{name} is {value!r}, which TOML cannot say: leave it out, or name a file that holds it")


def _text(value: str) -> str:
    # JSON escapes what TOML does, but for the last control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
