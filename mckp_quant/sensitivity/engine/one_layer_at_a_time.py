"""Runs the network with one layer quantised at a time, for `MeasuredKL`, `MeasuredLoss` and `Metric`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from ...network.batches import forward
from ...network.logits import heads_of
from ..task import Reading
from .replay import Diverged, Replay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...network.batch import Batch
    from ...network.logits import Logits
    from ..task import LayerWeight, Reader, Task

logger = logging.getLogger(__name__)

# From the float network's logits, the quantised network's and the batch to two (n,) float64 tensors on the CPU: a sum
# for each sample, and what it is over, in samples.
Judge: TypeAlias = Callable[[Any, Any, "Batch"], tuple[Tensor, Tensor]]

_CHECKED_SAMPLES = 2
_ROUNDING = 100  # units in the last place of the largest logit by which two runs of the same operations may differ


@contextlib.contextmanager
def measuring(task: Task, judge: Judge, unit: Callable[[Logits], str]) -> Iterator[Reader]:
    """Quantise one layer at a time, run the network, and judge its logits against the float network's.

    What comes before the changed layer is computed once for each batch (see `Replay`). Whether that gives what a whole
    run gives is tried for every layer on the first samples; layers for which it does not are measured by whole runs.

    Parameters
    ----------
    task
        What to measure.
    judge
        The quantity.
    unit
        From the logits to the unit of the quantity.

    Yields
    ------
    read
        From a batch to the sums of its samples.
    """
    replay = Replay(task.model)
    whole: set[int] = set()
    checked = 0

    def read(batch: Batch) -> Reading:
        nonlocal checked
        with torch.no_grad():
            if checked < min(batch.size, _CHECKED_SAMPLES):
                checked = min(batch.size, _CHECKED_SAMPLES)
                whole.update(_misread(task, replay, batch.head(_CHECKED_SAMPLES)) - whole)

            def run() -> Logits:
                return forward(task.model, batch, task.output)

            reference = replay.record(run)
            sums, sizes = [], []
            for row, weight in enumerate(task.weights):
                start = None if row in whole else replay.starts(weight.modules)
                judged = []
                for column in range(task.shape[1]):
                    with quantised(task, weight, column):
                        judged.append(judge(reference, _run_from(replay, start, run), batch))
                sums.append(torch.stack([values for values, _ in judged], dim=1))
                sizes.append(judged[0][1])
            surprise = task.likelihood.surprise(reference, batch.targets)
        return Reading(tuple(sums), tuple(sizes), unit(reference), surprise=surprise, measured=True)

    with replay.attached():
        yield read


@contextlib.contextmanager
def quantised(task: Task, weight: LayerWeight, column: int) -> Iterator[None]:
    """Hold one layer in the format of a column of the table: its weight, and by hooks its input."""
    if task.menu is None:
        with perturbed(weight, column):
            yield
        return
    menu, name = task.menu, weight.layer.name
    stored, scheme = menu.columns[column]

    def rounded(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        roundings = menu.roundings_at(module, name)
        return None if roundings is None or scheme is None else roundings[scheme](module, args, kwargs)

    with perturbed(weight, stored), contextlib.ExitStack() as hooks:
        for module in weight.modules if scheme is not None else ():
            hooks.callback(module.register_forward_pre_hook(rounded, with_kwargs=True).remove)
        yield


@contextlib.contextmanager
def perturbed(weight: LayerWeight, column: int) -> Iterator[None]:
    """Hold one layer in one of the formats; its memory and its parameters stay the same objects."""
    with torch.no_grad():
        kept = [parameter.detach().clone() for parameter in weight.parameters]
        error = weight.errors.column(column)  # before the weight, from which it is computed, is changed
        try:
            for parameter, before in zip(weight.parameters, kept, strict=True):
                parameter.copy_(before.to(error.dtype) + error)
            yield
        finally:
            for parameter, before in zip(weight.parameters, kept, strict=True):
                parameter.copy_(before)


def _run_from(replay: Replay, start: int | None, run: Callable[[], Logits]) -> Logits:
    if start is None:
        return run()
    try:
        return replay.replay(start, run)
    except Diverged:
        return run()


def _misread(task: Task, replay: Replay, batch: Batch) -> set[int]:
    """Rows of layers for which a replay differs from a whole run, tried with the largest perturbation."""

    def run() -> Logits:
        return forward(task.model, batch, task.output)

    replay.record(run)
    rows = set()
    for row, weight in enumerate(task.weights):
        start = replay.starts(weight.modules)
        with perturbed(weight, int(weight.errors.squares().argmax())):
            expected = run()
            found = _run_from(replay, start, run)
        if not all(map(_alike, heads_of(found), heads_of(expected))):
            rows.add(row)
            logger.info(
                "layer %r acts on the network before it is called, or at random: it is measured by whole runs",
                weight.layer.name,
            )
    return rows


def _alike(found: Tensor, expected: Tensor) -> bool:
    """Whether two runs of the same operations may have given both."""
    allowed = _ROUNDING * torch.finfo(expected.dtype).eps
    largest = float(expected.nan_to_num(posinf=0, neginf=0).abs().max())
    return torch.allclose(found, expected, rtol=allowed, atol=allowed * largest, equal_nan=True)
