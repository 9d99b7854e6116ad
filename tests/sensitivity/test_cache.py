from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.rounding.weights import clip_steps
from mckp_quant.sensitivity import cache

from .tiny import conv_net

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = "w1,w2,w4"


def forbid(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the formats that are computed from now on."""
    computed: list[str] = []

    def noted(weight: torch.Tensor, entry: mq.Format, layer: mq.Layer) -> torch.Tensor | None:
        computed.append(f"{layer.name} {entry.name}")
        return clip_steps(weight, entry, layer)

    monkeypatch.setattr(cache, "clip_steps", noted)
    return computed


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_what_the_folder_holds_is_not_computed_and_is_the_same(
    dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs = conv_net()
    model, inputs = model.to(dtype), inputs.to(dtype)
    plain = mq.measure(model, [inputs], formats=FORMATS)
    first = mq.measure(model, [inputs], formats=FORMATS, run=mq.RunOptions(cache=tmp_path / "new"))
    computed = forbid(monkeypatch)
    again = mq.measure(model, [inputs], formats="w4,w1,w2", run=mq.RunOptions(cache=tmp_path / "new"))
    assert [each for each in computed if not each.endswith(" w1")] == []  # in one bit nothing is searched
    np.testing.assert_array_equal(first.loss, plain.loss)
    np.testing.assert_array_equal(again.loss, plain.loss[:, [2, 0, 1]])


def test_only_what_changed_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = conv_net()
    mq.measure(model, [inputs], formats=FORMATS, method="weight_mse", run=mq.RunOptions(cache=tmp_path))
    model.get_parameter("grouped.weight").data[0, 0, 0, 0] += 1e-9
    computed = forbid(monkeypatch)
    cached = mq.measure(model, [inputs], formats="w2,w3", method="weight_mse", run=mq.RunOptions(cache=tmp_path))
    assert "grouped w2" in computed
    assert sorted(set(computed) - {"grouped w2"}) == sorted(f"{name} w3" for name in cached.layer_names)
    np.testing.assert_array_equal(cached.loss, mq.measure(model, [inputs], formats="w2,w3", method="weight_mse").loss)


def test_files_that_cannot_be_read_are_made_again(tmp_path: Path) -> None:
    model, inputs = conv_net()
    expected = mq.measure(model, [inputs], formats="w2", method="weight_mse", run=mq.RunOptions(cache=tmp_path)).loss
    files = sorted(tmp_path.iterdir())
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:-8])
    np.save(files[2], np.zeros(3))
    for _ in range(2):
        table = mq.measure(model, [inputs], formats="w2", method="weight_mse", run=mq.RunOptions(cache=tmp_path))
        np.testing.assert_array_equal(table.loss, expected)
    assert sorted(tmp_path.iterdir()) == files


def one_bit(layer: mq.Layer) -> int:
    return layer.elements


def test_own_formats_are_always_computed(tmp_path: Path) -> None:
    model, inputs = conv_net()
    for factor in (0.5, 0.25):
        own = mq.Format("own", 4, quantize=functools.partial(torch.mul, torch.tensor(factor)), stored_bits=one_bit)
        table = mq.measure(model, [inputs], formats=[own], method="sqnr", run=mq.RunOptions(cache=tmp_path))
        np.testing.assert_allclose(table.loss, (1 - factor) ** 2)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(np, "save", full)
    model, inputs = conv_net()
    with pytest.raises(OSError, match="no space left"):
        mq.measure(model, [inputs], formats="w2", run=mq.RunOptions(cache=tmp_path))
    assert list(tmp_path.iterdir()) == []
