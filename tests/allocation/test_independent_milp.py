"""Policies against integer programmes written here from the network's own quantities, and against enumeration."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from mckp_quant import Layer, SensitivityTable, allocate
from mckp_quant.formats.format import as_formats
from mckp_quant.layers import Activation
from mckp_quant.solvers import NoSolution, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

BITS = (2, 3, 4, 6, 8)
ACTIVATIONS = (2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Network:
    """A residual network in plain numbers: weights, outputs, operations, and the losses of weights and activations."""

    rows: list[int]
    columns: list[int]
    macs: list[int]
    tensors: list[tuple[int, int, int, tuple[int, ...]]]  # entries, first step, last step, layers that read it
    loss: np.ndarray[Any, Any]  # layers, weight bits, activation bits

    def weight_bytes(self, layer: int, w: int) -> int:
        return math.ceil((self.rows[layer] * self.columns[layer] * w + 32 * self.rows[layer]) / 8)

    def bops(self, layer: int, w: int, a: int) -> int:
        return self.macs[layer] * w * a

    def peak(self, bits: dict[int, int]) -> int:
        steps = range(1 + max(last for _, _, last, _ in self.tensors))
        return max(sum(self.bytes_at(step, bits).values()) for step in steps)

    def bytes_at(self, step: int, bits: dict[int, int]) -> dict[tuple[int, int], int]:
        """Bytes of each tensor and reader at a step; the reader -1 stands for none."""
        found = {}
        for number, (entries, first, last, readers) in enumerate(self.tensors):
            if first <= step <= last:
                for reader in readers or (-1,):
                    found[number, reader] = math.ceil(entries * (bits[reader] if reader >= 0 else 32) / 8)
        return found


def drawn(seed: int, n: int, n_w: int, n_a: int) -> Network:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 9, n).tolist(), rng.integers(4, 40, n).tolist()
    tensors: list[tuple[int, int, int, tuple[int, ...]]] = [
        (int(rng.integers(4, 90)), max(at - 1, 0), at, (at,)) for at in range(n)
    ]
    tensors.append((int(rng.integers(4, 20)), n - 1, n - 1, ()))
    if n > 2:  # a residual connection: one tensor lives on and is read once more
        tensors[1] = (*tensors[1][:2], n - 1, (1, n - 1))
    w, a = 4.0 ** -np.array(BITS[:n_w]), 4.0 ** -np.array(ACTIVATIONS[:n_a])
    noise = np.exp(0.3 * rng.normal(size=(n, n_w, n_a)))
    scale = np.exp(2 * rng.normal(size=(n, 2)))
    loss = noise * (scale[:, :1, None] * w[None, :, None] + scale[:, 1:, None] * a[None, None, :])
    return Network(rows, columns, rng.integers(10, 900, n).tolist(), tensors, loss)


def table_of(net: Network) -> SensitivityTable:
    n, n_w, n_a = net.loss.shape
    layers = tuple(
        Layer(f"l{at}", "linear", (net.rows[at], net.columns[at]), net.rows[at], net.macs[at]) for at in range(n)
    )
    formats = as_formats([f"w{w}a{a}" for w in BITS[:n_w] for a in ACTIVATIONS[:n_a]])
    tensors = tuple(Activation(e, f, t, tuple(f"l{r}" for r in readers)) for e, f, t, readers in net.tensors)
    loss = net.loss.reshape(n, -1)
    return SensitivityTable(layers, formats, loss, np.full(loss.shape, np.nan), activations=tensors)


def by_milp(net: Network, limits: dict[str, int]) -> float:
    """The least loss within the limits: binaries per layer and pair of bits, one row per budget, one row per step."""
    n, n_w, n_a = net.loss.shape
    keys = list(itertools.product(range(n), range(n_w), range(n_a)))
    rows: list[Sequence[float]] = []
    lower: list[float] = []
    upper: list[float] = []
    for layer in range(n):
        rows.append([float(key[0] == layer) for key in keys])
        lower.append(1.0)
        upper.append(1.0)
    size = [net.weight_bytes(layer, BITS[w]) for layer, w, _ in keys]
    work = [net.bops(layer, BITS[w], ACTIVATIONS[a]) for layer, w, a in keys]
    for name, coefficients in (("weight_bytes", size), ("bops", work)):
        if name in limits:
            rows.append(coefficients)
            lower.append(-np.inf)
            upper.append(limits[name])
    for name in {"activation_bytes", "total_bytes"} & set(limits):
        for step in range(1 + max(last for _, _, last, _ in net.tensors)):
            row = np.zeros(len(keys))
            fixed = 0
            for number, reader in net.bytes_at(step, dict.fromkeys(range(n), 32)):
                entries = net.tensors[number][0]
                if reader < 0:
                    fixed += 4 * entries
                row += [math.ceil(entries * ACTIVATIONS[a] / 8) * (layer == reader) for layer, _, a in keys]
            rows.append((row + (np.array(size) if name == "total_bytes" else 0)).tolist())
            lower.append(-np.inf)
            upper.append(limits[name] - fixed)
    found = milp(
        [net.loss[key] for key in keys],
        constraints=LinearConstraint(np.array(rows, dtype=float), lower, upper),
        integrality=np.ones(len(keys), dtype=np.int64),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    return float(found.fun) if found.status == 0 else math.inf


def costs(net: Network, names: list[str]) -> dict[str, int]:
    """What a policy takes, from the bits in its formats' names."""
    bits = [tuple(int(part) for part in name[1:].split("a")) for name in names]
    size = sum(net.weight_bytes(at, w) for at, (w, _) in enumerate(bits))
    peak = net.peak({at: a for at, (_, a) in enumerate(bits)})
    work = sum(net.bops(at, w, a) for at, (w, a) in enumerate(bits))
    return {"weight_bytes": size, "bops": work, "activation_bytes": peak, "total_bytes": size + peak}


