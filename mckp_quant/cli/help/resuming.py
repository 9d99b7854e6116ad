"""What to say after an interrupt: which commands go on where they were, and with what."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

KEEP = ("run", "round", "bench")  # what they have made lies in their folder
CHECKPOINT = "--checkpoint"
WITH_CHECKPOINT = ("measure", "refine", "search")


def after_interrupt(arguments: Sequence[str]) -> str:
    """The line for an interrupted command.

    Parameters
    ----------
    arguments
        The command line, without the program's name.

    Returns
    -------
    line
        Says whether the same command goes on, and which option it takes where it does not.
    """
    command = arguments[0] if arguments else ""
    kept = any(each == CHECKPOINT or each.startswith(f"{CHECKPOINT}=") for each in arguments)
    forced = "--force" in arguments
    if (command in KEEP and not forced) or (command in WITH_CHECKPOINT and kept):
        again = shlex.join(["mckp-quant", *arguments])
        return f"interrupted: what is done is kept, go on with the same command: {again}"
    if command in KEEP:
        return "interrupted: what is done is kept, go on with the same command without --force"
    if command in WITH_CHECKPOINT:
        return f"interrupted: nothing is kept; with {CHECKPOINT} FILE the same command goes on where it was"
    return "interrupted"
