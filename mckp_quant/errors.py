"""What the user gave and cannot be used. Errors of the solvers are in `mckp_quant.solvers`, and are of this kind."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from .solvers import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["InvalidInput", "unknown"]


def unknown(kind: str, name: object, known: Iterable[str]) -> InvalidInput:
    """The error for a name that does not exist: it suggests the nearest one that does.

    Parameters
    ----------
    kind
        What the name stands for, such as ``"format"`` or ``"layer"``.
    name
        What the user wrote.
    known
        The names there are.

    Returns
    -------
    error
        The error, to be raised by the caller.
    """
    names = list(known)
    # First as it stands, since names may differ by their case alone; then without it, for "vLLM".
    plain = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    near = near or [plain[each] for each in difflib.get_close_matches(str(name).casefold(), plain, n=1, cutoff=0.4)]
    hint = f"did you mean {near[0]!r}? " if near else ""
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return InvalidInput(f"unknown {kind} {name!r}: {hint}known are: {shown}")