KINDS = [
    ("weight_bytes", "bops"),
    ("activation_bytes",),
    ("total_bytes",),
    ("weight_bytes", "bops", "activation_bytes"),
]


def check(net: Network, kinds: tuple[str, ...], share: float) -> float:
    """Solve within a share between the least and the most; the policy's costs are recomputed from the network."""
    n = len(net.rows)
    least = costs(net, ["w2a2"] * n)
    most = costs(net, [f"w{BITS[net.loss.shape[1] - 1]}a{ACTIVATIONS[net.loss.shape[2] - 1]}"] * n)
    limits = {name: int(least[name] + share * (most[name] - least[name])) for name in kinds}
    wanted = by_milp(net, limits)
    if wanted == math.inf:
        with pytest.raises(NoSolution):
            allocate(table_of(net), limits)
        return wanted
    found = allocate(table_of(net), limits)
    assert found.solution.status is Status.OPTIMAL
    taken = costs(net, [entry.name for entry in found.policy.formats])
    assert all(taken[name] <= limit for name, limit in limits.items())
    assert all(found.policy.costs[name] == total for name, total in taken.items() if name in found.policy.costs)
    assert found.policy.predicted == pytest.approx(wanted, rel=1e-6)
    return wanted


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.floats(0.05, 0.9))
def test_joint_formats_of_nets_agree_with_an_integer_programme(seed: int, kinds: tuple[str, ...], share: float) -> None:
    check(drawn(seed, 8, 5, 5), kinds, share)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.floats(0.0, 0.9))
def test_small_nets_agree_with_enumeration_and_with_the_integer_programme(
    seed: int, kinds: tuple[str, ...], share: float
) -> None:
    net = drawn(seed, 4, 2, 3)
    wanted = check(net, kinds, share)
    names = [f"w{w}a{a}" for w in BITS[:2] for a in ACTIVATIONS[:3]]
    least = costs(net, ["w2a2"] * 4)
    most = costs(net, ["w3a4"] * 4)
    limits = {name: int(least[name] + share * (most[name] - least[name])) for name in kinds}
    best = math.inf
    for chosen in itertools.product(range(len(names)), repeat=4):
        taken = costs(net, [names[at] for at in chosen])
        if all(taken[name] <= limit for name, limit in limits.items()):
            best = min(best, math.fsum(net.loss.reshape(4, -1)[row, at] for row, at in enumerate(chosen)))
    assert best == pytest.approx(wanted, rel=1e-6)
