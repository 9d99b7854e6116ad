from __future__ import annotations

import json
import pickle
import struct
import sys
from typing import Any

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant import demo
from mckp_quant.common.packages import PackageMissing
from mckp_quant.demo import digits
from mckp_quant.demo.train import accuracy, jitter, train
from mckp_quant.evaluation.evaluator import Evaluator


def test_network_reads_more_than_98_percent_of_images_it_never_saw() -> None:
    model = demo.model()
    right = sum(int((model(images).argmax(dim=1) == labels).sum()) for images, labels in demo.held_out())
    assert right / digits.HELD_OUT > 0.98
    assert accuracy(model, digits.load().held_out) == right / digits.HELD_OUT


def test_model_comes_in_eval_mode_and_anew_at_every_call() -> None:
    first, second = demo.model(), demo.model()
    assert not any(module.training for module in first.modules())
    assert {id(entry) for entry in first.parameters()}.isdisjoint(id(entry) for entry in second.parameters())


def test_weights_are_small_and_load_without_unpickling(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    for owner, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(owner, name, refuse)
    demo.model()
    assert demo.WEIGHTS.stat().st_size < 500_000


def test_weights_file_is_a_header_and_numbers_and_nothing_else() -> None:
    content = demo.WEIGHTS.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    entries = [entry for name, entry in header.items() if name != "__metadata__"]
    assert {entry["dtype"] for entry in entries} <= {"F32", "I64"}
    spans = sorted(tuple(entry["data_offsets"]) for entry in entries)
    assert [start for start, _ in spans] == [0, *(stop for _, stop in spans[:-1])]
    assert 8 + length + spans[-1][1] == len(content)


def test_layers_are_many_and_of_unequal_size() -> None:
    sizes = [parameter.numel() for name, parameter in demo.model().named_parameters() if parameter.dim() > 1]
    assert len(sizes) == 16
    assert max(sizes) > 100 * min(sizes)
    assert 30_000 < sum(sizes) < 100_000


def test_every_image_is_in_exactly_one_part() -> None:
    data = digits.load()
    parts = (data.training, data.calibration, data.held_out)
    assert [len(part.index) for part in parts] == [digits.TRAINING, digits.CALIBRATION, digits.HELD_OUT]
    assert sorted(torch.cat([part.index for part in parts]).tolist()) == list(range(digits.SIZE))
    pictures = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert pictures[0].isdisjoint(pictures[1] | pictures[2])
    assert pictures[1].isdisjoint(pictures[2])


def test_split_is_the_one_that_the_weights_were_trained_on() -> None:
    data = digits.load()
    assert data.training.index[:5].tolist() == [1526, 1209, 1344, 486, 16]
    assert data.held_out.index[:5].tolist() == [1782, 625, 304, 706, 8]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_order_is_a_permutation_that_only_seed_and_size_decide(size: int) -> None:
    assert sorted(digits.order(size, 3)) == list(range(size))
    assert digits.order(size, 3) == digits.order(size, 3)
    if size > 2:
        assert digits.order(size, 3) != digits.order(size, 4)


def test_batches_are_the_parts_in_order_and_in_range() -> None:
    data = digits.load()
    for batches, part in ((demo.calibration(), data.calibration), (demo.held_out(), data.held_out)):
        assert torch.equal(torch.cat([images for images, _ in batches]), part.images)
        assert torch.equal(torch.cat([labels for _, labels in batches]), part.labels)
        assert [float(part.images.min()), float(part.images.max())] == [-1, 1]
        assert part.images.shape[1:] == (1, 8, 8)


def test_training_is_deterministic_and_leaves_the_global_random_state() -> None:
    whole = digits.load().training
    part = digits.Part(whole.index[:48], whole.images[:48], whole.labels[:48])
    before = torch.random.get_rng_state()
    first, second, other = (train(part, seed=seed, epochs=2).state_dict() for seed in (7, 7, 8))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(entry, second[name]) for name, entry in first.items())
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


def test_jitter_moves_the_ink_and_keeps_the_background() -> None:
    blank = jitter(torch.full((64, 1, 8, 8), -1.0), torch.Generator().manual_seed(0))
    assert abs(float(blank.mean()) + 1) < 0.01
    images = digits.load().training.images[:64]
    moved = jitter(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    assert not torch.allclose(moved, images, atol=0.5)
    assert abs(float(moved.mean() - images.mean())) < 0.1


def test_images_read_without_importing_scikit_learn_are_those_that_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = digits._loaded()
    monkeypatch.delitem(sys.modules, "sklearn")
    found = digits._file()
    assert found is not None
    assert np.array_equal(found[0], pixels)
    assert np.array_equal(found[1], labels)


def test_missing_scikit_learn_is_said_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PackageMissing, match=r"sklearn\.datasets.*pip install 'mckp-quant\[demo\]'.*your own model"):
        demo.held_out()


def test_missing_safetensors_is_said_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(PackageMissing, match=r"safetensors\.torch.*pip install 'mckp-quant\[demo\]'"):
        demo.model()


def test_demo_is_instructive() -> None:
    model, held_out = demo.model(), demo.held_out()
    table = mq.measure(model, demo.calibration(), formats="w1,w2,w3,w4,w6,w8")
    evaluator = Evaluator(model, held_out)
    uniform = {bits: mq.Policy.uniform(table, f"w{bits}") for bits in (2, 3, 4)}
    accuracies = {bits: evaluator.evaluate(policy).accuracy for bits, policy in uniform.items()}
    assert accuracies[2] < 0.5
    assert accuracies[2] < accuracies[3] < evaluator.reference.accuracy
    assert accuracies[4] > 0.98
    for bits in (2, 3, 4):
        mixed = mq.allocate(table, {"weight_bytes": uniform[bits].costs["weight_bytes"]}).policy
        difference, stderr = evaluator.evaluate(uniform[bits]).kl_difference(evaluator.evaluate(mixed))
        assert difference > 2 * stderr
