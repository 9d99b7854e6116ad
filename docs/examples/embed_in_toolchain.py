"""A toolchain that measured its own scores asks for a policy: no torch, one import, one call."""

from mckp_quant import Layer, allocate
from mckp_quant.tables import table_from_arrays

# What the toolchain knows: its layers, and how much its own metric suffers from each format.
layers = [
    Layer("stem", "conv2d", shape=(64, 3, 7, 7), channels=64, macs=118_013_952),
    Layer("body", "conv2d", shape=(64, 64, 3, 3), channels=64, macs=115_605_504),
    Layer("head", "linear", shape=(1000, 512), channels=1000, macs=512_000),
]
scores = [[0.90, 0.12, 0.01], [0.40, 0.05, 0.002], [0.20, 0.03, 0.001]]
table = table_from_arrays(scores, layers, ["w2", "w4", "w8"], unit="own score").table
found = allocate(table, {"weight_bytes": "300kB", "bops": "80%"}, pinned={"head": "w4"})
print({layer: found.policy[layer].name for layer in found.policy.layer_names})
print(found.policy.costs["weight_bytes"], "bytes,", found.policy.status)
