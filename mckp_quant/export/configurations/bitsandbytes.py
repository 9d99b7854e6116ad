"""bitsandbytes: one format for every linear layer that is not skipped. It is read only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...formats.format import FLOAT, Format
from .contract import Configuration, need_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...layers import Layer

_BLOCK = 64  # weights that share a scale
_SUPER = 256  # scales that share a scale of their own, where scales are quantised too


@dataclass(frozen=True)
class _Stored:
    """Four bits a weight, and a scale of 32 bits a block, or of 8 bits and its share of one of 32."""

    nested: bool

    def __call__(self, layer: Layer) -> int:
        blocks = -(-layer.elements // _BLOCK)
        scales = 8 * blocks + 32 * -(-blocks // _SUPER) if self.nested else 32 * blocks
        return 4 * layer.elements + scales


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and document.get("quant_method") == "bitsandbytes"


def _read(document: Any, names: Sequence[str]) -> dict[str, Format]:
    need_names(names, "bitsandbytes", "one format counts for every linear layer")
    if document.get("load_in_8bit"):
        entry = Format.named("w8")
    else:
        nested = bool(document.get("bnb_4bit_use_double_quant"))
        kind = str(document.get("bnb_4bit_quant_type", "fp4"))
        entry = Format(f"bnb_{kind}{'_nested' if nested else ''}", 4, stored_bits=_Stored(nested))
    # transformers leaves the head alone where nothing is said.
    skipped = document.get("llm_int8_skip_modules") or ("lm_head",)
    return {name: FLOAT if any(_is_in(name, module) for module in skipped) else entry for name in names}


def _is_in(name: str, module: str) -> bool:
    return f".{module}." in f".{name}."


BITSANDBYTES = Configuration(
    "bitsandbytes",
    "config.json",
    "transformers 5.23.0, BitsAndBytesConfig",
    None,
    None,
    _recognises,
    _read,
)
