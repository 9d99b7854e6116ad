"""MLX: the ``quantization`` of a ``config.json``, which mlx-lm's loader and a ``quant_predicate`` both take."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from ...formats.format import FLOAT, Format
from ..naming import integer_format
from .contract import BitsAs, Configuration, need_names, on_network, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .contract import Row

_BASE = {"group_size", "bits", "mode", "quant_method"}
_MODES = {"mxfp4": "mxfp4", "nvfp4": "nvfp4"}


def _write(rows: Sequence[Row]) -> dict[str, Any]:
    """False for a layer that stays float; the most frequent format also stands at the top, as the loader wants it."""
    settings = {row.layer.name: False if row.format.name == FLOAT.name else _settings(row) for row in rows}
    chosen = Counter(tuple(each.items()) for each in settings.values() if isinstance(each, dict))
    if not chosen:
        raise InvalidInput("mlx: every layer stays float, and there is nothing for it to quantise")
    return {**dict(chosen.most_common(1)[0][0]), **settings}


def _settings(row: Row) -> dict[str, Any]:
    scheme = weights(row, "mlx", symmetric=False)
    mode = row.format.name if row.format.name in _MODES else "affine"
    return {"group_size": scheme.group_size, "bits": scheme.bits, "mode": mode}


def _recognises(document: Any) -> bool:
    known = isinstance(document, dict) and {"group_size", "bits"} <= set(document)
    return known and "quant_method" not in document


def _read(document: Any, names: Sequence[str]) -> dict[str, Format]:
    own = {name: entry for name, entry in document.items() if name not in _BASE and isinstance(entry, (dict, bool))}
    if not own:
        need_names(names, "mlx", "one format counts for every layer")
    found = {
        name: FLOAT if entry is False else _format(entry if isinstance(entry, dict) else document)
        for name, entry in own.items()
    }
    # The loader quantises what has scales in the checkpoint: of a folder, only such names come here without an entry.
    return on_network({**{name: _format(document) for name in names}, **found}, names, "mlx")


def _format(settings: Any) -> Format:
    mode, size, bits = str(settings.get("mode", "affine")), int(settings["group_size"]), int(settings["bits"])
    if mode in _MODES:
        return Format.named(_MODES[mode])
    if mode == "mxfp8":
        return Format("mxfp8", 8, stored_bits=BitsAs("w8g32"))
    if mode != "affine":
        raise InvalidInput(f"mlx: the mode {mode!r} stands for no format that is known here")
    return integer_format(bits, group=size, zero_point=True)


MLX = Configuration("mlx", "mlx_quantization.json", "mlx-lm 0.32.0, mlx_lm/utils.py", "mlx", _write, _recognises, _read)
