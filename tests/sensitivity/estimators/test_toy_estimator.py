"""A new estimator is one class and one line in the registry: shown with a toy, on which the whole suite is run."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pytest
import torch

import mckp_quant as mq
from mckp_quant.network.batches import forward
from mckp_quant.network.likelihood import unit
from mckp_quant.network.logits import heads_of
from mckp_quant.search import run_method
from mckp_quant.sensitivity import ESTIMATORS, Passes
from mckp_quant.sensitivity.task import Reading

from ..tiny import perceptron
from .conformance import CHECKS, Check, digests, digests_in_another_process, pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mckp_quant.network.batch import Batch
    from mckp_quant.sensitivity.task import Reader, Task


@dataclass(frozen=True)
class ScaledError:
    """Multiply the squared error of a weight by how large the logits of a sample are."""

    scale: float = 1.0
    name: ClassVar[str] = "scaled_error"
    reference: ClassVar[str] = "made up for this test"
    needs_targets: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = False
    passes: ClassVar[Passes] = Passes(batch=0.4)
    unit: ClassVar[str] = "nats"

    @contextlib.contextmanager
    def reading(self, task: Task) -> Iterator[Reader]:
        squares = [weight.perturbations.flatten(1).double().square().sum(dim=1) for weight in task.weights]

        def read(batch: Batch) -> Reading:
            with torch.no_grad():
                logits = forward(task.model, batch, task.output)
            means = [head.double().square().flatten(1).mean(dim=1) for head in heads_of(logits)]
            sizes = self.scale * torch.stack(means).sum(dim=0)
            ones = torch.ones(batch.size, dtype=torch.float64)
            return Reading(
                sums=tuple(sizes[:, None] * each for each in squares),
                sizes=tuple(ones for _ in squares),
                unit=unit(logits),
            )

        yield read


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ESTIMATORS, "scaled_error", ScaledError)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_passes_every_check(check: Check) -> None:
    check(ScaledError(2.0))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_table_in_another_process() -> None:
    assert digests_in_another_process([ScaledError(2.0)]) == digests([ScaledError(2.0)])


def test_it_is_known_by_its_name_wherever_estimators_are_named() -> None:
    model, inputs = perceptron()
    batches = pairs(inputs)
    table = mq.measure(model, batches, formats="w2,w4", method="scaled_error")
    assert table.method == "scaled_error"
    assert (2 * table.loss == mq.measure(model, batches, formats="w2,w4", method=ScaledError(2.0)).loss).all()
    found = run_method("scaled_error", model, table, {"weight_bytes": "90%"}, batches)
    assert found.policy == mq.allocate(table, {"weight_bytes": "90%"}, solver="exact").policy
    with pytest.raises(mq.InvalidInput, match="unknown method 'scaled_eror': did you mean 'scaled_error'"):
        mq.measure(model, batches, formats="w2,w4", method="scaled_eror")


def test_its_options_are_in_the_checkpoint(tmp_path: object) -> None:
    model, inputs = perceptron()
    run = mq.RunOptions(checkpoint=f"{tmp_path}/state.json")
    mq.measure(model, pairs(inputs), formats="w2,w4", method=ScaledError(2.0), run=run)
    mq.measure(model, pairs(inputs), formats="w2,w4", method=ScaledError(2.0), run=run)
    with pytest.raises(mq.InvalidInput, match="is of another measurement"):
        mq.measure(model, pairs(inputs), formats="w2,w4", method=ScaledError(3.0), run=run)
