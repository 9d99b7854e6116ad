"""Costs that are remembered are those that are counted, and a user's own format is asked for every layer."""

from __future__ import annotations

from mckp_quant import Format, Layer
from mckp_quant.costs.costs import bops, weight_bytes
from mckp_quant.costs.remembering import remembered

FORMATS = [Format.named(name) for name in ("w2", "w4g16", "w8a8", "float")]
LAYERS = [
    Layer(f"{kind}{rows}{macs}", kind, (rows, 32), channels, macs)
    for kind in ("linear", "embedding")
    for rows in (4, 8)
    for channels in (rows, 2)
    for macs in (0, 7)
]


def test_remembered_costs_are_the_same_and_counted_once() -> None:
    asked = []

    def counted(layer: Layer, entry: Format) -> int:
        asked.append((layer, entry))
        return weight_bytes(layer, entry)

    for cost in (bops, weight_bytes):
        fast = remembered(cost)
        for _ in range(2):
            assert [fast(each, entry) for each in LAYERS for entry in FORMATS] == [
                cost(each, entry) for each in LAYERS for entry in FORMATS
            ]
    fast = remembered(counted)
    twin = Layer("another", *(getattr(LAYERS[0], name) for name in ("kind", "shape", "channels", "macs")))
    assert fast(LAYERS[0], FORMATS[0]) == fast(twin, FORMATS[0])
    assert len(asked) == 1


def test_a_format_of_the_user_may_look_at_the_name() -> None:
    own = Format("mine", 4, stored_bits=lambda layer: 8 * len(layer.name))
    fast = remembered(weight_bytes)
    assert [fast(Layer(name, "linear", (4, 4), 4, 1), own) for name in ("a", "abc")] == [1, 3]
