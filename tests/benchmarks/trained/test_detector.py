"""The detector of digits: anchors, average precision against a plain count, and a tiny one through all steps."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch

import mckp_quant as mq
from benchmarks.policies import detection
from benchmarks.policies.detection import FIELDS, compared, page
from benchmarks.trained.detector import (
    ANCHORS,
    CLASSES,
    LEAST_SCORE,
    OUTPUTS,
    OVERLAP,
    SIDE,
    Detector,
    Found,
    boxes_of,
    detect,
    difference,
    overlaps,
    scenes,
    sure_of_digits,
    surest,
    targets,
    train,
)
from mckp_quant.demo.digits import Part
from mckp_quant.evaluation import Evaluator

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


def shapes() -> Part:
    """Ten patterns in the place of digits, so that nothing has to be installed."""
    generator = torch.Generator().manual_seed(3)
    images = (torch.rand(40, 1, 8, 8, generator=generator) > 0.5).float() * 2 - 1
    return Part(torch.arange(40), images, torch.arange(40) % 10)


SOME = scenes(shapes(), 6, 0)


def perfect(what: object = SOME) -> Found:
    """What a detector finds that knows every box: its outputs are the targets."""

    class Knowing(torch.nn.Module):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            found = [targets(boxes, labels) for boxes, labels in zip(SOME.boxes, SOME.labels, strict=True)]
            classes = torch.stack([each[0] for each in found]).clamp(min=0)
            logits = 20 * torch.nn.functional.one_hot(classes, CLASSES).float()
            return {"classes": logits, "boxes": torch.stack([each[1] for each in found]).nan_to_num(0)}

    return detect(Knowing(), SOME)


def test_scenes_repeat_and_their_digits_lie_inside_and_apart() -> None:
    again = scenes(shapes(), 6, 0)
    assert torch.equal(again.images, SOME.images)
    assert not torch.equal(scenes(shapes(), 6, 1).images, SOME.images)
    for boxes, labels in zip(SOME.boxes, SOME.labels, strict=True):
        assert 1 <= len(boxes) == len(labels) <= 3
        assert float(boxes.min()) >= 0
        assert float(boxes.max()) <= SIDE
        assert bool((labels > 0).all())
        shared = overlaps(boxes, boxes)
        assert torch.equal(shared.diag(), torch.ones(len(boxes)))
        assert float((shared - shared.diag().diag()).max()) == 0


def test_every_digit_has_an_anchor_from_whose_offsets_its_box_comes_back() -> None:
    for boxes, labels in zip(SOME.boxes, SOME.labels, strict=True):
        classes, offsets = targets(boxes, labels)
        matched = classes > 0
        assert torch.equal(matched, ~offsets.isnan().any(dim=1))
        back = boxes_of(offsets)[matched]
        assert set(classes[matched].tolist()) == set(labels.tolist())
        nearest = (back[:, None] - boxes[None]).abs().amax(dim=2).min(dim=1).values
        assert float(nearest.max()) < 1e-3
    assert len(ANCHORS) == 8 * 8 * 2 + 4 * 4


def test_a_detector_that_knows_all_boxes_has_a_precision_of_one() -> None:
    assert perfect().mean_average_precision() == pytest.approx(1)


def test_average_precision_is_that_of_a_plain_count() -> None:
    generator = torch.Generator().manual_seed(5)
    found = Found(
        image=torch.randint(0, 6, (40,), generator=generator),
        label=torch.randint(1, 3, (40,), generator=generator),
        score=torch.rand(40, generator=generator),
        right=torch.rand(40, generator=generator) < 0.4,
        digits=torch.zeros(6, CLASSES).index_fill(1, torch.tensor([1, 2]), 3.0),
    )
    every = []
    for label in (1, 2):
        own = sorted(
            ((float(found.score[at]), bool(found.right[at])) for at in range(40) if int(found.label[at]) == label),
            reverse=True,
        )
        points = [
            (sum(right for _, right in own[:n]) / 18, sum(right for _, right in own[:n]) / n)
            for n in range(1, len(own) + 1)
        ]
        area, reached = 0.0, 0.0
        for at, (recall, _) in enumerate(points):
            area += (recall - reached) * max(precision for _, precision in points[at:])
            reached = recall
        every.append(area)
    assert found.mean_average_precision() == pytest.approx(sum(every) / 2, rel=1e-5)
    twice = found.mean_average_precision(torch.full((6,), 2.0))
    assert twice == pytest.approx(found.mean_average_precision(), rel=1e-5)


def test_a_second_detection_of_a_digit_is_wrong_and_differences_have_errors() -> None:
    whole = perfect()
    worse = dataclasses.replace(whole, right=whole.right & (whole.image > 2))
    less, error = difference(worse, whole, draws=50)
    assert less == pytest.approx(worse.mean_average_precision() - 1)
    assert 0 < error < abs(less)
    assert difference(whole, whole, draws=5) == (0, 0)


def test_of_overlapping_boxes_the_surest_stays() -> None:
    generator = torch.Generator().manual_seed(7)
    corner = 20 * torch.rand(30, 2, generator=generator)
    boxes, score = torch.cat([corner, corner + 10], dim=1), torch.rand(30, generator=generator)
    kept = surest(score, boxes)
    assert kept == sorted(kept, key=lambda at: -float(score[at]))
    shared = overlaps(boxes, boxes) >= OVERLAP
    for at in range(30):
        surer = [other for other in kept if other != at and float(score[other]) > float(score[at])]
        assert (at in kept) == (not any(bool(shared[at, other]) for other in surer) and float(score[at]) >= LEAST_SCORE)


def test_the_metric_is_the_share_of_anchors_on_digits_that_are_right() -> None:
    ((_, (classes, _)),) = SOME.batches(6)
    logits = torch.nn.functional.one_hot(classes.clamp(min=0), CLASSES).float()
    assert torch.equal(sure_of_digits((logits, logits), (classes, classes)), torch.ones(6))
    assert torch.equal(sure_of_digits((logits.flip(-1), logits), (classes, classes)) < 1, torch.ones(6).bool())
    assert sure_of_digits((logits[:1], logits), (classes[:1] * 0, classes)).isnan().all()


def test_a_tiny_detector_learns_and_goes_through_all_steps() -> None:
    model = train(shapes(), steps=12, size=8, width=4)
    fresh = Detector(width=4).eval()
    batches = SOME.batches(3)
    losses = [Evaluator(each, batches, outputs=OUTPUTS).reference.loss for each in (model, fresh)]
    assert losses[0] < losses[1]
    found = list(compared(model, scenes(shapes(), 64, 2), SOME, (4,)))
    assert [(width, name) for width, name, *_ in found] == [(32, "float"), (4, "uniform"), (4, "exact")]
    uniform, exact = found[1], found[2]
    assert exact[2].costs["weight_bytes"] <= uniform[2].costs["weight_bytes"]
    assert exact[2].predicted <= uniform[2].predicted
    assert exact[3].unit == uniform[3].unit == "nats per sample"
    assert exact[3].metric_name == "sure_of_digits"
    assert 0.3 < exact[2].predicted / exact[3].kl < 3


def test_lines_are_written_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(detection, "trained", lambda folder, seed: Detector(width=4).eval())
    monkeypatch.setattr(detection, "CALIBRATION", 4)
    monkeypatch.setattr(detection, "BATCH", 2)
    monkeypatch.setattr(detection, "HELD_OUT", 4)
    parts = type("Parts", (), {"calibration": shapes(), "held_out": shapes(), "training": shapes()})
    monkeypatch.setattr("mckp_quant.demo.digits.load", lambda: parts)
    csv = tmp_path / "made.csv"
    assert detection.main(["run", "--folder", str(tmp_path), "--bits", "3", "--csv", str(csv)]) == 0
    assert csv.read_text().splitlines()[0] == ",".join(FIELDS)
    assert len(csv.read_text().splitlines()) == 4
    assert detection.main(["page", "--csv", str(csv)]) == 0
    shown = capsys.readouterr().out
    assert "exact" in shown
    assert page([]) != shown
    assert detection.main(["run", "--csv", str(csv)]) == 2
    assert detection.main(["page", "--csv", str(tmp_path / "none.csv")]) == 2


def test_the_weights_are_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    made: list[int] = []

    def counted(part: Part, *, seed: int) -> Detector:
        made.append(seed)
        return Detector().eval()

    monkeypatch.setattr(detection, "train", counted)
    monkeypatch.setattr("mckp_quant.demo.digits.load", lambda: type("Parts", (), {"training": None}))
    first, second = detection.trained(tmp_path / "kept", 2), detection.trained(tmp_path / "kept", 2)
    assert made == [2]
    assert all(torch.equal(first.state_dict()[name], value) for name, value in second.state_dict().items())
    assert OVERLAP == 0.5
    assert mq.Outputs(heads=OUTPUTS.heads).likelihood == "categorical + 0.1 gaussian"
