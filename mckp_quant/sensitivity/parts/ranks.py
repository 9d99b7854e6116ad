"""The processes that `torchrun` starts: which one this is, and how their parts become one table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import torch
from torch import distributed

from ...common.documents import PREFIX, plain
from ...common.run_options import Share
from ...errors import InvalidInput
from ...tables.table import KIND, VERSION, SensitivityTable
from .merging import merge


def share_of_rank() -> Share:
    """The share of this process; raises InvalidInput where `torch.distributed` is not initialised."""
    if not (distributed.is_available() and distributed.is_initialized()):
        raise InvalidInput(
            "part is 'ranks', and torch.distributed is not initialised: call torch.distributed.init_process_group "
            "first, or start the command line with torchrun"
        )
    return Share(distributed.get_rank() + 1, distributed.get_world_size())


def of_all_ranks(table: SensitivityTable) -> SensitivityTable:
    """Put the parts of all processes together, in each of them.

    Parameters
    ----------
    table
        The part of this one.

    Returns
    -------
    merged
        The same in every process.

    Raises
    ------
    InvalidInput
        When another process has ended, or the parts do not fit together.
    """
    tables = [SensitivityTable.from_document(each, f"rank {at}") for at, each in enumerate(gathered(table.document()))]
    return replace(merge(tables), formats=table.formats)  # a user's own format has a quantizer, which no document has


def gathered(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What every process gives, in all of them; as JSON, so that numbers keep their last bit and nothing is unpickled.

    Parameters
    ----------
    document
        What this one gives, in plain types and arrays.

    Returns
    -------
    documents
        By rank, with a schema as files have it.

    Raises
    ------
    InvalidInput
        When another process has ended.
    """
    device = torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
    whole = {"schema": f"{PREFIX}/{KIND}/{VERSION}", **plain(document)}
    own = torch.frombuffer(bytearray(json.dumps(whole, allow_nan=False).encode()), dtype=torch.uint8).to(device)
    size = torch.tensor([len(own)], device=device)
    sizes = [torch.zeros_like(size) for _ in range(distributed.get_world_size())]
    try:
        distributed.all_gather(sizes, size)
        most = max(int(each) for each in sizes)
        padded = [own.new_zeros(most) for _ in sizes]
        distributed.all_gather(padded, torch.cat([own, own.new_zeros(most - len(own))]))
    except RuntimeError as error:
        raise InvalidInput(
            f"rank {distributed.get_rank()} of {len(sizes)} waited for the others, and one of them has ended: "
            f"its own words say why ({str(error).splitlines()[0][:200]})"
        ) from error
    texts = [bytes(each[: int(length)].cpu().tolist()) for each, length in zip(padded, sizes, strict=True)]
    return [json.loads(text) for text in texts]
