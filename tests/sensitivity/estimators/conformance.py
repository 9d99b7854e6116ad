"""What every estimator must do, as checks that take any estimator; `CHECKS` holds them all."""

from __future__ import annotations

import base64
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.sensitivity import ESTIMATORS, DataFreeEstimator, Estimator, Metric, Passes
from mckp_quant.sensitivity.arguments import estimator_of
from mckp_quant.sensitivity.engine.rates import Rates

from .. import two_heads
from ..odd_state import assert_same, in_odd_state, state_of
from ..tiny import CLASSES, perceptron, transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mckp_quant.sensitivity.estimator import AnyEstimator

Check = Callable[["AnyEstimator"], None]
FORMATS = "w2,w4"
RATES = Rates(flops=1e9, rounded=(2e-9, 3e-9))


def squared_distance(before: Tensor, after: Tensor) -> Tensor:
    return (before - after).square().flatten(1).sum(dim=1)


def example(name: str) -> AnyEstimator:
    """The estimator of this name; where it has no default, with options of ours."""
    return Metric(squared_distance) if name == "metric" else estimator_of(name)


def pairs(inputs: Tensor, size: int = 4) -> list[tuple[Tensor, Tensor]]:
    """Batches with targets, one for each sample or token."""
    shape = inputs.shape if inputs.dtype == torch.int64 else inputs.shape[:1]
    targets = torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(5))
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def check_facts(estimator: AnyEstimator) -> None:
    assert estimator.name == estimator.name.lower()
    assert ESTIMATORS[estimator.name] is type(estimator), "the registry has it under its own name"
    assert len(estimator.reference) > 5, "a reader finds where it comes from"
    assert estimator.unit
    assert isinstance(estimator.needs_targets, bool)
    assert isinstance(estimator.reads_inputs, bool)
    assert isinstance(estimator.passes, Passes)
    assert hasattr(estimator, "reading") != hasattr(estimator, "losses"), "one protocol, not both"
    assert (estimator.passes == Passes()) == hasattr(estimator, "losses")


def check_options(estimator: Any) -> None:
    again = dataclasses.replace(estimator)
    assert again == estimator
    assert hash(again) == hash(estimator)
    for field in dataclasses.fields(estimator):
        assert f"{field.name}=" in repr(estimator)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(estimator, field.name, None)


def check_model_is_given_back(estimator: AnyEstimator) -> None:
    model, inputs = in_odd_state()
    before = state_of(model)
    mq.measure(model, pairs(inputs), formats=FORMATS, method=estimator)
    assert_same(before, state_of(model))


