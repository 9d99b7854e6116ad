"""The stop rule, the doubts that are logged, and measurements that are interrupted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.sensitivity import ESTIMATORS, GaussNewton

from .tiny import CLASSES, perceptron, transformer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FORMATS = "w2,w4"
METHODS = sorted(name for name, each in ESTIMATORS.items() if hasattr(each, "reading") and name != "metric")


def batches_of(inputs: Tensor, count: int, size: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(8)
    picks = torch.randint(0, len(inputs), (count, size), generator=generator)
    shape = (size, *inputs.shape[1:]) if inputs.dtype == torch.int64 else (size,)
    return [(inputs[pick], torch.randint(0, CLASSES, shape, generator=generator)) for pick in picks]


def worst(table: mq.SensitivityTable) -> float:
    matters = table.loss >= 0.01 * table.loss.max(axis=0)
    return float((table.stderr / table.loss)[matters].max())


def test_reading_stops_at_the_first_batch_that_is_precise_enough() -> None:
    model, inputs = perceptron()
    batches = batches_of(inputs, 200, 8)
    stream = iter(batches)
    table = mq.measure(model, stream, formats=FORMATS, precision=0.15)
    assert table.batch_sizes is not None
    read = len(table.batch_sizes)
    assert 2 < read < 200
    assert len(list(stream)) == 200 - read
    assert worst(table) <= 0.15 < worst(mq.measure(model, batches[: read - 1], formats=FORMATS))
    np.testing.assert_array_equal(table.loss, mq.measure(model, batches[:read], formats=FORMATS).loss)


def test_no_more_batches_are_taken_than_the_cap_allows() -> None:
    model, inputs = perceptron()
    stream = iter(batches_of(inputs, 5, 4))
    seen: list[tuple[int, int | None]] = []
    table = mq.measure(
        model,
        stream,
        formats=FORMATS,
        run=mq.RunOptions(max_batches=2, progress=lambda done, total: seen.append((done, total))),
    )
    assert table.samples == 8
    assert len(list(stream)) == 3
    assert seen == [(1, 2), (2, 2)]
    seen.clear()
    mq.measure(
        model,
        batches_of(inputs, 5, 4),
        formats=FORMATS,
        run=mq.RunOptions(max_batches=2, progress=lambda done, total: seen.append((done, total))),
    )
    assert seen == [(1, 2), (2, 2)]


def test_a_precision_that_is_not_reached_is_told(caplog: pytest.LogCaptureFixture) -> None:
    model, inputs = perceptron()
    mq.measure(model, batches_of(inputs, 3, 4), formats=FORMATS, precision=1e-3)
    assert "stopped after 3 batches" in caplog.text
    assert "the precision of 0.001 is not reached; give more batches" in caplog.text


def test_an_unknown_error_is_never_precise_enough() -> None:
    model, inputs = perceptron()
    batches = batches_of(inputs, 3, 4)
    table = mq.measure(model, batches, formats=FORMATS, method="hutchinson", precision=1e9)
    assert table.batch_sizes is not None
    assert len(table.batch_sizes) == 2  # one batch has no standard error


def nearly(weight: Tensor) -> Tensor:
    return weight + 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)).to(weight)


def other(weight: Tensor) -> Tensor:
    return weight + 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)).to(weight)


def one_bit(layer: mq.Layer) -> int:
    return layer.elements


def test_formats_that_the_data_cannot_rank_are_told(caplog: pytest.LogCaptureFixture) -> None:
    model, inputs = perceptron()
    twins = [mq.Format(f.__name__, 8, quantize=f, stored_bits=one_bit) for f in (nearly, other)]
    mq.measure(model, batches_of(inputs, 2, 2), formats=["w1", *twins])
    assert "pairs of neighbouring formats cannot be told apart, such as" in caplog.text
    assert "of 4 pairs" in caplog.text
    caplog.clear()
    mq.measure(model, batches_of(inputs, 40, 8), formats="w1,w4")
    assert caplog.text == ""


def test_inputs_that_look_memorised_are_told(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, CLASSES))
    inputs = 10 * torch.eye(4)[:CLASSES].repeat(8, 1)
    model[0].weight.data = torch.eye(4)[:CLASSES].clone()
    targets = torch.arange(CLASSES).repeat(8)
    for batch in (inputs, (inputs, targets)):
        caplog.clear()
        mq.measure(model, [batch], formats="w8")
        assert "the network's mean loss on these inputs is" in caplog.text
    for batch in (inputs / 10, (inputs, targets.flip(0))):
        caplog.clear()
        mq.measure(model, [batch], formats="w8")
        assert caplog.text == ""


class Interrupted(Exception):
    pass


def interrupted_after(count: int) -> Callable[[int, int | None], None]:
    def progress(done: int, total: int | None) -> None:
        if done == count:
            raise Interrupted

    return progress


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", [perceptron, transformer])
def test_an_interrupted_measurement_goes_on_to_the_same_bits(
    method: str, network: Callable[[], tuple[nn.Module, Tensor]], tmp_path: Path
) -> None:
    model, inputs = network()
    batches = batches_of(inputs, 4, 3)
    whole = mq.measure(model, batches, formats=FORMATS, method=method, run=mq.RunOptions(seed=4))
    path = tmp_path / "state.json"
    for count in (1, 3):
        with pytest.raises(Interrupted):
            mq.measure(
                model,
                batches,
                formats=FORMATS,
                method=method,
                run=mq.RunOptions(seed=4, checkpoint=path, progress=interrupted_after(count)),
            )
    read: list[int] = []
    resumed = mq.measure(
        model,
        batches,
        formats=FORMATS,
        method=method,
        run=mq.RunOptions(seed=4, checkpoint=path, progress=lambda done, total: read.append(done)),
    )
    assert read == [4]
    for name in ("loss", "stderr", "contributions", "batch_sizes"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
    assert (resumed.samples, resumed.unit) == (whole.samples, whole.unit)


def test_a_checkpoint_of_all_batches_gives_the_table_without_reading(tmp_path: Path) -> None:
    model, inputs = perceptron()
    batches = batches_of(inputs, 1, 3)
    path = tmp_path / "state.json"
    first = mq.measure(model, batches, formats=FORMATS, run=mq.RunOptions(checkpoint=path, max_batches=1))
    again = mq.measure(
        model,
        batches,
        formats=FORMATS,
        run=mq.RunOptions(checkpoint=path, max_batches=1, progress=interrupted_after(1)),
    )
    np.testing.assert_array_equal(first.loss, again.loss)
    np.testing.assert_array_equal(first.stderr, again.stderr)


def changed_weight(model: nn.Module) -> None:
    model.get_parameter("head.weight").data[0, 0] += 1


@pytest.mark.parametrize(
    "changes",
    [
        {"run": 5},
        {"formats": "w2,w3"},
        {"method": "measured_kl"},
        {"method": GaussNewton(2)},
        {"layers": ["head"]},
        {"model": 1},
    ],
)
def test_a_checkpoint_of_another_measurement_is_refused(changes: dict[str, object], tmp_path: Path) -> None:
    model, inputs = perceptron()
    path = tmp_path / "state.json"
    batches = batches_of(inputs, 2, 3)
    mq.measure(model, batches, formats=FORMATS, run=mq.RunOptions(checkpoint=path))
    if changes.pop("model", None):
        changed_weight(model)
    run = mq.RunOptions(seed=changes.pop("run", 0), checkpoint=path)  # type: ignore[arg-type]
    given: dict[str, object] = {"formats": FORMATS, **changes}
    with pytest.raises(mq.InvalidInput, match=r"the checkpoint '.*state.json' is of another measurement"):
        mq.measure(model, batches, run=run, **given)  # type: ignore[arg-type]


def test_other_batches_than_before_are_refused(tmp_path: Path) -> None:
    model, inputs = perceptron()
    path = tmp_path / "state.json"
    mq.measure(model, [inputs[:3]], formats=FORMATS, run=mq.RunOptions(checkpoint=path))
    with pytest.raises(mq.InvalidInput, match="it is of other calibration data, batch 0 differs"):
        mq.measure(model, [inputs[:4], inputs[4:]], formats=FORMATS, run=mq.RunOptions(checkpoint=path))


def damages(path: Path) -> Iterator[tuple[str, str]]:
    document = json.loads(path.read_text(encoding="utf-8"))
    yield "is not whole JSON", path.read_text(encoding="utf-8")[:-40]
    changed = {**document, "moments": {**document["moments"], "low": "zz"}}
    yield "is not as it was written", json.dumps(changed)
    yield "is not as it was written", json.dumps({**document, "sizes": [2.0]})
    earlier = {**document, "moments": {"_units": [[1.0]]}}
    yield "written by an earlier version, which drew its probes otherwise", json.dumps(earlier)
    yield "lacks the field 'fingerprint'", json.dumps({"schema": document["schema"]})


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    model, inputs = perceptron()
    path = tmp_path / "state.json"
    mq.measure(model, [inputs], formats=FORMATS, run=mq.RunOptions(checkpoint=path))
    for message, text in list(damages(path)):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(mq.InvalidInput, match=message):
            mq.measure(model, [inputs], formats=FORMATS, run=mq.RunOptions(checkpoint=path))
