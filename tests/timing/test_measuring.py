"""Costs of made-up machines, whose times are known."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant import InvalidInput, Layer, Policy
from mckp_quant.tables import read_costs
from mckp_quant.timing import time_layers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mckp_quant.timing.measuring import Runner

LAYERS = [
    Layer("embed", "embedding", (50, 16), 50, 0),
    *(Layer(f"conv{at}", "conv2d", (8, 8, 3, 3), 8, 1000 * at) for at in range(1, 7)),
]
SPEED = {"float": 4.0, "w8": 4.0, "w8a8": 2.0}  # nanoseconds for each multiply-accumulate
OUTSIDE = 5e-6


def machine(noise: float = 0.0, fused: float = 0.0, slower: float = 0.0) -> Runner:
    """A runner: neighbours that are both w8a8 save `fused` of their time, and later calls are slower."""
    rng, calls = np.random.default_rng(0), []

    def run(policies: Sequence[Policy]) -> np.ndarray:
        calls.append(len(policies))
        seconds = []
        for policy in policies:
            own = [
                SPEED[entry.name] * (layer.macs or 0) * 1e-9
                for layer, entry in zip(LAYERS, policy.formats, strict=True)
            ]
            names = [entry.name for entry in policy.formats]
            for at, pair in enumerate(itertools.pairwise(names)):
                if pair == ("w8a8", "w8a8"):
                    own[at + 1] *= 1 - fused
            seconds.append(OUTSIDE + sum(own))
        shape = (len(policies), 9)
        drift = 1 + slower * (len(calls) - 1)
        return np.array(seconds)[:, None] * drift * (1 + noise * rng.standard_normal(shape))

    return run


def test_sums_of_costs_are_times_of_networks_with_what_is_outside_the_layers() -> None:
    timing = time_layers(LAYERS, "w8,w8a8", machine(), target="onnxruntime")
    assert timing.costs.formats == ("float", "w8", "w8a8")
    assert timing.costs.cost[0].tolist() == [0, -1, -1]  # embeddings stay in float there, and multiply nothing
    np.testing.assert_allclose(timing.costs.cost.sum(axis=0)[0], 1e9 * (OUTSIDE + 21_000 * 4e-9), atol=20)
    saved = timing.costs.cost[1:, 0] - timing.costs.cost[1:, 2]
    np.testing.assert_allclose(saved, [2000 * at for at in range(1, 7)], atol=2)
    assert np.isnan(timing.stderr[0, 1])
    assert [each.name for each in timing.checks] == ["fastest", "middle", "slowest"]
    assert max(abs(each.error) for each in timing.checks) < 1e-3
    assert timing.checks[0].policy["conv6"].name == "w8a8"
    assert timing.networks == 20  # half as many again as six layers with two differences, and one


def test_noise_and_drift_do_not_put_the_checks_off() -> None:
    timing = time_layers(LAYERS, "w8,w8a8", machine(noise=0.05, slower=0.3), target="onnxruntime")
    assert timing.holds
    assert timing.drift == pytest.approx(0.3, abs=0.06)
    assert timing.spread == pytest.approx(0.05, rel=0.4)
    assert timing.verdict.startswith("the sums hold: ")


def test_a_machine_whose_layers_do_not_add_up_is_found_out() -> None:
    timing = time_layers(LAYERS, "w8,w8a8", machine(fused=0.9), target="onnxruntime")
    assert not timing.holds
    assert timing.residual > 0.02
    assert "the sums do not hold: the fastest network is off by most" in timing.verdict
    assert "time again on a quieter machine" in timing.verdict


def test_the_document_is_a_cost_table_with_which_a_latency_is_a_budget(tmp_path: Path) -> None:
    timing = time_layers(LAYERS, "w8,w8a8", machine(), target="onnxruntime")
    path = tmp_path / "latency.json"
    path.write_text(json.dumps(timing.document()))
    costs = read_costs(path)
    assert (costs.name, costs.unit) == ("latency", "ns")
    assert (costs.cost == timing.costs.cost).all()
    loss = [[0.0, np.nan, np.nan], *([0.0, 0.1, 0.2 * at] for at in range(1, 7))]
    table = mq.tables.table_from_arrays(
        loss, LAYERS, ["float", "w8", "w8a8"], handling=mq.tables.Handling("drop")
    ).table
    found = mq.allocate(table, mq.Request({"latency": "50us"}, costs=[costs], target="onnxruntime"))
    assert found.policy.costs["latency"] <= 50_000
    assert [entry.name == "w8a8" for entry in found.policy.formats] == [False, False, *[True] * 5]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"networks": 9}, "networks is 9: it must be a whole number, at least 14"),
        ({"formats": "w3"}, "target 'onnxruntime' takes none of the formats float, w3 in any layer"),
        (
            {"runner": lambda each: np.zeros((len(each), 3))},
            r"the runner gave an array of the shape \(\d+, 3\): it must",
        ),
        ({"runner": lambda each: np.ones(len(each))}, "it must hold seconds above 0, 23 policies by rounds"),
    ],
)
def test_what_tells_nothing_is_refused(options: dict[str, object], words: str) -> None:
    given = {"formats": "w8,w8a8", "runner": machine(), "target": "onnxruntime", **options}
    with pytest.raises(InvalidInput, match=words):
        time_layers(LAYERS, **given)  # type: ignore[arg-type]
