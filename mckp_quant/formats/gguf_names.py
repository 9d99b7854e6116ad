"""The names of tensors in GGUF files, from those of a network's parameters, as the Python package of GGUF maps them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ..common.packages import require
from ..errors import unknown

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCKS = 512  # more layers than any network has: names of blocks are listed beforehand


@functools.cache
def tensor_names(architecture: str | None) -> Callable[[str], str]:
    """How an architecture of llama.cpp names the tensors of a network.

    Parameters
    ----------
    architecture
        Such as ``"llama"``; None where tensors keep the names of parameters.

    Returns
    -------
    name_of
        From the name of a parameter, such as ``"model.layers.0.mlp.up_proj.weight"``, to ``"blk.0.ffn_up.weight"``; a
        name that is not known is given back.

    Raises
    ------
    InvalidInput
        When there is no such architecture.
    """
    if architecture is None:
        return str
    gguf = require("gguf", "gguf")
    known = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    if architecture not in known:
        raise unknown("architecture of llama.cpp", architecture, known)
    table = gguf.get_tensor_name_map(known[architecture], _BLOCKS)

    def name_of(parameter: str) -> str:
        return table.get_name(parameter, try_suffixes=(".weight", ".bias")) or parameter

    return name_of
