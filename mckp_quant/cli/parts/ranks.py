"""The processes that `torchrun` starts, for commands that spread batches over them."""

from __future__ import annotations

import datetime
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...common.run_options import RANKS
from ...errors import InvalidInput
from ..console import Talk, talking

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = datetime.timedelta(hours=12)  # with ranks that live and are slower; one that has ended is noticed at once


@contextmanager
def ranks(part: str | None) -> Iterator[tuple[str | None, bool]]:
    """Join the processes of `torchrun`, where it started this one.

    Parameters
    ----------
    part
        The part that was asked for by hand.

    Yields
    ------
    part, speaks
        The part to read; and whether this process is the one that writes and prints, while the others are quiet.

    Raises
    ------
    InvalidInput
        When there are ranks, and a part by hand.
    """
    count = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    if count == 1:
        yield part, True
        return
    if part is not None:
        raise InvalidInput(
            f"--part {part} is given to {count} processes of torchrun, which share the batches: leave it out"
        )
    from torch import distributed

    distributed.init_process_group("gloo", timeout=_PATIENCE)
    first = distributed.get_rank() == 0
    try:
        if first:
            yield RANKS, True
        else:
            with talking(Talk(quiet=True)):
                yield RANKS, False
    finally:
        distributed.destroy_process_group()


def device_of_rank(name: str) -> str:
    """The device of this process: of several GPUs, and processes of `torchrun`, each has its own."""
    own = os.environ.get("LOCAL_RANK")
    return name if name != "cuda" or own is None else f"cuda:{own}"
