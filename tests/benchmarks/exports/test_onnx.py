from __future__ import annotations

from collections import Counter

import pytest
import torch

from benchmarks.exports.onnx_held_out import divergences
from benchmarks.exports.onnx_speed import PLAIN, Row, main, markdown


def test_the_table_is_relative_to_the_first_row_and_counts_convolutions_in_integers() -> None:
    rows = [
        Row(PLAIN, 2000, 0.002, float("inf"), Counter(Conv=3)),
        Row("w8a8", 1234, 0.001, 40.0, Counter(QLinearConv=2, FusedConv=1)),
    ]
    assert markdown(rows).splitlines()[2:] == [
        "| torch.onnx.export | 2,000 | 2.00 | 1.000 | 0 of 3 | inf |",
        "| w8a8 | 1,234 | 1.00 | 0.500 | 2 of 3 | 40.0 |",
    ]


def test_divergences_are_those_of_samples() -> None:
    reference = torch.tensor([[0.0, 0.0], [1.0, 0.0]]).log_softmax(-1)
    other = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    p = reference[1].double().softmax(-1)
    wanted = float((p[0] - p[1]) * 1.0)  # the log ratio of the two distributions is 1 and -1
    assert divergences(reference, other).tolist() == pytest.approx([0.0, wanted])
    tokens = torch.stack([reference, reference])  # two windows of two tokens each
    assert divergences(tokens, torch.stack([other, other])).tolist() == pytest.approx([wanted / 2, wanted / 2])


def test_the_depthwise_network_needs_its_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--network", "depthwise"]) == 2
    assert "python -m benchmarks.trained.depthwise train --output FILE" in capsys.readouterr().err