def check_model_is_given_back_after_an_exception(estimator: AnyEstimator) -> None:
    model, inputs = in_odd_state()
    batches = pairs(inputs)
    before = state_of(model)
    if isinstance(estimator, DataFreeEstimator):
        with pytest.raises(mq.InvalidInput, match=r"fails on batch 0 \(inputs \(1, 3, 6, 6\)\)"):
            mq.measure(model, [torch.zeros(4, 3, 6, 6).double()], formats=FORMATS, method=estimator)
        assert_same(before, state_of(model))
        return
    wrong = [batches[0], (torch.zeros(4, 3, 6, 6).double(), batches[1][1])]
    with pytest.raises(mq.InvalidInput, match=r"fails on batch 1 \(inputs \(4, 3, 6, 6\)\)"):
        mq.measure(model, wrong, formats=FORMATS, method=estimator)
    assert_same(before, state_of(model))

    def interrupted(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mq.measure(model, batches, formats=FORMATS, method=estimator, run=mq.RunOptions(progress=interrupted))
    assert_same(before, state_of(model))


def check_same_seed_same_table(estimator: AnyEstimator) -> None:
    for network in (perceptron, transformer):
        model, inputs = network()
        run = mq.RunOptions(seed=11)
        first = mq.measure(model, pairs(inputs), formats=FORMATS, method=estimator, run=run)
        torch.rand(5)
        again = mq.measure(model.train(), pairs(inputs), formats=FORMATS, method=estimator, run=run)
        assert first.digest == again.digest
        assert (first.seed, first.method) == (11, estimator.name)


def check_standard_errors(estimator: AnyEstimator) -> None:
    model, inputs = perceptron()
    batches = pairs(inputs)
    table = mq.measure(model, batches, formats=FORMATS, method=estimator)
    assert table.stderr.shape == table.loss.shape
    assert (table.stderr >= 0).all(), "from several batches every error is known"
    if isinstance(estimator, DataFreeEstimator):
        assert not table.stderr.any(), "nothing is random, and nothing is sampled"
        assert table.contributions is None
        assert table.samples == 0
        return
    assert table.samples == len(inputs)
    assert table.contributions is not None
    assert table.batch_sizes is not None
    mean = np.average(table.contributions, axis=0, weights=table.batch_sizes)
    np.testing.assert_allclose(mean, table.loss, rtol=1e-9, atol=1e-14)
    one = mq.measure(model, batches[:1], formats=FORMATS, method=estimator)
    assert (np.isnan(one.stderr) | (one.stderr >= 0)).all(), "of a single batch it may be unknown, which is nan"


def check_unit(estimator: AnyEstimator) -> None:
    for network, over in ((perceptron, " per sample"), (transformer, " per token")):
        model, inputs = network()
        table = mq.measure(model, pairs(inputs), formats=FORMATS, method=estimator)
        assert table.unit == estimator.unit + (over if estimator.unit == "nats" else "")


def check_targets(estimator: AnyEstimator) -> None:
    model, inputs = perceptron()
    if estimator.needs_targets:
        with pytest.raises(mq.InvalidInput, match=f"batch 0 has no targets, and method='{estimator.name}' needs them"):
            mq.measure(model, [inputs], formats=FORMATS, method=estimator)
        return
    without = mq.measure(model, list(inputs.split(4)), formats=FORMATS, method=estimator)
    given = mq.measure(model, pairs(inputs), formats=FORMATS, method=estimator)
    np.testing.assert_array_equal(without.loss, given.loss)


def check_formats_of_inputs(estimator: AnyEstimator) -> None:
    model, inputs = perceptron()
    formats = "w4,w4a8,a8"
    if estimator.reads_inputs:
        table = mq.measure(model, pairs(inputs), formats=formats, method=estimator)
        assert table.ranges is not None
        assert np.isfinite(table.loss).all()
        assert (table.loss[:, 0] != table.loss[:, 1]).all()
        mq.plan(model, inputs, formats=formats, method=estimator, rates=RATES)
        return
    message = f"'w4a8' also stores activations, of which method='{estimator.name}' knows nothing: use one of"
    with pytest.raises(mq.InvalidInput, match=message):
        mq.measure(model, pairs(inputs), formats=formats, method=estimator)
    with pytest.raises(mq.InvalidInput, match=message):
        mq.plan(model, inputs, formats=formats, method=estimator, rates=RATES)


def check_plan(estimator: AnyEstimator) -> None:
    model, inputs = perceptron()
    planned = mq.plan(model, inputs, formats=FORMATS, method=estimator, rates=RATES)
    assert planned == mq.plan(model, inputs, formats=FORMATS, method=estimator.name, rates=RATES)
    assert planned.method == estimator.name
    assert planned.evaluations == estimator.passes.of(layers=2, formats=2, schemes=0)


def check_interruption(estimator: AnyEstimator) -> None:
    model, inputs = perceptron()
    seen: list[tuple[int, int | None]] = []
    run = mq.RunOptions(max_batches=2, progress=lambda done, total: seen.append((done, total)))
    table = mq.measure(model, pairs(inputs), formats=FORMATS, method=estimator, run=run)
    if isinstance(estimator, Estimator):
        assert seen == [(1, 2), (2, 2)]
        assert table.samples == 8


def check_several_heads(estimator: AnyEstimator) -> None:
    model, inputs = two_heads.network()
    data, run = two_heads.batches(inputs), mq.RunOptions(seed=3)
    method = Metric(lambda a, b: sum(map(squared_distance, a, b))) if isinstance(estimator, Metric) else estimator
    before = state_of(model)
    first, again = (
        mq.measure(model, data, formats=FORMATS, method=method, outputs=two_heads.OUTPUTS, run=run) for _ in range(2)
    )
    assert_same(before, state_of(model))
    assert first.digest == again.digest
    assert np.isfinite(first.loss).all()
    assert (first.loss[:, 0] != 0).all(), "every head's own layers are seen"
    assert first.unit == estimator.unit + (" per sample" if estimator.unit == "nats" else "")


CHECKS: tuple[Check, ...] = (
    check_facts,
    check_options,
    check_model_is_given_back,
    check_model_is_given_back_after_an_exception,
    check_same_seed_same_table,
    check_standard_errors,
    check_unit,
    check_targets,
    check_formats_of_inputs,
    check_plan,
    check_interruption,
    check_several_heads,
)


def digests(estimators: Sequence[AnyEstimator]) -> list[str]:
    """The table of each estimator, of one small network."""
    model, inputs = transformer()
    run = mq.RunOptions(seed=3)
    tables = [mq.measure(model, pairs(inputs), formats=FORMATS, method=each, run=run) for each in estimators]
    return [table.digest for table in tables]


def digests_in_another_process(estimators: Sequence[AnyEstimator]) -> list[str]:
    """The same, computed elsewhere; one process for all, because each has to load torch."""
    script = (
        "import base64, pickle, sys\n"
        f"from {__name__} import digests\n"
        "print(*digests(pickle.loads(base64.b64decode(sys.argv[1]))))\n"
    )
    sent = base64.b64encode(pickle.dumps(list(estimators))).decode()
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script, sent], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.split()
