"""llama.cpp: lines ``pattern=type``, as ``llama-quantize --tensor-type-file`` takes them; `Gguf` writes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...formats.blocks import GGUF_BLOCKS
from ..readers.from_gguf import block_format, types_of
from .contract import Configuration, literal_of, need_names, on_network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...formats.format import Format

_LINE = re.compile(r"(?P<pattern>\S+)=(?P<type>[A-Za-z0-9_]+)")
_WEIGHT = ".weight"


def _recognises(document: Any) -> bool:
    lines = document if isinstance(document, list) else []
    matches = [_LINE.fullmatch(line) if isinstance(line, str) else None for line in lines]
    return bool(matches) and all(match is not None and match["type"].upper() in GGUF_BLOCKS for match in matches)


def _read(document: Any, names: Sequence[str]) -> dict[str, Format]:
    """The first pattern that is found anywhere in a name counts, in small letters, as llama-quantize searches."""
    rules = [(match["pattern"].lower(), match["type"].upper()) for match in map(_LINE.fullmatch, document) if match]
    literal = {pattern: literal_of(pattern) for pattern, _ in rules}
    loose = [pattern for pattern, name in literal.items() if name is None]
    if loose:
        need_names(names, "llama.cpp", f"the pattern {loose[0]!r} may be in many names")
    named = [name for name in literal.values() if name is not None]
    tensors = {name: name if name.endswith(_WEIGHT) else name + _WEIGHT for name in names} or {
        name.removesuffix(_WEIGHT): name for name in named
    }
    known = {tensor.lower() for tensor in tensors.values()}
    strange = [name for name in named if name not in known]
    types = types_of(rules, tensors.values())
    found = {name: block_format(kind) for name, tensor in tensors.items() if (kind := types[tensor]) is not None}
    return on_network({**found, **{name: block_format("F32") for name in strange}}, names, "llama.cpp")


TENSOR_TYPES = Configuration(
    "llama.cpp",
    "tensor_types.txt",
    "llama.cpp's llama-quantize, ggml 0.25.3",
    None,
    None,
    _recognises,
    _read,
)
