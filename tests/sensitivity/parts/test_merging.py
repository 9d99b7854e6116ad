"""Parts of a measurement, put together, are the measurement of one process; what does not belong together is named."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.common.documents import plain
from mckp_quant.sensitivity import ESTIMATORS
from mckp_quant.tables import schema

from ...tables.test_schemas import complaints

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (6, 3, 5, 6, 2, 4, 6)


class Branches(nn.Module):
    """A layer that only inputs with a positive first entry reach, one that nothing reads, and two for all."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.rare, self.unread, self.last = (nn.Linear(5, out) for out in (5, 5, 5, 3))

    def forward(self, x: Tensor) -> Tensor:
        self.unread(x)
        hidden = self.first(x).tanh()
        if bool((x[:, 0] > 2).any()):
            hidden = hidden + self.rare(x)
        out: Tensor = self.last(hidden)
        return out


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return Branches().eval()


def data(seed: int = 1, sizes: tuple[int, ...] = SIZES) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for at, size in enumerate(sizes):
        inputs = torch.randn(size, 5, generator=generator).clamp(max=1.5)
        inputs[0, 0] = 3.0 if at == 4 else 0.0
        found.append((inputs, torch.randint(0, 3, (size,), generator=generator)))
    return found


def parts(of: int, model: nn.Module | None = None, **more: Any) -> list[mq.SensitivityTable]:
    asked = {"batches": data(), "formats": "w2,w4", **more}
    return [mq.measure(model or net(), run=mq.RunOptions(part=f"{own}/{of}"), **asked) for own in range(1, of + 1)]


def equal(one: mq.SensitivityTable, other: mq.SensitivityTable) -> None:
    assert plain(one.document()) == plain(other.document())


@pytest.mark.parametrize("of", [2, 4, 7])
def test_parts_in_any_order_are_the_whole_to_the_last_bit(of: int, tmp_path: Path) -> None:
    whole = mq.measure(net(), data(), formats="w2,w4")
    paths = [tmp_path / f"part{own}.json" for own in range(of)]
    for path, table in zip(paths, parts(of), strict=True):
        table.save(path)
        assert not complaints(schema("table"), json.loads(path.read_text()))
    merged = mq.merge([mq.SensitivityTable.load(path) for path in reversed(paths)])
    equal(merged, whole)
    assert merged.part is None
    assert np.isnan(whole.loss[whole.row("unread")]).any()  # the network has what is hard to put together
    assert whole.layers[whole.row("rare")].macs != net_macs("rare")


def net_macs(name: str) -> int | None:
    return next(layer.macs for layer in mq.measure(net(), data()[:1], formats="w4").layers if layer.name == name)


@pytest.mark.parametrize(
    "method", [name for name, each in ESTIMATORS.items() if hasattr(each, "reading") and name != "metric"]
)
def test_every_estimator_that_reads_batches_draws_the_same_in_every_part(method: str) -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).eval()
    equal(mq.merge(parts(3, model, method=method)), mq.measure(model, data(), formats="w2,w4", method=method))


def test_a_sample_draws_the_same_in_every_batch() -> None:
    inputs, targets = (torch.cat(each) for each in zip(*data(), strict=True))
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).eval()
    once = mq.measure(model.double(), [(inputs.double(), targets)], formats="w2,w4")
    for size in (1, 7, 12):
        again = mq.measure(
            model, [*zip(inputs.double().split(size), targets.split(size), strict=True)], formats="w2,w4"
        )
        np.testing.assert_allclose(again.loss, once.loss, rtol=1e-12)
        np.testing.assert_allclose(again.stderr, once.stderr, rtol=1e-9)


def test_inputs_are_rounded_by_the_ranges_of_the_first_batches_of_all_parts() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).eval()
    equal(mq.merge(parts(3, model, formats="w4a8")), mq.measure(model, data(), formats="w4a8"))


def test_a_part_is_taken_up_where_it_stopped_and_refused_as_another(tmp_path: Path) -> None:
    run = mq.RunOptions(part="2/2", checkpoint=tmp_path / "state", max_batches=4)
    mq.measure(net(), data(), formats="w2,w4", run=run)
    seen: list[tuple[int, int | None]] = []
    run = dataclasses.replace(run, max_batches=None, progress=lambda done, total: seen.append((done, total)))
    again = mq.measure(net(), data(), formats="w2,w4", run=run)
    assert seen == [(3, 3)]
    equal(mq.merge([parts(2)[0], again]), mq.measure(net(), data(), formats="w2,w4"))
    with pytest.raises(mq.InvalidInput, match=r"part was 2/2, and is 1/2"):
        mq.measure(net(), data(), formats="w2,w4", run=dataclasses.replace(run, part="1/2"))


