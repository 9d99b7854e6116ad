from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant import InvalidInput
from mckp_quant.formats.format import as_formats
from mckp_quant.network.discovery import discover
from mckp_quant.rounding.weights import perturbations
from mckp_quant.sensitivity import ESTIMATORS
from mckp_quant.sensitivity.cache import layer_weights
from mckp_quant.sensitivity.errors import Disk, Streamed, errors_bytes, temporary_disk

from .tiny import conv_net, transformer

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = "w2,w3,w4,w8"


def test_what_is_held_never_exceeds_the_limit_and_what_is_read_is_what_was_made(tmp_path: Path) -> None:
    model, inputs = transformer()
    layers, columns = discover(model, inputs), as_formats(FORMATS)
    sizes = [errors_bytes(layer, len(columns), torch.float64) for layer in layers]
    for limit in (max(sizes), sum(sizes) // 2, sum(sizes) - 1, sum(sizes)):
        store = Disk(tmp_path)
        weights = layer_weights(model, layers, columns, None, limit, store)
        resident = sum(entry.perturbations.nbytes for entry in weights if not isinstance(entry.errors, Streamed))
        assert any(isinstance(entry.errors, Streamed) for entry in weights) == (limit < sum(sizes))
        for entry in weights:
            expected = perturbations(entry.parameters[0], columns, entry.layer)
            assert entry.perturbations.equal(expected)
            assert entry.columns == len(columns)
            read = 0 if store.reading is None else store.reading[1].nbytes
            assert resident + read <= limit


def test_a_limit_below_the_largest_layer_is_refused_with_what_it_takes() -> None:
    model, inputs = conv_net()
    largest = max(layer.elements for layer in discover(model, inputs)) * 4 * 8
    message = f"memory_limit is {largest - 1:,} bytes, but the largest layer in 4 formats takes {largest:,}"
    with pytest.raises(InvalidInput, match=message):
        mq.measure(model, [inputs], formats=FORMATS, run=mq.RunOptions(memory_limit=largest - 1))
    with pytest.raises(InvalidInput, match="memory_limit = '10%' is a percentage, but of nothing"):
        mq.measure(model, [inputs], formats=FORMATS, run=mq.RunOptions(memory_limit="10%"))


@pytest.mark.parametrize("method", sorted(set(ESTIMATORS) - {"metric"}))
def test_every_method_gives_the_same_bits_under_a_limit(method: str) -> None:
    model, inputs = transformer()
    batches = [(inputs[:4], inputs[:4]), (inputs[4:], inputs[4:])]
    free = mq.measure(model, batches, formats="w2,w4", method=method)
    limit = max(errors_bytes(layer, 2, torch.float64) for layer in free.layers)
    bound = mq.measure(model, batches, formats="w2,w4", method=method, run=mq.RunOptions(memory_limit=limit))
    np.testing.assert_array_equal(bound.loss, free.loss)
    np.testing.assert_array_equal(bound.stderr, free.stderr)


def test_a_run_that_stops_under_a_limit_goes_on_without_one_to_the_same_bits(tmp_path: Path) -> None:
    model, inputs = conv_net()
    batches = [inputs[:3], inputs[3:6], inputs[6:]]
    whole = mq.measure(model, batches, formats=FORMATS)
    largest = max(errors_bytes(layer, 4, torch.float64) for layer in whole.layers)
    file = tmp_path / "run.json"
    mq.measure(model, batches[:1], formats=FORMATS, run=mq.RunOptions(checkpoint=file, memory_limit=largest))
    assert len(json.loads(file.read_text())["samples"]) == 1
    mq.measure(model, batches[:2], formats=FORMATS, run=mq.RunOptions(checkpoint=file, cache=tmp_path / "cache"))
    resumed = mq.measure(model, batches, formats=FORMATS, run=mq.RunOptions(checkpoint=file, memory_limit=largest))
    np.testing.assert_array_equal(resumed.loss, whole.loss)
    np.testing.assert_array_equal(resumed.stderr, whole.stderr)


def test_the_folder_is_gone_afterwards_also_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = conv_net()
    limit = max(errors_bytes(layer, 4, torch.float64) for layer in discover(model, inputs))
    used: list[Path] = []
    read = Disk.read

    def noted(self: Disk, path: Path, device: torch.device) -> torch.Tensor:
        used.append(path)
        return read(self, path, device)

    monkeypatch.setattr(Disk, "read", noted)
    with pytest.raises(InvalidInput, match="hold nan or infinite entries"):
        mq.measure(model, [inputs, inputs * torch.nan], formats=FORMATS, run=mq.RunOptions(memory_limit=limit))
    assert used
    assert not any(path.parent.exists() for path in used)


def test_without_a_limit_nothing_is_written() -> None:
    with temporary_disk(None) as none:
        assert none is None
