"""NNCF: a call of ``compress_weights`` for each format, with everything else in its ignored scope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from ...formats.format import FLOAT, Format
from ..naming import integer_format
from .contract import Configuration, on_network, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .contract import Row

_NODE = "__module.{}/aten::linear/MatMul"  # what OpenVINO calls a linear layer that it converts from PyTorch
_WHOLE = 8  # bits for which compress_weights takes neither groups nor a share of layers


def _write(rows: Sequence[Row]) -> dict[str, Any]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.format.name != FLOAT.name:
            groups.setdefault(row.format.name, []).append(row)
    return {
        "compress_weights": [_call(group, rows) for group in groups.values()],
        "layers": [r.layer.name for r in rows],
    }


def _call(group: Sequence[Row], rows: Sequence[Row]) -> dict[str, Any]:
    scheme = weights(group[0], "nncf")
    taken = {row.layer.name for row in group}
    others = [_NODE.format(row.layer.name) for row in rows if row.layer.name not in taken]
    settings: dict[str, Any] = {"mode": f"INT{scheme.bits}_{'SYM' if scheme.symmetric else 'ASYM'}"}
    if scheme.bits != _WHOLE:
        settings |= {"group_size": scheme.group_size or -1, "ratio": 1.0, "all_layers": True}
    return {**settings, "ignored_scope": {"names": others}}


def _recognises(document: Any) -> bool:
    return isinstance(document, dict) and {"compress_weights", "layers"} <= set(document)


def _read(document: Any, names: Sequence[str]) -> dict[str, Format]:
    """A layer has the format of the call that does not ignore it."""
    layers = [str(name) for name in document["layers"]]
    nodes = {_NODE.format(name): name for name in layers}
    found = dict.fromkeys(layers, FLOAT)
    for call in document["compress_weights"]:
        ignored = set(call["ignored_scope"]["names"])
        strange = sorted(ignored - set(nodes))
        if strange:
            raise InvalidInput(f"nncf: the ignored node {strange[0]!r} belongs to none of the layers of the file")
        for node, name in nodes.items():
            if node not in ignored:
                found[name] = _format(call)
    return on_network(found, names, "nncf")


def _format(call: Any) -> Format:
    kind, _, symmetry = str(call["mode"]).partition("_")
    if not kind.startswith("INT") or symmetry not in ("SYM", "ASYM"):
        raise InvalidInput(f"nncf: the mode {call['mode']!r} stands for no built-in format")
    size = int(call.get("group_size", -1))
    bits = int(kind.removeprefix("INT"))
    return integer_format(bits, group=None if size == -1 else size, zero_point=symmetry == "ASYM")


NNCF = Configuration(
    "openvino",
    "nncf_calls.json",
    "NNCF 3.4.0, nncf.compress_weights, and node names of OpenVINO 2026.4.1",
    "openvino",
    _write,
    _recognises,
    _read,
)