REFUSED: dict[str, tuple[Any, str]] = {
    "none": (list, "^there is no part to merge"),
    "whole": (lambda: [mq.measure(net(), data(), formats="w4")], "^table 1 of 1 is no part"),
    "missing": (lambda: parts(4)[:2], r"^missing parts: 3/4, 4/4; measure them with --part, and give all 4$"),
    "one missing": (lambda: parts(3)[:2], r"^missing parts: 3/3; "),
    "double": (lambda: [*parts(2), parts(2)[1]], "^part 2/2 is given 2 times"),
    "other numbers": (lambda: [parts(2)[0], parts(3)[1]], "^the parts 1/2 and 2/3 are of different numbers of parts"),
    "network": (lambda: [parts(2)[0], parts(2, net(1))[1]], "^part 2/2 does not belong to part 1/2: the network's"),
    "formats": (lambda: [parts(2)[0], parts(2, formats="w2,w3")[1]], "formats was w2, w3, and is w2, w4"),
    "estimator": (lambda: [parts(2)[0], parts(2, method="measured_kl")[1]], "method was measured_kl, and is gauss"),
    "data": (lambda: [parts(2)[0], parts(2, batches=data(2))[1]], "it is of other calibration data, batch 0 differs"),
    "order": (
        lambda: [parts(2)[0], parts(2, batches=[*data()[:3], *data()[:2:-1]])[1]],
        "its batches are others, or in another order",
    ),
    "fewer": (lambda: [parts(2)[0], parts(2, batches=data()[:5])[1]], r"it read other data \(5 batches, not 7\)"),
    "layers": (lambda: [parts(2)[0], parts(2, layers=["last"])[1]], "its layers or formats are others"),
    "changed": (
        lambda: [parts(2)[0], dataclasses.replace(parts(2)[1], loss=parts(2)[1].loss * 2)],
        "^part 2/2 was changed after it was measured",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_belong_together_is_named(case: str) -> None:
    made, message = REFUSED[case]
    with pytest.raises(mq.InvalidInput, match=message):
        mq.merge(made())


def test_what_has_no_parts_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="method='weight_mse' reads no batches that could be shared"):
        mq.measure(net(), data(), formats="w4", method="weight_mse", run=mq.RunOptions(part="1/2"))
    with pytest.raises(mq.InvalidInput, match=r"precision is 0\.1, which no part can know alone"):
        mq.measure(net(), data(), formats="w4", precision=0.1, run=mq.RunOptions(part="1/2"))
    with pytest.raises(mq.InvalidInput, match="part is '2/8', and there are 7 batches: ask for at most 7 parts"):
        mq.measure(net(), data(), formats="w4", run=mq.RunOptions(part="2/8"))
    with pytest.raises(mq.InvalidInput, match=r"torch\.distributed is not initialised"):
        mq.measure(net(), data(), formats="w4", run=mq.RunOptions(part="ranks"))


def test_targets_that_do_not_count_are_refused_for_the_whole_only() -> None:
    batches = [(inputs, torch.full_like(targets, -100)) for inputs, targets in data()]
    found = parts(2, batches=batches, method="empirical_fisher")
    with pytest.raises(mq.InvalidInput, match="no target of any batch counts"):
        mq.merge(found)
    batches[3] = data()[3]
    equal(
        mq.merge(parts(2, batches=batches, method="empirical_fisher")),
        mq.measure(net(), batches, formats="w2,w4", method="empirical_fisher"),
    )


def test_a_part_that_was_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.json"
    parts(2)[0].save(path)
    document = json.loads(path.read_text())
    for part, message in (
        ([], "part is \\[\\]: expected its number"),
        ({**document["part"], "sums": 3}, "fingerprint and sums must be objects"),
        ({**document["part"], "number": "one"}, "number = 'one': it must be a whole number"),
    ):
        path.write_text(json.dumps({**document, "part": part}))
        with pytest.raises(mq.InvalidInput, match=message):
            mq.SensitivityTable.load(path)
