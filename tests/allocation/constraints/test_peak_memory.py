from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Layer, SensitivityTable, allocate, build
from mckp_quant.allocation.builder import build_request
from mckp_quant.allocation.constraints.peak_memory import chain
from mckp_quant.allocation.request import Request
from mckp_quant.layers import Activation
from mckp_quant.solvers import NoSolution


def by_weight(layer: Layer) -> int:
    return 5 * layer.elements


JOINT = tuple(Format(f"x{w}a{a}", w, a, stored_bits=by_weight) for w in (2, 4) for a in (4, 8))


def network(rng: np.random.Generator) -> tuple[SensitivityTable, list[Activation]]:
    """A net of some layers, with tensors that skip over others and are read by several."""
    n = int(rng.integers(1, 5))
    layers = tuple(Layer(f"l{at}", "linear", (2, int(rng.integers(1, 9))), 2, 16) for at in range(n))
    table = SensitivityTable(layers, JOINT, rng.random((n, 4)), np.full((n, 4), np.nan))
    tensors = []
    for _ in range(int(rng.integers(1, 6))):
        first = int(rng.integers(0, n))
        readers = tuple(f"l{at}" for at in rng.permutation(n)[: int(rng.integers(0, 3))])
        tensors.append(Activation(int(rng.integers(1, 50)), first, int(rng.integers(first, n)), readers))
    return table, tensors


def peak(tensors: list[Activation], formats: dict[str, Format], tied: list[list[str]], steps: int) -> int:
    """The largest sum of bytes that live at a step, tensor by tensor: from the words of `Activation`."""
    most = 0
    for step in range(steps):
        alive = [tensor for tensor in tensors if tensor.first <= step <= tensor.last]
        total = 0
        for tensor in alive:
            sets = {frozenset(next((tie for tie in tied if name in tie), [name])) for name in tensor.readers}
            bits = [formats[min(each)].activation_bits or 32 for each in sets] or [32]
            total += sum(math.ceil(tensor.elements * each / 8) for each in bits)
        most = max(most, total)
    return most


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(40, 100), st.sampled_from(["activation_bytes", "total_bytes"]))
def test_policy_is_the_best_within_the_peak_recomputed_from_the_network(seed: int, share: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    table, tensors = network(rng)
    names = list(table.layer_names)
    tied = [names[:2]] if len(names) > 2 and rng.random() < 0.5 else []
    _, index = _build_or_none(table, {name: f"{share}%"}, tied, tensors)
    every = {}
    for formats in itertools.product(JOINT, repeat=len(names)):
        chosen = dict(zip(names, formats, strict=True))
        if any(len({chosen[each] for each in tie}) > 1 for tie in tied):
            continue
        total = peak(tensors, chosen, tied, len(names))
        if name == "total_bytes":
            total += sum(each.storage_bytes(layer) for layer, each in zip(table.layers, formats, strict=True))
        loss = math.fsum(float(table.loss[row, JOINT.index(each)]) for row, each in enumerate(formats))
        every[formats] = (loss, total)
    limit = max(total for _, total in every.values()) * share // 100
    if index is not None:
        assert index.budgets[0].limit == limit
    kept = [loss for loss, total in every.values() if total <= limit]
    if not kept:
        with pytest.raises(NoSolution, match=r"cannot be met|no policy is within"):
            allocate(table, Request({name: f"{share}%"}, tied=tied, activations=tensors))
        return
    policy = allocate(table, Request({name: f"{share}%"}, tied=tied, activations=tensors)).policy
    loss, total = every[policy.formats]
    assert policy.costs[name] == total <= limit
    assert loss == pytest.approx(min(kept), abs=1e-12)
    assert [each.name for each in policy.budgets] == [name]


def _build_or_none(table: SensitivityTable, budgets: Any, tied: Any, tensors: Any) -> tuple[Any, Any]:
    try:
        return build(table, Request(budgets, tied=tied, activations=tensors))
    except NoSolution:
        return None, None


def test_chain_has_input_and_output_of_a_layer_alive_together() -> None:
    layers = tuple(Layer(name, "linear", (2, 8), 2, 16) for name in "abc")
    table = SensitivityTable(layers, JOINT, np.ones((3, 4)), np.ones((3, 4)))
    tensors = chain(table, [100, 40, 10, 5])
    assert [(each.first, each.last, each.readers) for each in tensors] == [
        (0, 0, ("a",)),
        (0, 1, ("b",)),
        (1, 2, ("c",)),
        (2, 2, ()),
    ]
    policy = allocate(
        table, Request({"activation_bytes": 140}, pinned=dict.fromkeys("abc", "x2a8"), activations=tensors)
    ).policy
    assert policy.costs["activation_bytes"] == 140
    with pytest.raises(InvalidInput, match="3 sizes for 3 layers: give the input's and one per output"):
        chain(table, [1, 2, 3])


@pytest.mark.parametrize(("limit", "resources"), [(8, 3), (9, 2), (19, 2), (49, 1), (99, 1)])
def test_steps_that_can_never_be_the_peak_are_no_constraint(limit: int, resources: int) -> None:
    table = SensitivityTable((Layer("a", "linear", (2, 8), 2, 16),), JOINT, np.ones((1, 4)), np.ones((1, 4)))
    tensors = [
        Activation(10, 0, 3, ("a",)),
        Activation(10, 1, 1, ("a",)),
        Activation(10, 2, 3),
        Activation(9, 4, 4, ("a",)),
    ]
    request = Request({"activation_bytes": limit}, activations=tensors)
    if limit < 40:
        with pytest.raises(NoSolution, match="activations that stay in floating point take 40 bytes by themselves"):
            build_request(table, request, tight=False)
        tensors.pop(2)
    problem, _ = build_request(table, dataclasses.replace(request, activations=tensors), tight=False)
    assert problem.n_resources <= resources
    if limit == 99:
        assert (
            allocate(table, Request({"activation_bytes": 99}, activations=tensors)).policy.costs["activation_bytes"]
            <= 99
        )


def test_what_cannot_be_limited_is_refused() -> None:
    layer = Layer("a", "linear", (2, 8), 2, 16)
    table = SensitivityTable((layer,), JOINT, np.ones((1, 4)), np.ones((1, 4)))
    with pytest.raises(InvalidInput, match="no activation tensors given: activation_bytes and total_bytes need them"):
        build(table, {"activation_bytes": 5})
    with pytest.raises(InvalidInput, match="unknown layer that reads an activation 'b'"):
        build(table, Request({"activation_bytes": 5}, activations=[Activation(1, 0, 0, ("b",))]))
    with pytest.raises(InvalidInput, match="a peak has no minimum: total_bytes can be limited from above only"):
        build(table, Request({}, at_least={"total_bytes": 5}, activations=[Activation(1, 0, 0, ("a",))]))
    with pytest.raises(NoSolution, match="activations that stay in floating point take 40 bytes by themselves"):
        build(table, Request({"activation_bytes": 39}, activations=[Activation(10, 0, 0)]))
    for wrong in ((0, 0, 0), (2**53, 0, 0), (1, 2, 1), (1, -1, 0)):
        with pytest.raises(
            InvalidInput, match=r"^(elements|first|last) of an activation .*is -?\d+: it must be a whole number"
        ):
            Activation(*wrong)
